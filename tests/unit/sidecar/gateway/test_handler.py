"""Who answers, and what: the upstream where it can, the standby what it truly knows, else an honest refusal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import app
from sidecar.http.messages import Request, Response
from sidecar.standby.outbox.rewrite import LOOK, _mentions
from sidecar.takeover.coordinator import Switchboard
from tests.support.gateway import NEVER_SENT, InProcess
from tests.support.stack import Got
from tests.support.upstream import AMES, HOLT, basic

PROVISIONAL = 2_000_000_000
JSON = [("Content-Type", "application/json")]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[InProcess]:
    with InProcess(tmp_path) as running:
        running.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        running.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        yield running


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_the_upstreams_refusals_are_answers(gateway: InProcess, status: int) -> None:
    gateway.upstream.fault = Response(status, JSON, b'{"status":"its own"}')
    got = gateway.ask("GET", "/notes/1", HOLT)
    assert (got.status, got.body) == (status, b'{"status":"its own"}')
    assert len(gateway.upstream.sent) == 1


@pytest.mark.parametrize("fault", [NEVER_SENT, "reset", Response(500), Response(200, JSON, b'{"id": 1, "cut'), "hang"])
def test_a_read_that_fails_is_answered_with_what_is_known(gateway: InProcess, fault: str | Response) -> None:
    gateway.knows("/notes/1", HOLT)
    gateway.upstream.fault = fault
    began = time.monotonic()
    got = gateway.ask("GET", "/notes/1", HOLT)
    assert got.status == 200
    assert got.json()["title"] == "Limps"
    assert got["cache-status"].startswith("understudy; hit; ttl=-")
    assert int(got["age"]) >= 0
    assert time.monotonic() - began < 0.9, "within the deadline, not the upstream's own"
    assert gateway.events()[-1]["understudy"]["answered_by"] == "standby"


@pytest.mark.parametrize("target", ["/notes/2", "/patients", "/patients/18", "/notes?patient_id=18", "/staffs/me"])
def test_unknown_is_not_absent(gateway: InProcess, target: str) -> None:
    gateway.knows("/notes/1", HOLT)
    gateway.upstream.fault = NEVER_SENT
    got = gateway.ask("GET", target, HOLT)
    assert (got.status, got["content-type"]) == (503, "application/problem+json")
    assert int(got["retry-after"]) > 0
    assert got.json()["reason"]


def test_while_it_is_down_only_whom_it_has_accepted_is_answered(gateway: InProcess) -> None:
    gateway.knows("/notes/1", HOLT)
    gateway.upstream.fault = NEVER_SENT
    wrong = {"Authorization": basic("Dr Holt", "wrong")}
    assert [gateway.ask("GET", "/notes/1", who).status for who in ({}, wrong, AMES, HOLT)] == [401, 401, 503, 200]


def test_what_is_outside_the_contract_goes_through_untouched(gateway: InProcess) -> None:
    got = gateway.ask("POST", "/echo?a=1&a=2&&b", HOLT, b"\x00raw")
    assert (got.status, got.all("set-cookie")) == (200, ["a=1", "b=2"])
    (call,) = gateway.upstream.sent
    assert (call.target, call.body) == ("/echo?a=1&a=2&&b", b"\x00raw")
    gateway.upstream.fault = "reset"
    assert gateway.ask("POST", "/echo", HOLT, b"x").status == 502
    assert len(gateway.upstream.sent) == 2, "never sent twice"


@pytest.mark.parametrize("fault", [NEVER_SENT, "reset", "applied_reset", Response(500), "hang"])
def test_a_write_is_sent_once_at_the_most_and_accepted_when_it_is_not_answered(
    gateway: InProcess, fault: str | Response
) -> None:
    gateway.ask("GET", "/notes", HOLT)
    gateway.knows("/notes/1", HOLT)
    gateway.knows("/patients/17", HOLT)  # what is not there cannot be referred to
    before, gateway.upstream.fault = len(gateway.upstream.targets("POST")), fault
    got = gateway.ask("POST", "/notes", HOLT, {"title": "Better", "patient_id": 17})
    assert got.status == 201
    assert got.json()["id"] >= PROVISIONAL
    assert got.json()["title"] == "Better"
    assert len(gateway.upstream.targets("POST")) - before == (0 if fault == NEVER_SENT else 1)
    gateway.upstream.fault = NEVER_SENT
    again = gateway.ask("GET", f"/notes/{got.json()['id']}", HOLT)
    assert (again.status, again.json()["title"]) == (200, "Better")


def test_an_answered_write_is_the_upstreams_own(gateway: InProcess) -> None:
    got = gateway.ask("POST", "/notes", HOLT, {"title": "Better"})
    assert (got.status, got.json()["id"]) == (201, 2)
    assert gateway.ask("PATCH", "/notes/2", HOLT, {"title": "Well"}).json()["title"] == "Well"
    assert gateway.ask("DELETE", "/notes/2", HOLT).status == 204
    assert gateway.ask("DELETE", "/notes/2", HOLT).status == 404
    assert gateway.upstream.targets("PATCH") == ["/notes/2"]


def test_a_write_of_somebody_unknown_is_not_accepted(gateway: InProcess) -> None:
    gateway.knows("/notes/1", HOLT)
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("POST", "/notes", AMES, {"title": "Better"}).status == 503
    assert gateway.ask("POST", "/notes", {"Authorization": basic("Dr Holt", "x")}, {"title": "B"}).status == 401
    gateway.upstream.fault = None
    assert len(gateway.ask("GET", "/notes", HOLT).json()) == 1


def test_late_answers_are_learned_from(gateway: InProcess) -> None:
    gateway.knows("/notes/1", HOLT)
    gateway.upstream.fault = "hang"
    assert gateway.ask("GET", "/patients/17", HOLT).status in (503, 504)
    assert gateway.events()[-1]["understudy"]["attempts"], "it is recorded that it was asked"


def test_nobody_is_refused_whose_answer_comes_in_time(tmp_path: Path) -> None:
    """Many more than there are places, at an endpoint that takes longer than the deadline for each of them."""
    with InProcess(tmp_path, deadline=0.05, upstream_timeout=60.0, threads=64) as gateway:
        gateway.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        gateway.upstream.before = lambda call: time.sleep(0.3)
        told: list[int] = []
        users = [
            threading.Thread(target=lambda: told.append(gateway.ask("GET", "/patients/17", HOLT).status))
            for _ in range(30)
        ]
        for user in users:
            user.start()
        for user in users:
            user.join(60)
        assert told == [200] * 30


@pytest.mark.parametrize(("method", "target", "status"), [("GET", "/patients/18", 503), ("POST", "/unknown", 504)])
def test_where_nothing_comes_back_at_all_nobody_waits_beyond_the_deadline(
    tmp_path: Path, method: str, target: str, status: int
) -> None:
    """The first call hangs; its endpoint is silent, and who asks then is told so while that one still hangs."""
    with InProcess(tmp_path, deadline=0.3, upstream_timeout=600.0) as gateway:
        gateway.upstream.state.patients[18] = {"id": 18, "name": "Rex"}
        assert gateway.ask(method, target, HOLT).status in (200, 500)  # what is unknown is a fault of the fake
        gateway.upstream.fault = "hang"
        got = gateway.ask(method, target.replace("18", "19"), HOLT)  # of this one nothing is known
        assert got.status == status
        assert status == 504 or int(got["retry-after"]) > 0
        gateway.upstream.fault = None
        assert gateway.ask(method, target, HOLT).status in (200, 500)  # what is unknown is a fault of the fake


def test_a_list_is_shown_as_soon_as_the_write_that_it_waited_for_is_the_outboxs(tmp_path: Path) -> None:
    """Its own deadline was over by then; but the upstream would have been waited for much longer, in vain."""
    with InProcess(tmp_path, deadline=0.5, upstream_timeout=20.0, proof=1) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        gateway.upstream.fault = "hang"
        told: list[Got] = []
        creates = threading.Thread(target=lambda: told.append(gateway.ask("POST", "/notes", HOLT, {"title": "New"})))
        lists = threading.Thread(target=lambda: told.append(gateway.ask("GET", "/notes", HOLT)))
        lists.start()
        time.sleep(0.25)
        creates.start()
        for thread in (creates, lists):
            thread.join(10)
        created, listed = told
        assert created.status == 201
        assert (listed.status, [note["title"] for note in listed.json()]) == (200, ["New", "Limps"])


def test_the_standby_that_answers_before_the_deadline_is_no_failure_of_the_upstream(tmp_path: Path) -> None:
    """A caller whom the operator has routed to the standby, which waited for a write of another to be the outbox's."""
    with InProcess(tmp_path, deadline=1.0, upstream_timeout=20.0, proof=1) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        (worker,) = app._running
        worker.switchboard.route("notes.list", 100.0, "test")
        before = failures(worker.switchboard)
        gateway.upstream.fault = "hang"
        creates = threading.Thread(target=gateway.ask, args=("POST", "/notes", HOLT, {"title": "New"}))
        creates.start()
        time.sleep(0.5)
        assert [note["title"] for note in gateway.ask("GET", "/notes", HOLT).json()] == ["New", "Limps"]
        creates.join(10)
        assert failures(worker.switchboard) == before


def failures(switchboard: Switchboard) -> int:
    """Of lists, that this process has seen."""
    return sum(failed for (_, name, *_), (_, failed, _) in switchboard._mine.items() if name == "notes.list")


@pytest.mark.parametrize(("rows", "beside"), [(2, False), (8000, True)])
def test_a_long_answer_is_read_beside_the_loop(gateway: InProcess, rows: int, beside: bool) -> None:
    listed = [{"id": number, "title": "Limps" * 30, "patient_id": 17} for number in range(rows)]
    gateway.ask("GET", "/notes/1", HOLT)
    gateway.upstream.fault = Response(200, JSON, json.dumps(listed).encode())
    with gateway.watching() as called:
        got = gateway.ask("GET", "/notes", HOLT)
    assert (got.status, got.json()) == (200, listed)
    assert ({"response_fault", "vouches", "learn"} & called == set()) is beside
    assert "_from_upstream" in called
    gateway.upstream.fault = Response(200, JSON, json.dumps([*listed, 1]).encode()[:-1])
    assert gateway.ask("GET", "/notes", HOLT).status == 503, "what is no JSON is no answer, however long"


@pytest.mark.parametrize(("size", "beside"), [(100, False), (2_000_000, True)])
def test_a_long_write_is_looked_into_beside_the_loop(gateway: InProcess, size: int, beside: bool) -> None:
    gateway.ask("GET", "/notes/1", HOLT)
    with gateway.watching() as called:
        got = gateway.ask("POST", "/notes", HOLT, {"title": "t" * size, "patient_id": 17, "staff_id": 1})
    assert got.status == 201
    assert ({"_mentions", "refusal"} & called == set()) is beside
    assert "_change" in called


def test_an_id_of_ours_is_found_wherever_it_is_in_a_long_body() -> None:
    ours = str(PROVISIONAL)
    for at in range(LOOK - 12, LOOK + 2):
        body = b"x" * at + ours.encode() + b"x" * LOOK
        assert _mentions(Request("POST", "/notes", [], body))
    assert not _mentions(Request("POST", "/notes", [], (b"x" + ours.encode()[1:]) * (LOOK // 5)))
