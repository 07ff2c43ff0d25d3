"""From outside: who is believed to be whom while the upstream is away, and what a spelling passes by."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, raw, until
from tests.support.upstream import AMES, HOLT, USERS, Upstream, basic

EVE = {"Authorization": basic("eve", "guess"), "Accept": "application/json"}
CODE = base64.b64encode(b"Dr Holt:s3cret-Holt").decode()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        upstream.state.staffs[3] = {"id": 3, "name": "Dr Ames"}
        upstream.state.staffs[4] = {"id": 4, "name": "Dr Holt"}
        yield upstream


@pytest.fixture
def sidecar(upstream: Upstream, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(upstream.url, tmp_path / "data", workers="1") as sidecar:
        yield sidecar


def known(sidecar: Sidecar, headers: dict[str, str]) -> None:
    """The upstream has accepted these credentials, and they are kept."""
    for target in ("/patients/17", "/staffs", "/patients"):
        assert sidecar.ask("GET", target, headers).status == 200


def away(sidecar: Sidecar, upstream: Upstream, headers: dict[str, str], status: int) -> None:
    """With the upstream gone, what these credentials get."""
    upstream.stop()
    until(lambda: sidecar.ask("GET", "/patients/17", headers).status == status, 20, f"{status} while it is away")


@pytest.mark.parametrize("kind", ["redirect", "page"])
def test_an_answer_that_need_not_have_looked_proves_nobody(sidecar: Sidecar, upstream: Upstream, kind: str) -> None:
    known(sidecar, HOLT)
    upstream.fault(kind, "/patients", times=2)
    assert sidecar.ask("GET", "/patients/17", EVE).status in (200, 301)
    upstream.heal()
    upstream.stop()
    until(lambda: sidecar.ask("GET", "/patients/17", HOLT).status == 200, 20, "Holt is known")
    got = sidecar.ask("GET", "/patients/17", EVE)
    assert (got.status, b"Rex" in got.body) == (503, False)
    assert {event["understudy"]["identity"] for event in sidecar.events() if event.get("user") == {"name": "eve"}} == {
        "claimed"
    }


@pytest.mark.parametrize(
    "spelling",
    [CODE.rstrip("="), f"{CODE[:9]} {CODE[9:]}", f"\t{CODE}", f"{CODE[:5]}*-{CODE[5:]}", f"{CODE.rstrip('=')}=AAA"],
    ids=["no padding", "space inside", "tab", "foreign", "tail"],
)
def test_no_spelling_passes_a_revocation(sidecar: Sidecar, upstream: Upstream, spelling: str) -> None:
    known(sidecar, HOLT)
    sent = {**HOLT, "Authorization": f"Basic {spelling}"}
    assert sidecar.ask("GET", "/patients/17", sent).status == 200
    assert [seen.all("Authorization") for seen in upstream.seen("/patients/17")][-1] == [f"Basic {CODE}"]
    assert sidecar.cli("revoke", "dr HOLT ").returncode == 0
    until(lambda: sidecar.ask("GET", "/patients/17", HOLT).status == 401, 5, "revoked")
    asked = len(upstream.seen("/patients/17"))
    assert sidecar.ask("GET", "/patients/17", sent).status == 401
    assert len(upstream.seen("/patients/17")) == asked
    assert sidecar.events(path="/patients/17")[-1]["user"]["name"] == "Dr Holt"


@pytest.mark.parametrize("field", ["Bearer eyJhbGciOi", "Token token=abc", "abc"])
def test_a_token_that_only_the_upstream_can_read_is_never_called_wrong(
    sidecar: Sidecar, upstream: Upstream, field: str
) -> None:
    known(sidecar, HOLT)
    away(sidecar, upstream, HOLT, 200)
    got = sidecar.ask("GET", "/patients/17", {"Authorization": field})
    assert (got.status, got["WWW-Authenticate"], bool(got["Retry-After"])) == (503, "", True)
    assert sidecar.ask("GET", "/patients/17").status == 401


def test_two_authorization_fields_are_refused_and_never_forwarded(sidecar: Sidecar, upstream: Upstream) -> None:
    lines = [f"Authorization: {HOLT['Authorization']}", f"Authorization: {AMES['Authorization']}"]
    head = "\r\n".join(["GET /patients/17 HTTP/1.1", "Host: h", "Connection: close", *lines, "", ""])
    got = raw(sidecar.port, head.encode())
    assert got.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in got
    assert not upstream.seen("/patients/17")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PATCH", "/staffs/3", {"password": "evil"}),
        ("POST", "/staffs", {"name": "Dr Ames", "password": "evil"}),
        ("PATCH", "/staffs/4", {"name": "Dr Ames", "password": "evil"}),
    ],
)
def test_no_unconfirmed_write_opens_or_closes_an_account(
    sidecar: Sidecar, upstream: Upstream, method: str, target: str, body: dict[str, str]
) -> None:
    known(sidecar, AMES)
    known(sidecar, HOLT)
    away(sidecar, upstream, AMES, 200)
    sidecar.ask(method, target, HOLT, body)
    evil = {**AMES, "Authorization": basic("Dr Ames", "evil")}
    assert sidecar.ask("GET", "/patients/17", evil).status in (401, 503)
    assert sidecar.ask("GET", "/patients/17", AMES).status == 200


def test_a_confirmed_change_of_ones_own_password_retires_the_old_one(sidecar: Sidecar, upstream: Upstream) -> None:
    known(sidecar, AMES)
    known(sidecar, HOLT)
    assert sidecar.ask("PATCH", "/staffs/3", AMES, {"password": "new"}).status == 200
    away(sidecar, upstream, HOLT, 200)
    assert sidecar.ask("GET", "/patients/17", AMES).status == 503


@pytest.mark.parametrize(
    ("method", "body"), [("DELETE", None), ("PATCH", {"name": "Dr Smith"})], ids=["deleted", "renamed"]
)
def test_who_is_gone_is_forgotten(sidecar: Sidecar, upstream: Upstream, method: str, body: object) -> None:
    known(sidecar, AMES)
    known(sidecar, HOLT)
    until(lambda: sidecar.plane("GET", "/ready/staffs.list").status == 200, 10, "the people are known")
    assert sidecar.ask(method, "/staffs/3", HOLT, body).status in (200, 204)
    away(sidecar, upstream, HOLT, 200)
    assert sidecar.ask("GET", "/patients/17", AMES).status == 503


QUICK = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "500ms", "replay_credentials": "Root:r00t"}


@pytest.mark.parametrize(("refused", "why"), [("revoked", "revoked"), ("deleted", "refused")])
def test_what_waits_of_somebody_who_is_refused_is_sent_in_nobodys_name_until_a_person_says_so(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, why: str
) -> None:
    """Not in their own, when they are revoked, nor by itself in that of REPLAY_CREDENTIALS, when HOSP refuses them."""
    monkeypatch.setitem(USERS, "Root", "r00t")
    with Sidecar(upstream.url, tmp_path / "data", workers="1", **QUICK) as sidecar:
        for headers in (HOLT, AMES):
            known(sidecar, headers)
        away(sidecar, upstream, HOLT, 200)
        for headers, title in ((HOLT, "by Holt"), (AMES, "by Ames")):
            assert sidecar.ask("POST", "/notes", headers, {"title": title}).status == 201
        if refused == "revoked":
            assert sidecar.cli("revoke", "dr AMES ").returncode == 0
        else:
            monkeypatch.delitem(USERS, "Dr Ames")
        upstream.start()
        until(lambda: not sidecar.plane("GET", "/outbox").json()["pending"], 30, "settled or parked")
        assert [row["title"] for row in upstream.state.notes.values()] == ["by Holt"]
        (entry,) = sidecar.plane("GET", "/outbox").json()["parked"]
        assert (entry["user"], entry["reason"].partition(":")[0]) == ("Dr Ames", why)
        assert sidecar.cli("outbox", "retry", entry["id"], "--replay-credentials").returncode == 0
        until(lambda: len(upstream.state.notes) == 2, 20, "sent, since a person said so")
        assert upstream.seen("/notes", "POST")[-1].all("Authorization") == [basic("Root", "r00t")]
