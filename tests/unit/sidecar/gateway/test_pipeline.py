"""Who answers, and what: the upstream where it can, the standby what it truly knows, else an honest refusal."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ExceptionContext
from sqlalchemy.event import listens_for

from sidecar import app
from sidecar.clock import stamp
from sidecar.exchange import Outcome
from sidecar.http.messages import Request, Response
from sidecar.standby import knowledge
from sidecar.standby.outbox.rewrite import LOOK, _mentions
from sidecar.takeover.circuit import State
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Who
from sidecar.upstream.connection import Call, Sent
from tests.support.gateway import NEVER_SENT, FakeUpstream, InProcess, _end
from tests.support.stack import Got, until
from tests.support.upstream import AMES, HOLT, basic

PROVISIONAL = 2_000_000_000
JSON = [("Content-Type", "application/json")]
NOTE = {"title": "New", "body": "b", "patient_id": 17, "staff_id": 1}


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


@pytest.mark.parametrize("answers", [True, False])
def test_a_slow_answer_is_looked_up_before_it_is_due_and_yields_to_the_upstreams_own(
    tmp_path: Path, answers: bool
) -> None:
    """The upstream says nothing before the standby has begun to look, and then at once, or nothing at all."""
    looking = threading.Event()
    with InProcess(tmp_path, deadline=1.5, upstream_timeout=60.0) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes/1", HOLT)
        (worker,) = app._running

        @listens_for(worker.engine, "before_cursor_execute")
        def slow(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "FROM literals" in statement and "learner" not in threading.current_thread().name:
                looking.set()
                time.sleep(0.3)

        gateway.down("/notes/1", HOLT)  # now it is known to take a while
        looking.clear()
        gateway.upstream.state.notes[1]["title"] = "Well"
        gateway.upstream.before = lambda call: (looking if answers else gateway.upstream.released).wait(30)
        got = gateway.ask("GET", "/notes/1", HOLT)
        assert looking.is_set()
        assert got.json()["title"] == ("Well" if answers else "Limps")
        assert got["cache-status"].startswith("understudy; hit") is not answers


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


def test_a_write_that_cannot_be_kept_waits_once_and_nothing_from_before_its_end_is_answered(
    gateway: InProcess,
) -> None:
    """Another program holds the database's file; it has let go when somebody reads the record, and only then does the
    write take effect."""
    gateway.knows("/notes/1", HOLT)
    (worker,), path, waited = app._running, gateway.settings.data / "understudy.db", list[str]()

    @listens_for(worker.engine, "handle_error")
    def in_vain(error: ExceptionContext) -> None:
        waited.append(threading.current_thread().name)

    def meanwhile(call: Call) -> None:
        if call.method != "PATCH":
            return
        other.execute("ROLLBACK")
        worker.standby.refresh()
        assert gateway.ask("GET", "/notes/1", HOLT).json()["title"] == "Limps"
        assert gateway.down("/notes/1", HOLT).status == 200, "it is known, and was seen since"

    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        gateway.upstream.before = meanwhile
        assert gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Well"}).status == 200
    assert len([name for name in waited if name.startswith("beside")]) == 1, waited
    assert gateway.down("/notes/1", HOLT).status == 503
    assert gateway.knows("/notes/1", HOLT).json()["title"] == "Well"


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


def test_who_is_served_beside_others_is_not_refused_for_how_long_each_takes(tmp_path: Path) -> None:
    """One at a time they would be too many. A write's intent takes its time, in which none of them is under way yet."""
    with InProcess(tmp_path, deadline=1.0, upstream_timeout=2.0, upstream_concurrency=32) as gateway:
        gateway.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        gateway.upstream.before = lambda call: time.sleep(0.5)
        told = [gateway.ask("GET", "/patients/17", HOLT).status, gateway.ask("POST", "/notes", HOLT, NOTE).status]
        for asked in (("GET", "/patients/17", HOLT), ("POST", "/notes", HOLT, NOTE)):
            users = [
                threading.Thread(target=lambda asked=asked: told.append(gateway.ask(*asked).status))  # type: ignore[misc]
                for _ in range(8)
            ]
            for user in users:
                user.start()
            for user in users:
                user.join(60)
        assert told == [200, 201] + [200] * 8 + [201] * 8
        assert len(gateway.upstream.targets("POST")) == 9
        answered = [event["understudy"]["answered_by"] for event in gateway.events()]
        assert answered == ["upstream"] * 18


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[InProcess]:
    """Its only place at the upstream is taken by a call that takes until `released`."""
    with InProcess(tmp_path, deadline=20.0, upstream_timeout=60.0, upstream_concurrency=1) as running:
        running.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        running.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        running.knows("/notes/1", HOLT)
        running.upstream.sent.clear()
        released = running.upstream.released
        running.upstream.before = lambda call: released.wait(60)
        running.come("GET", "/patients/17", HOLT)
        until(lambda: app._running[0].upstream._under_way, 5, "under way")
        yield running


def in_line() -> int:
    (worker,) = app._running
    return worker.upstream.waiting


def aborted(gateway: InProcess) -> list[dict[str, Any]]:
    """What is recorded as 499."""
    found = [event for event in gateway.events() if event["http"]["response"]["status_code"] == 499]
    return [event["understudy"] for event in found]


def test_a_write_whose_client_leaves_before_it_is_sent_is_not_sent(busy: InProcess) -> None:
    """Who left sends it again, and rightly so: nothing had happened."""
    clients = [busy.come("POST", "/notes", HOLT, NOTE), busy.come("PATCH", "/notes/1", HOLT, {"title": "Never"})]
    until(lambda: in_line() == 2, 5, "they wait for a place")
    for client in clients:
        busy.leave(client)
    left = until(lambda: len(found := aborted(busy)) == 2 and found, 5, "recorded")
    assert [(each["outcome"], each["attempts"]) for each in left] == [("client_aborted", [])] * 2
    assert in_line() == 0
    busy.upstream.released.set()
    assert busy.ask("POST", "/notes", HOLT, NOTE).status == 201
    assert [note["title"] for note in busy.upstream.state.notes.values()] == ["Limps", "New"]
    busy.ask("GET", "/notes", HOLT)  # which is learned from
    assert busy.down("/notes/1", HOLT).json()["title"] == "Limps", "no write is under way, or unclear"


def test_who_has_left_before_the_write_could_begin_sends_nothing(gateway: InProcess) -> None:
    gateway.come("POST", "/notes", HOLT, NOTE, leaves=True)
    event = until(lambda: gateway.events(), 5, "recorded")[0]
    assert (event["http"]["response"]["status_code"], event["understudy"]["attempts"]) == (499, [])
    assert gateway.upstream.sent == []


def test_readers_who_have_left_are_in_nobodys_way(busy: InProcess) -> None:
    failed = failures(app._running[0].switchboard, "notes.read")
    clients = [busy.come("GET", f"/notes/{number}", HOLT) for number in range(2, 22)]
    until(lambda: in_line() == 20, 5, "they wait for a place")
    for client in clients:
        busy.leave(client)
    busy.upstream.released.set()
    assert busy.ask("GET", "/notes/1", HOLT).status == 200
    assert busy.upstream.targets("GET") == ["/patients/17", "/notes/1"]
    left = until(lambda: len(found := aborted(busy)) == 20 and found, 5, "recorded")
    assert [(each["outcome"], each["attempts"]) for each in left] == [("client_aborted", [])] * 20
    assert failures(app._running[0].switchboard, "notes.read") == failed, "the upstream has done nothing wrong"


def test_a_probe_whose_client_leaves_before_it_is_sent_holds_up_no_other(busy: InProcess) -> None:
    busy.upstream.released.set()
    busy.upstream.fault = NEVER_SENT
    switchboard = app._running[0].switchboard

    def state() -> State:
        return switchboard.state("notes.read").circuit.state

    until(lambda: busy.ask("GET", "/notes/2", HOLT) and state() is not State.CLOSED, 10, "its circuit opens")
    until(lambda: state() is State.HALF_OPEN, 10, "it may be probed")
    busy.upstream.fault = None
    busy.upstream.released.clear()
    busy.come("GET", "/patients/17", HOLT)
    client = busy.come("GET", "/notes/5", HOLT)
    until(lambda: in_line() == 1, 5, "it waits for a place")
    assert switchboard.decide("notes.read", "Dr Ames", False).who is not Who.PROBE, "one at a time"
    busy.leave(client)
    until(lambda: aborted(busy), 5, "recorded")
    assert switchboard.decide("notes.read", "Dr Ames", False).who is Who.PROBE


def test_what_is_under_way_when_its_client_leaves_is_learned_from(gateway: InProcess) -> None:
    go_on = threading.Event()
    gateway.upstream.before = lambda call: go_on.wait(60)
    client = gateway.come("GET", "/notes/1", HOLT)
    until(lambda: app._running[0].upstream._under_way, 5, "under way")
    gateway.leave(client)
    go_on.set()
    until(lambda: gateway.events(), 5, "recorded")
    assert gateway.down("/notes/1", HOLT).status == 200


class Hole(FakeUpstream):
    """Takes no connections: each attempt ends after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.open = True
        self.tried = 0

    def _sent(self, call: Call, fault: str | Response | None, begun: int) -> Sent:
        if self.open:
            return super()._sent(call, fault, begun)
        self.tried += 1
        time.sleep(0.3)
        return _end(begun, Outcome.FAILURE, "connect_timeout")


@pytest.mark.parametrize("known", [True, False], ids=["has answered", "has never answered"])
def test_where_nobody_is_found_nobody_is_tried_beyond_the_deadline(tmp_path: Path, known: bool) -> None:
    """Of those who wait for a place only those get one who come to it before; and none is asked for again."""
    hole = Hole()
    settings = {"deadline": 0.4, "connect_timeout": 0.3, "upstream_timeout": 60.0, "upstream_concurrency": 2}
    with InProcess(tmp_path, hole, retry_budget=1.0, **settings) as gateway:
        if known:
            hole.state.patients[17] = {"id": 17, "name": "Rex"}
            assert gateway.ask("GET", "/patients/17", HOLT).status == 200
        hole.open = False
        told: list[int] = []
        users = [
            threading.Thread(target=lambda n=n: told.append(gateway.ask("GET", f"/patients/{n}", HOLT).status))  # type: ignore[misc]
            for n in range(20, 40)
        ]
        for user in users:
            user.start()
        for user in users:
            user.join(60)
        assert told == [503] * 20
        assert hole.tried < 10
        line = gateway._serving.application._pipeline._parts.reads._asking._pace._lines["patients.read"]  # type: ignore[attr-defined]
        assert line.slowest < 0.3, "nobody who takes no connection has answered"


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


@pytest.mark.parametrize("target", ["/notes", "/notes/1"])
def test_a_record_is_shown_as_soon_as_the_change_that_it_waited_for_is_the_outboxs(tmp_path: Path, target: str) -> None:
    with InProcess(tmp_path, deadline=0.5, upstream_timeout=20.0, proof=1) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        gateway.knows("/notes/1", HOLT)
        gateway.upstream.fault = "hang"
        change = threading.Timer(0.25, lambda: gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Well"}))
        change.start()
        began = time.monotonic()
        got = gateway.ask("GET", target, HOLT)
        assert time.monotonic() - began < 5, "the upstream would have been waited for much longer, in vain"
        change.join(10)
        (note,) = got.json() if target == "/notes" else [got.json()]
        assert (got.status, note["title"]) == (200, "Well")


@pytest.mark.parametrize(("method", "target"), [("POST", "/notes"), ("PATCH", "/notes/1")])
def test_where_the_upstream_fails_at_once_a_list_waits_for_the_write_under_way(
    tmp_path: Path, method: str, target: str
) -> None:
    with InProcess(tmp_path, deadline=1.0, upstream_timeout=20.0, proof=1) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        gateway.knows("/notes/1", HOLT)
        gateway.upstream.fault = "hang"
        write = threading.Thread(target=gateway.ask, args=(method, target, HOLT, {"title": "New"}))
        write.start()
        until(lambda: gateway.upstream.targets(method))
        time.sleep(0.5)  # so that the write is the outbox's before the list's own deadline
        gateway.upstream.fault = Response(500)
        got = gateway.ask("GET", "/notes", HOLT)
        write.join(10)
        assert (got.status, got.json()[0]["title"]) == (200, "New")


def test_nobody_waits_for_a_write_of_which_nobody_knows_what_became(tmp_path: Path) -> None:
    with InProcess(tmp_path, deadline=10.0, upstream_timeout=20.0, proof=1) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        with app._running[0].engine.begin() as connection:
            knowledge.doubt_record(connection, "notes", "1", stamp())
        gateway.upstream.fault = Response(500)
        began = time.monotonic()
        assert gateway.ask("GET", "/notes", HOLT).status >= 500
        assert time.monotonic() - began < 5, "half of the deadline"


def test_the_standby_that_answers_before_the_deadline_is_no_failure_of_the_upstream(tmp_path: Path) -> None:
    """A caller whom the operator has routed to the standby, which waited for a write of another to be the outbox's."""
    with InProcess(tmp_path, deadline=3.0, upstream_timeout=20.0, proof=1) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        (worker,) = app._running
        worker.switchboard.route("notes.list", 100.0, "test")
        before = failures(worker.switchboard)
        gateway.upstream.fault = "hang"
        creates = threading.Thread(target=gateway.ask, args=("POST", "/notes", HOLT, {"title": "New"}))
        creates.start()
        time.sleep(1.5)
        assert [note["title"] for note in gateway.ask("GET", "/notes", HOLT).json()] == ["New", "Limps"]
        creates.join(10)
        assert failures(worker.switchboard) == before


def failures(switchboard: Switchboard, endpoint: str = "notes.list") -> int:
    """Of the endpoint, that this process has seen."""
    return sum(failed for (_, name, *_), (_, failed, _) in switchboard._mine.items() if name == endpoint)


@pytest.mark.parametrize(("rows", "beside"), [(2, False), (8000, True)])
def test_a_long_answer_is_read_beside_the_loop(gateway: InProcess, rows: int, beside: bool) -> None:
    listed = [{"id": number, "title": "Limps" * 30, "patient_id": 17} for number in range(rows)]
    gateway.ask("GET", "/notes/1", HOLT)
    gateway.upstream.fault = Response(200, JSON, json.dumps(listed).encode())
    with gateway.watching() as called:
        got = gateway.ask("GET", "/notes", HOLT)
    assert (got.status, got.json()) == (200, listed)
    assert ({"response_fault", "vouches", "learn"} & called == set()) is beside
    assert "from_upstream" in called
    gateway.upstream.fault = Response(200, JSON, json.dumps([*listed, 1]).encode()[:-1])
    assert gateway.ask("GET", "/notes", HOLT).status == 503, "what is no JSON is no answer, however long"


@pytest.mark.parametrize(("size", "beside"), [(100, False), (2_000_000, True)])
def test_a_long_write_is_looked_into_beside_the_loop(gateway: InProcess, size: int, beside: bool) -> None:
    gateway.ask("GET", "/notes/1", HOLT)
    with gateway.watching() as called:
        got = gateway.ask("POST", "/notes", HOLT, {"title": "t" * size, "patient_id": 17, "staff_id": 1})
    assert got.status == 201
    assert ({"_mentions", "refusal"} & called == set()) is beside
    assert "_of_result" in called


def test_an_id_of_ours_is_found_wherever_it_is_in_a_long_body() -> None:
    ours = str(PROVISIONAL)
    for at in range(LOOK - 12, LOOK + 2):
        body = b"x" * at + ours.encode() + b"x" * LOOK
        assert _mentions(Request("POST", "/notes", [], body))
    assert not _mentions(Request("POST", "/notes", [], (b"x" + ours.encode()[1:]) * (LOOK // 5)))


class Body:
    """Of an answer that would be passed on as it comes."""

    size = None

    def __init__(self) -> None:
        self.closed = False

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"[]"

    def close(self) -> None:
        self.closed = True

    def when_over(self, tell: Callable[[str | None], None]) -> None:
        return


def test_an_answer_that_lacks_what_was_written_here_is_not_passed_on(gateway: InProcess) -> None:
    for target in ("/patients/17", "/notes"):
        gateway.knows(target, HOLT)
    gateway.upstream.fault = passed_on = Response(200, JSON, passed_on=Body())
    assert gateway.ask("GET", "/notes", HOLT).status == 200
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("POST", "/notes", HOLT, {"title": "Kept", "patient_id": 17}).status == 201
    gateway.upstream.fault = replace(passed_on, passed_on=(body := Body()))
    got = gateway.ask("GET", "/notes", HOLT)
    assert got.status == 503 or "Kept" in got.body.decode()
    assert body.closed


def test_only_what_nobody_needs_whole_may_be_passed_on(gateway: InProcess) -> None:
    for method, target, body in (
        ("GET", "/notes", None), ("GET", "/elsewhere", None), ("POST", "/notes", {"title": "t", "patient_id": 17}),
        ("POST", "/patients/17/screen", {"images": ["AOTL"]}),
    ):  # fmt: skip
        gateway.ask(method, target, HOLT, body)
    told = {call.target: call.patience for call in gateway.upstream.sent if call.method == "POST"}
    assert told == {"/notes": None, "/patients/17/screen": None}
    over = {call.target: call.patience and call.patience.over for call in gateway.upstream.sent if call.method == "GET"}
    assert over == {"/notes": False, "/elsewhere": True}
