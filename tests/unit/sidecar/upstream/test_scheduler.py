"""Calls at the upstream: who makes them, who goes on with them, and whose turn it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Response
from sidecar.upstream.concurrency import Slots
from sidecar.upstream.connection import Call, Wire
from sidecar.upstream.scheduler import Job, Priority, Result, Upstream
from tests.support.stack import until
from tests.support.upstream import HOLT
from tests.support.upstream import Upstream as Server


class FakeWire(Wire):
    """Ends a call when it is told to; `sent` lists the targets in order."""

    def __init__(self, sent: list[str], finish: threading.Event) -> None:
        self._sent, self._finish = sent, finish

    def begin(self, call: Call) -> None:
        if call.target == "/broken":
            raise ValueError(call.target)
        self._sent.append(call.target)

    def go_on(self, until: float | None = None) -> tuple[Attempt, Response | None] | None:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not self._finish.wait(left):
            return None
        return Attempt(0, 1, Outcome.SUCCESS, 200), Response(200)

    def close(self) -> None:
        return


class Pool:
    """A pool with one place, and what was sent through it."""

    def __init__(self, path: Path) -> None:
        self.sent: list[str] = []
        self.finish = threading.Event()
        self.slots = Slots(path / "places", 1, longest=60)
        self.upstream = Upstream(self.slots, lambda: FakeWire(self.sent, self.finish), threads=2)

    def job(
        self, target: str, priority: Priority = Priority.USER, judge: Callable[[Result], Result] = lambda result: result
    ) -> Job:
        return Job(Call("GET", target, []), 1, priority, judge, SimpleQueue())


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    yield made
    made.finish.set()
    made.upstream.close()


def test_a_call_whose_thread_has_left_comes_to_its_end_and_is_judged_once(pool: Pool) -> None:
    judged: list[Result] = []
    job = pool.job("/slow", judge=lambda result: (judged.append(result), result)[1])
    assert pool.upstream.begin(job)
    assert pool.upstream.go_on(job, time.monotonic() + 0.01) is None
    assert (pool.slots.in_flight(), judged) == (1, [])
    pool.finish.set()
    result = job.inbox.get(timeout=5)
    assert [result] == judged
    assert pool.slots.in_flight() == 0
    assert pool.sent == ["/slow"]


def test_turns_come_by_urgency_and_then_by_age(pool: Pool) -> None:
    first = pool.job("/first")
    assert pool.upstream.begin(first)
    later = pool.job("/later")
    urgent = pool.job("/urgent", Priority.ONLY_UPSTREAM)
    errand = pool.job("/errand", Priority.REPLAY)
    pool.upstream.submit(errand)
    assert not pool.upstream.begin(later)
    assert not pool.upstream.begin(urgent)
    pool.finish.set()
    for job in (first, urgent, later):
        assert job is first or job.inbox.get(timeout=5) is None
        assert pool.upstream.go_on(job, time.monotonic() + 5) is not None
    assert errand.inbox.get(timeout=5) is not None
    assert pool.sent == ["/first", "/urgent", "/later", "/errand"]


def test_a_turn_that_came_too_late_is_passed_on_and_nothing_was_sent(pool: Pool) -> None:
    first, gone, last = (pool.job(f"/{name}") for name in ("first", "gone", "last"))
    assert pool.upstream.begin(first)
    assert not pool.upstream.begin(gone)
    assert not pool.upstream.begin(last)
    pool.finish.set()
    assert pool.upstream.go_on(first, time.monotonic() + 5) is not None
    assert gone.inbox.get(timeout=5) is None
    assert last.inbox.empty()
    assert pool.upstream.cancel(gone)
    assert not pool.upstream.cancel(gone)
    assert last.inbox.get(timeout=5) is None
    assert pool.upstream.go_on(last, time.monotonic() + 5) is not None
    assert pool.sent == ["/first", "/last"]
    assert pool.slots.in_flight() == 0


def test_a_call_that_breaks_is_of_unknown_outcome_and_keeps_no_place(pool: Pool) -> None:
    job = pool.job("/broken")
    assert pool.upstream.begin(job)
    result = pool.upstream.go_on(job, time.monotonic() + 5)
    assert result is not None
    assert (result.attempt.outcome, result.attempt.error) == (Outcome.UNKNOWN, "broken")
    assert pool.slots.in_flight() == 0


def test_what_another_process_gives_back_is_noticed(pool: Pool, tmp_path: Path) -> None:
    other = Slots(tmp_path / "places", 1, longest=60)
    taken = other.take([2])
    assert taken is not None
    job = pool.job("/waits")
    assert not pool.upstream.begin(job)
    assert job.inbox.empty()
    other.give(taken[0])
    assert job.inbox.get(timeout=5) is None


def test_a_call_on_a_real_wire_changes_hands() -> None:
    with Server() as server:
        server.state.notes[5] = {"id": 5, "title": "Round"}
        server.fault("slow", "/notes/5", seconds=0.3)
        wire = Wire(server.url, connect_timeout=1, timeout=5, max_answer=10_000)
        wire.begin(Call("GET", "/notes/5", [("Host", "hosp"), *HOLT.items()], repeatable=True))
        assert wire.go_on(time.monotonic() + 0.05) is None
        found: list[tuple[Attempt, Response | None] | None] = []
        thread = threading.Thread(target=lambda: found.append(wire.go_on()))
        thread.start()
        thread.join(5)
        sent = found[0]
        assert sent is not None
        assert sent[1] is not None
        assert (sent[0].outcome, sent[1].status) == (Outcome.SUCCESS, 200)
        assert sent[0].duration >= 300_000_000
        again = wire.send(Call("GET", "/notes/5", [("Host", "hosp"), *HOLT.items()], repeatable=True))
        assert again[1] is not None
        until(lambda: len(server.seen("/notes/5")) == 2)
        wire.close()
