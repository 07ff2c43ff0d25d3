"""The stack as its users meet it: an upstream that fails, and a standby that answers truthfully or says 503."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, USERS, Upstream, basic


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients.update({17: {"id": 17, "name": "Rex"}, 18: {"id": 18, "name": "Mia"}})
        server.state.notes[5] = {"id": 5, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}
        yield server


@pytest.fixture
def sidecar(upstream: Upstream, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(upstream.url, tmp_path / "data", workers="2", bypass_after="30s") as running:
        yield running


def learn_all(sidecar: Sidecar) -> None:
    """Reads everything through the sidecar until its standby knows it."""
    for path in ("/", "/notes", "/patients", "/staffs/me"):
        assert sidecar.ask("GET", path, HOLT).status == 200
    until(lambda: sidecar.plane("GET", "/ready/notes.list").status == 200, what="notes known")
    until(lambda: sidecar.plane("GET", "/ready/patients.read").status == 200, what="patients known")


def test_reads_survive_an_outage_and_come_back(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    before = sidecar.ask("GET", "/notes", HOLT)
    assert sidecar.plane("GET", "/ready/status").json() == {"ready": True, "reason": "ready"}
    upstream.stop()
    for path in ("/notes", "/notes/5", "/notes?patient_id=17", "/patients/17", "/staffs/me", "/"):
        # each worker learns in a thread of its own, and nothing orders one's learning and another's
        until(lambda path=path: sidecar.ask("GET", path, HOLT).status == 200, what=f"{path} known")
        got = sidecar.ask("GET", path, HOLT)
        assert got["Cache-Status"].startswith("understudy; hit; ttl=-")
        assert got["Age"].isdecimal()
    assert sidecar.ask("GET", "/notes", HOLT).json() == before.json()
    assert sidecar.ask("GET", "/notes?patient_id=18", HOLT).json() == []
    head = sidecar.ask("HEAD", "/notes", HOLT)
    assert (head.status, head.body, int(head["Content-Length"])) == (200, b"", len(before.body))
    until(lambda: any(e["circuit"] == "open" for e in sidecar.plane("GET", "/endpoints").json()), what="circuit opens")
    upstream.start()
    until(lambda: "fwd" in sidecar.ask("GET", "/notes", HOLT)["Cache-Status"], 20, "handed back")


def test_unknown_is_not_absent(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.ask("GET", "/notes/5", HOLT).status == 200
    assert sidecar.ask("GET", "/patients", HOLT).status == 200
    assert sidecar.ask("GET", "/patients/98", HOLT).status == 404  # how it says so, nobody makes up
    until(lambda: sidecar.plane("GET", "/ready/patients.list").status == 200)
    upstream.stop()
    assert sidecar.ask("GET", "/notes/5", HOLT).status == 200
    for path in ("/notes", "/notes/6", "/hospitals", "/hospitals/1", "/notes?patient_id=17&x=1", "/notes?order=asc"):
        got = sidecar.ask("GET", path, HOLT)
        assert got.status == 503, path
        assert got["Content-Type"] == "application/problem+json"
        assert int(got["Retry-After"]) > 0
    assert sidecar.ask("GET", "/patients/99", HOLT).status == 404  # all patients are known
    unknown = sidecar.ask("PATCH", "/notes/6", HOLT, {"title": "new"})  # who knows whether there is such a note
    assert (unknown.status, bool(unknown["Retry-After"])) == (503, True)


def test_a_write_is_seen_at_once_also_an_unclear_one(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Night"}).status == 200
    made = sidecar.ask("POST", "/notes", HOLT, {"title": "New", "patient_id": 17}).json()
    upstream.fault("applied_500", "/patients/17", method="PATCH")
    got = sidecar.ask("PATCH", "/patients/17", HOLT, {"name": "Rexx"})
    assert (got.status, got.json()["name"], got["Cache-Status"]) == (
        200,
        "Rexx",
        "understudy; hit; ttl=0; detail=outbox",
    )
    upstream.stop()
    assert sidecar.ask("GET", "/notes/5", HOLT).json()["title"] == "Night"
    assert [note["id"] for note in sidecar.ask("GET", "/notes", HOLT).json()] == [made["id"], 5]
    assert sidecar.ask("GET", "/patients/17", HOLT).json()["name"] == "Rexx"
    assert sidecar.ask("GET", "/patients/18", HOLT).json()["name"] == "Mia"
    assert [row["name"] for row in sidecar.ask("GET", "/patients", HOLT).json()] == ["Mia", "Rexx"]


def test_an_unclear_write_of_a_stranger_is_not_accepted_and_not_answered_from(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    learn_all(sidecar)  # before the write begins, which would make it worthless
    ames = {"Authorization": basic("Dr Ames")}
    upstream.fault("applied_500", "/patients/17", method="PATCH")
    assert sidecar.ask("PATCH", "/patients/17", ames, {"name": "Rexx"}).status == 500
    upstream.stop()
    assert sidecar.ask("GET", "/patients/17", HOLT).status == 503  # nobody knows whether it is Rex or Rexx
    assert sidecar.ask("GET", "/patients/18", HOLT).json()["name"] == "Mia"


def test_unreadable_writes_are_sent_once_and_never_accepted(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    for kind in ("500", "applied_500", "reset", "applied_reset", "invalid_json"):
        upstream.fault(kind, "/notes", method="POST")
        assert sidecar.ask("POST", "/notes", HOLT, ["not", "an", "object"]).status >= 400
    assert len(upstream.seen("/notes", "POST")) == 5


def test_reads_are_retried_within_the_deadline(sidecar: Sidecar, upstream: Upstream) -> None:
    for kind in ("500", "reset", "invalid_json", "truncated"):
        upstream.fault(kind, "/patients")
        got = sidecar.ask("GET", "/patients/17", HOLT)
        assert (got.status, got.json()["name"]) == (200, "Rex"), kind


def test_a_slow_answer_comes_from_the_standby_in_time_else_is_waited_for(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    upstream.fault("slow", "/patients/17", times=9, seconds=30)
    got = sidecar.ask("GET", "/patients/17", HOLT)
    assert (got.status, "hit" in got["Cache-Status"], upstream.state.in_flight > 0) == (200, True, True)
    upstream.heal()
    upstream.fault("slow", "/hospitals", times=2, seconds=4)  # the first, and the hedge
    assert sidecar.ask("GET", "/hospitals", HOLT).status in (500, 503)  # it was waited for: this upstream has none
    assert upstream.seen("/hospitals")


def test_callers_are_known_by_what_the_upstream_accepted(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    assert sidecar.ask("GET", "/notes", {"Authorization": basic("Dr Holt", "wrong")}).status == 401
    upstream.stop()
    assert sidecar.ask("GET", "/notes", HOLT).status == 200
    liar = {"Authorization": basic("Dr Holt", "wrong")}
    until(
        lambda: sidecar.ask("GET", "/notes", liar).status != 503, what="both workers know the caller"
    )  # scrypt is slow
    wrong = sidecar.ask("GET", "/notes", liar)
    assert (wrong.status, wrong["WWW-Authenticate"].startswith("Basic")) == (401, True)
    assert sidecar.ask("GET", "/notes", {"Authorization": basic("Dr Ames")}).status == 503
    assert sidecar.ask("GET", "/notes").status == 401


def test_an_upstream_500_never_becomes_a_401(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("500", "/", times=50)
    for path in ("/notes", "/staffs/me", "/patients/17"):
        assert sidecar.ask("GET", path, HOLT).status == 503


def test_revocation_takes_effect_everywhere_within_a_second(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    assert sidecar.cli("revoke", "Dr Holt").returncode == 0
    time.sleep(1)
    asked = len(upstream.seen())
    assert {sidecar.ask("GET", "/notes", HOLT).status for _ in range(20)} == {401}
    assert len(upstream.seen()) == asked
    assert sidecar.cli("restore", "Dr Holt").returncode == 0
    time.sleep(1)
    assert {sidecar.ask("GET", "/notes", HOLT).status for _ in range(20)} == {200}


def test_takeover_by_hand_agrees_over_workers_and_survives_kill(sidecar: Sidecar, upstream: Upstream) -> None:
    learn_all(sidecar)
    assert sidecar.cli("takeover", "notes.list", "--reason", "test").returncode == 0
    time.sleep(1)
    asked = len(upstream.seen("/notes"))
    assert all("hit" in sidecar.ask("GET", "/notes", HOLT)["Cache-Status"] for _ in range(20))
    sidecar.kill()
    sidecar.start()
    until(lambda: "hit" in sidecar.ask("GET", "/notes", HOLT)["Cache-Status"], what="still taken over")
    assert len(upstream.seen("/notes")) == asked
    assert sidecar.cli("handback", "notes.list").returncode == 0
    time.sleep(1)
    assert all("fwd" in sidecar.ask("GET", "/notes", HOLT)["Cache-Status"] for _ in range(20))


def test_a_takeover_by_a_person_is_counted(sidecar: Sidecar) -> None:
    """From 0 on: what begins at 1 has not risen for Prometheus."""
    name = 'understudy_takeovers_total{endpoint="GET /notes"}'
    assert f"{name} 0.0" in sidecar.plane("GET", "/metrics").body.decode().splitlines()
    assert sidecar.cli("takeover", "notes.list").returncode == 0
    assert f"{name} 1.0" in sidecar.plane("GET", "/metrics").body.decode().splitlines()


def test_a_gap_makes_knowledge_unverified_until_it_is_seen_again(upstream: Upstream, tmp_path: Path) -> None:
    fast = {"upstream_timeout": "2s", "late_effect": "1s"}
    with Sidecar(upstream.url, tmp_path / "data", bypass_after="1s", **fast) as sidecar:
        learn_all(sidecar)
        sidecar.stop()
        upstream.state.patients[17]["name"] = "changed while we were away"
        time.sleep(1.5)
        sidecar.start()
        upstream.fault("500", "/patients", times=20)
        assert sidecar.ask("GET", "/patients/17", HOLT).status == 503
        upstream.heal()

        def is_ready() -> bool:
            seen = sidecar.ask("GET", "/patients", HOLT).status
            return seen == sidecar.plane("GET", "/ready/patients.read").status == 200

        until(is_ready)
        upstream.stop()
        assert sidecar.ask("GET", "/patients/17", HOLT).json()["name"] == "changed while we were away"


def test_backfill_fills_the_copy(upstream: Upstream, tmp_path: Path) -> None:
    user, password = next(iter(USERS.items()))
    keys = {"backfill_credentials": f"{user}:{password}", "backfill_rate": "50"}
    with Sidecar(upstream.url, tmp_path / "data", **keys) as sidecar:
        until(lambda: sidecar.plane("GET", "/ready/notes.list").status == 200, what="filled by itself after start")
        assert sidecar.ask("GET", "/staffs/me", HOLT).status == 200
        time.sleep(0.5)
        upstream.stop()
        assert [note["id"] for note in sidecar.ask("GET", "/notes", HOLT).json()] == [5]
