"""A call's result is remembered for who was given it, while they may still have it; who is refused it gets none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.http.messages import Response
from tests.support.gateway import NEVER_SENT, InProcess
from tests.support.stack import Got
from tests.support.upstream import AMES, HOLT

JSON = [("Content-Type", "application/json")]
REFUSED = Response(403, JSON, b'{"status":403,"error":"Forbidden"}')
SCREEN = "/patients/17/screen"
IMAGES = {"images": ["AOTLRTDW"]}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[InProcess]:
    with InProcess(tmp_path, unproven="serve") as gateway:
        gateway.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        for who in (HOLT, AMES):
            for target in ("/patients/17", "/patients", "/staffs/me", "/notes"):
                gateway.ask("GET", target, who)
        assert gateway.ask("POST", SCREEN, HOLT, IMAGES).status == 200
        yield gateway


def alone(gateway: InProcess, who: dict[str, str], body: Any = IMAGES) -> Got:
    """A screening while the upstream is away."""
    gateway.learned()
    gateway.upstream.fault = NEVER_SENT
    got = gateway.ask("POST", SCREEN, who, body)
    gateway.upstream.fault = None
    return got


def test_who_was_given_it_is_given_it_again(gateway: InProcess) -> None:
    got = alone(gateway, HOLT)
    assert (got.status, got.json()) == (200, {"overall": "clear", "results": [8]})
    assert alone(gateway, HOLT, {"images": ["AOTLRTDX"]}).status == 503


def test_it_is_given_to_nobody_else(gateway: InProcess) -> None:
    assert alone(gateway, AMES).status == 503


@pytest.mark.parametrize(
    ("method", "target"), [("POST", SCREEN), ("GET", "/patients/17")], ids=["the call", "the patient"]
)
def test_whom_the_upstream_refuses_since_is_given_nothing(gateway: InProcess, method: str, target: str) -> None:
    gateway.upstream.fault = REFUSED
    assert gateway.ask(method, target, HOLT, {"images": ["X"]} if method == "POST" else None).status == 403
    assert alone(gateway, HOLT).status == 503
    gateway.ask("GET", "/patients/17" if method == "POST" else "/patients", HOLT)
    assert alone(gateway, HOLT).status == 503
    assert gateway.ask("POST", SCREEN, HOLT, IMAGES).status == 200
    assert alone(gateway, HOLT).status == 200


@pytest.mark.parametrize("how", ["seen", "confirmed", "pending", "unclear"])
def test_of_a_patient_who_may_be_gone_nothing_is_told(gateway: InProcess, how: str) -> None:
    if how == "seen":
        del gateway.upstream.state.patients[17]
        assert gateway.ask("GET", "/patients/17", HOLT).status == 404
    else:
        gateway.upstream.fault = {"pending": NEVER_SENT, "unclear": "applied_reset"}.get(how)
        gateway.learned()
        gateway.ask("DELETE", "/patients/17", HOLT)
    assert alone(gateway, HOLT).status in (404, 503)


def test_another_format_is_another_question(gateway: InProcess) -> None:
    assert alone(gateway, {**HOLT, "Accept": "text/html"}).status == 503


def test_a_gap_leaves_only_what_is_known_to_be_there_still(gateway: InProcess) -> None:
    gateway.learned()
    gateway.ask("BREW", "/anything", HOLT)  # what the contract does not know may have changed anything
    assert alone(gateway, HOLT).status == 503
    gateway.ask("GET", "/patients/17", HOLT)
    assert alone(gateway, HOLT).status == 200


@pytest.mark.parametrize("target", ["/notes", "/notes?patient_id=17", "/patients/17"])
def test_a_read_that_was_refused_since_is_not_answered_from_before(gateway: InProcess, target: str) -> None:
    assert gateway.ask("GET", target, HOLT).status == 200
    assert gateway.down(target, HOLT).status == 200
    gateway.upstream.fault = REFUSED
    assert gateway.ask("GET", target, HOLT).status == 403
    assert gateway.down(target, HOLT).status == 503
    gateway.upstream.fault = None
    assert gateway.ask("GET", target, HOLT).status == 200
    assert gateway.down(target, HOLT).status == 200
    assert gateway.ask("PATCH", "/patients/17", HOLT, {"name": "Max"}).status == 200
    assert gateway.ask("GET", "/notes", HOLT).status == 200
    assert gateway.down(target, HOLT).status == 200, "a refusal that is over keeps nothing back"
