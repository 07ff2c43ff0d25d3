"""Calls at the upstream: whose turn it is, and that each comes to its end once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Response
from sidecar.upstream.concurrency import Slots
from sidecar.upstream.connection import Call, Done
from sidecar.upstream.passing_on import PassingOn
from sidecar.upstream.scheduler import BackgroundCalls, Job, Priority, Result, Upstream


class Wires:
    """Ends a call when it is told to; `sent` lists the targets in order."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.under_way: list[Done] = []
        self.at_once = False

    def start(self, call: Call, done: Done) -> None:
        if call.target == "/broken":
            raise ValueError(call.target)
        self.sent.append(call.target)
        if self.at_once:
            done((Attempt(0, 1, Outcome.SUCCESS, 200), Response(200)))
        else:
            self.under_way.append(done)

    def finish(self) -> None:
        """Ends the call that has been under way for longest."""
        self.under_way.pop(0)((Attempt(0, 1, Outcome.SUCCESS, 200), Response(200)))

    def close(self) -> None:
        return


class Pool:
    """A pool with few slots, and what was sent through it."""

    def __init__(self, path: Path, slots: int = 1) -> None:
        self.wires = Wires()
        self.slots = Slots(path / "places", slots, longest=60)
        self.upstream = Upstream(self.slots, self.wires)
        self.results: list[tuple[str, Result]] = []

    def job(self, target: str, priority: Priority = Priority.USER, endpoint: int = 1) -> Job:
        return Job(
            Call("GET", target, []), endpoint, priority, lambda result: self.results.append((target, result))
        )  # fmt: skip

    def submit(self, *given: Any) -> Job:
        job = self.job(*given)
        self.upstream.submit(job)
        return job


Test = Callable[[Pool], Coroutine[Any, Any, None]]


def on_loop(test: Test, path: Path, slots: int = 1) -> None:
    async def run() -> None:
        pool = Pool(path, slots)
        await test(pool)
        await pool.upstream.close(0)

    asyncio.run(run())


def test_a_call_comes_to_its_end_once_and_its_slot_is_free_then(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        pool.submit("/slow")
        assert (pool.slots.in_flight(), pool.results) == (1, [])
        done = pool.wires.under_way[0]
        pool.wires.finish()
        done((Attempt(0, 1, Outcome.FAILURE, None, "again"), None))
        assert [(target, result.attempt.outcome) for target, result in pool.results] == [("/slow", Outcome.SUCCESS)]
        assert pool.slots.in_flight() == 0

    on_loop(test, tmp_path)


@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_that_is_passed_on_holds_its_slot_to_its_end_and_not_for_ever(tmp_path: Path, ends: bool) -> None:
    async def test(pool: Pool) -> None:
        pool.slots.longest = 60.0 if ends else 0.02
        pool.submit("/long")
        body = PassingOn(None, 60.0, pause=lambda: None, resume=lambda: None, cut=lambda: None)
        pool.wires.under_way.pop(0)((Attempt(0, 1, Outcome.SUCCESS, 200), Response(200, passed_on=body)))
        assert [target for target, _ in pool.results] == ["/long"]
        pool.submit("/next")
        assert (pool.slots.in_flight(), pool.wires.sent) == (1, ["/long"])
        if ends:
            body.end(None)
        else:
            await asyncio.sleep(0.05)
        assert pool.wires.sent == ["/long", "/next"]
        body.end(None)
        assert pool.slots.in_flight() == 1, "another's by now"
        pool.wires.finish()
        assert pool.slots.in_flight() == 0

    on_loop(test, tmp_path)


def test_turns_come_by_urgency_and_then_by_age(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        pool.submit("/first")
        for target, priority in (
            ("/errand", Priority.REPLAY), ("/later", Priority.USER), ("/urgent", Priority.ONLY_UPSTREAM),
        ):  # fmt: skip
            pool.submit(target, priority)
        for _ in range(4):
            pool.wires.finish()
        assert pool.wires.sent == ["/first", "/urgent", "/later", "/errand"]
        assert [target for target, _ in pool.results] == pool.wires.sent

    on_loop(test, tmp_path)


@pytest.mark.parametrize(
    ("places", "users", "errands"),
    [(1, 0, 1), (2, 0, 1), (4, 0, 3), (8, 0, 6), (8, 1, 6), (8, 3, 5), (8, 4, 4), (8, 8, 4), (4, 4, 2), (1, 1, 1)],
)
def test_errands_leave_places_for_as_many_users_as_were_there_of_late(
    tmp_path: Path, places: int, users: int, errands: int
) -> None:
    async def test(pool: Pool) -> None:
        for number in range(users):
            pool.submit(f"/before/{number}", Priority.USER, 200 + number)
        while pool.wires.under_way:
            pool.wires.finish()
        pool.slots.give_resting()
        pool.wires.sent.clear()
        for number in range(2 * places):
            pool.submit(f"/errand/{number}", Priority.REPLAY, number + 1)
        assert len(pool.wires.sent) == errands
        pool.submit("/user", Priority.USER, 100)
        if places > errands:
            assert pool.wires.sent[errands:] == ["/user"], "at once"
        pool.wires.finish()
        assert pool.wires.sent[errands] == "/user", "a place that becomes free is the user's"

    on_loop(test, tmp_path, slots=places)


def test_replay_takes_a_few_places_that_no_user_wants_however_busy_it_is(tmp_path: Path) -> None:
    """Of eight places six are users': the others are replay's, but not backfill's; and who comes goes first."""

    async def test(pool: Pool) -> None:
        for number in range(6):
            pool.submit(f"/user/{number}", Priority.USER, 10 + number)
        for number in range(3):
            pool.submit(f"/fill/{number}", Priority.BACKFILL, 20 + number)
            pool.submit(f"/errand/{number}", Priority.REPLAY, 30 + number)
        assert pool.wires.sent[6:] == ["/errand/0", "/errand/1"]
        pool.submit("/late", Priority.USER, 40)
        pool.wires.finish()
        assert pool.wires.sent[8:] == ["/late"]
        for _ in range(4):
            pool.wires.finish()
        assert pool.wires.sent[9:] == [], "two of replay's are under way, three of users: four places stay free"
        pool.wires.finish()
        assert pool.wires.sent[9:] == ["/errand/2"]

    on_loop(test, tmp_path, slots=8)


def test_however_many_calls_of_one_endpoint_hang_another_is_served_at_once(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        for number in range(100):
            pool.submit(f"/hangs/{number}", Priority.ONLY_UPSTREAM, 1)
            pool.submit(f"/hangs-too/{number}", Priority.ONLY_UPSTREAM, 2)
        held = len(pool.wires.sent)
        assert held < 8
        for number in range(20):
            pool.submit(f"/quick/{number}", Priority.USER, 3)
            await asyncio.sleep(0.003)
            assert pool.wires.sent[held:] == [f"/quick/{n}" for n in range(number + 1)]
            pool.wires.under_way.pop()((Attempt(0, 1, Outcome.SUCCESS, 200), Response(200)))

    on_loop(test, tmp_path, slots=8)


def test_who_leaves_a_line_costs_the_same_wherever_they_stand(tmp_path: Path) -> None:
    """Thousands may leave at once, those who came last first."""
    compared = 0

    class Counting(Job):
        __hash__ = Job.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return self is other

    async def test(pool: Pool) -> None:
        jobs = [Counting(Call("GET", "/", []), 1, Priority.USER, None) for _ in range(1000)]
        for job in jobs:
            pool.upstream.submit(job)
        assert all(pool.upstream.cancel(job) for job in reversed(jobs[10:]))
        assert compared < 10 * len(jobs)
        for _ in jobs[:10]:
            pool.wires.finish()
        assert (len(pool.wires.sent), pool.upstream.waiting) == (10, 0)

    on_loop(test, tmp_path)


def test_it_is_known_how_many_are_served_at_once_while_others_wait(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        told = []
        for number in range(8):
            pool.submit(f"/notes/{number}")
            told.append(pool.upstream.at_once(1))
        places = len(pool.wires.sent)
        assert told == [0] * places + [places] * (8 - places)
        assert pool.upstream.at_once(2) == 0
        pool.submit("/errand", Priority.BACKFILL, 2)
        assert pool.upstream.at_once(2) == 0, "an errand leaves places free"

    on_loop(test, tmp_path, slots=4)


def test_what_is_taken_back_is_not_sent(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        first, gone, last = (pool.submit(f"/{name}") for name in ("first", "gone", "last"))
        assert [pool.upstream.cancel(job) for job in (gone, gone, first)] == [True, True, False]
        pool.wires.finish()
        pool.wires.finish()
        assert pool.wires.sent == ["/first", "/last"]
        assert not pool.upstream.cancel(last)
        assert pool.slots.in_flight() == 0

    on_loop(test, tmp_path)


def test_a_call_that_breaks_is_of_unknown_outcome_and_keeps_no_slot(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        pool.submit("/broken")
        ((_, result),) = pool.results
        assert (result.attempt.outcome, result.attempt.error) == (Outcome.UNKNOWN, "broken")
        assert pool.slots.in_flight() == 0

    on_loop(test, tmp_path)


def test_what_another_process_gives_back_is_noticed(tmp_path: Path) -> None:
    async def test(pool: Pool) -> None:
        other = Slots(tmp_path / "places", 1, longest=60)
        taken = other.take([2])
        assert taken is not None
        pool.submit("/waits")
        await asyncio.sleep(0.02)
        assert pool.wires.sent == []
        other.give(taken[0])
        async with asyncio.timeout(5):
            while not pool.wires.sent:
                await asyncio.sleep(0.001)
        other.close()

    on_loop(test, tmp_path)


@pytest.mark.parametrize("breaks", [False, True])
def test_threads_hear_what_became_of_their_calls_in_threads_of_their_own(tmp_path: Path, breaks: bool) -> None:
    wires = Wires()
    wires.at_once = True
    calls = BackgroundCalls(lambda: Upstream(Slots(tmp_path / "places", 2, longest=60), wires), 1, "test")

    def judge(result: Result) -> Result:
        if breaks:
            raise ValueError("no database")
        return result

    judged = calls.submit(Call("GET", "/errand", []), 1, Priority.REPLAY, judge)
    if breaks:
        with pytest.raises(ValueError, match="no database"):
            judged.result(10)
    else:
        assert judged.result(10).attempt.outcome is Outcome.SUCCESS
    calls.close()
