"""The seam to the server: what is no request goes no further, and no answer leaves unrecorded, or else it is as set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sidecar import app
from tests.support.gateway import InProcess
from tests.support.stack import until
from tests.support.upstream import HOLT


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[InProcess]:
    with InProcess(tmp_path) as running:
        running.upstream.state.notes[1] = {"id": 1, "title": "Limps"}
        yield running


@pytest.mark.parametrize(
    ("method", "target", "fields", "status", "reason"),
    [
        ("GET", "/notes/1", {"Host": "a b"}, 400, "bad_host"),
        ("GET", "http://other.test/notes/1", {}, 400, "bad_target"),
        ("GET", "/notes/1#x", {}, 400, "bad_target"),
        ("POST", "/notes", {"Transfer-Encoding": "chunked", "Content-Length": "2"}, 400, "bad_framing"),
        ("POST", "/notes", {"Content-Length": "9"}, 400, "client_aborted"),
        ("POST", "/notes", {"Content-Length": "99999999999"}, 413, "too_large"),
    ],
)
def test_what_is_no_whole_request_is_refused_recorded_and_never_sent(
    gateway: InProcess, method: str, target: str, fields: dict[str, str], status: int, reason: str
) -> None:
    got = gateway.ask(method, target, {**HOLT, **fields}, b"{}" if method == "POST" else None)
    assert (got.status, got["content-type"]) == (status, "application/problem+json")
    assert gateway.upstream.sent == []
    (event,) = gateway.events()
    recorded = 499 if reason == "client_aborted" else status
    assert (event["http"]["response"]["status_code"], event["understudy"]["reason"]) == (recorded, reason)


def test_an_exchange_keeps_the_clients_id_and_tells_who_answered(gateway: InProcess) -> None:
    got = gateway.ask("GET", "/notes/1", {**HOLT, "X-Request-Id": "mine"})
    assert (got["x-request-id"], got["cache-status"]) == ("mine", "understudy; fwd=miss; fwd-status=200")
    (call,) = gateway.upstream.sent
    assert [value for name, value in call.headers if name.lower() == "x-request-id"] == ["mine"]
    (event,) = gateway.events()
    assert (event["http"]["request"]["id"], event["understudy"]["answered_by"]) == ("mine", "upstream")
    assert event["event"]["id"] != "mine"


def test_a_loop_is_noticed_by_via(gateway: InProcess) -> None:
    gateway.ask("GET", "/notes/1", HOLT)
    (via,) = [value for name, value in gateway.upstream.sent[0].headers if name.lower() == "via"]
    assert gateway.ask("GET", "/notes/1", {**HOLT, "Via": via}).status == 508
    assert len(gateway.upstream.sent) == 1


@pytest.mark.parametrize(("method", "outcome"), [("POST", "unknown"), ("GET", "failure")])
def test_what_its_worker_cuts_is_recorded_with_what_was_sent_of_it(tmp_path: Path, method: str, outcome: str) -> None:
    with InProcess(tmp_path, deadline=30.0, upstream_timeout=60.0) as gateway:
        gateway.upstream.fault = "hang"
        body = {"title": "Limps"} if method == "POST" else None

        def ask() -> None:
            with suppress(CancelledError):
                gateway.ask(method, "/notes", HOLT, body)

        client = threading.Thread(target=ask)
        client.start()
        until(lambda: gateway.upstream.sent, what="sent")
        gateway._loop.run(app.end())
        client.join(10)
        (event,) = gateway.events()
        about = event["understudy"]
        assert (about["reason"], about["outcome"], about["upstream_outcome"]) == ("cut", outcome, "unknown")
        assert [attempt["outcome"] for attempt in about["attempts"]] == ["unknown"]


@pytest.mark.parametrize(("on_failure", "status"), [("pass", 200), ("refuse", 503)])
def test_what_cannot_be_recorded_goes_on_or_is_refused_as_set(tmp_path: Path, on_failure: str, status: int) -> None:
    settings: dict[str, Any] = {"on_record_failure": on_failure}
    with InProcess(tmp_path, **settings) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps"}
        (gateway.settings.data / "journal").write_text("where the folder should be")
        got = gateway.ask("GET", "/notes/1", HOLT)
        assert got.status == status
        assert b"Limps" in got.body or got["retry-after"]
