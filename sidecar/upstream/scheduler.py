"""The way to the upstream: at most so many calls at once, the most urgent first. That is the bulkhead.

Every call holds one of the node's slots (`concurrency`), whoever makes it. Those that find none wait in lines, one for
each endpoint and priority, and cost nothing but memory. Every call that begins comes to its end, and its result is
always handed to `on_result`: an answer that comes too late for the user is still learned from.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from sidecar.clock import earliest
from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.upstream.concurrency import Slots
from sidecar.upstream.connection import Call, Connections, Done, Sent

log = logging.getLogger(__name__)
POLL: Final = 0.001
"""Seconds between looks at the node's slots while calls wait for what other processes hold."""


REST: Final = 0.02
"""Seconds after which slots that are kept between calls are given back."""


class Priority(IntEnum):
    """Who goes first: what only the upstream can answer, then other users' requests, then our own errands."""

    ONLY_UPSTREAM = 0
    USER = 1
    REPLAY = 2
    BACKFILL = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call. `began`: a stamp (sidecar.clock) before it."""

    attempt: Attempt
    response: Response | None
    began: int


@dataclass(slots=True, eq=False)
class Job:
    """A call waiting to be made. `endpoint` is the endpoint's number (from 1) in the contract's order."""

    call: Call
    endpoint: int
    priority: Priority
    on_result: Callable[[Result], None] | None
    """Hears of the result, once, on the loop. It must not raise. None: it has heard."""
    hedge: bool = False
    state: str = "queued"
    sequence: int = 0
    slot: int = -1
    began: int = 0
    """Its stamp, once anything was sent."""
    started: float = 0.0
    """The same moment, of time.monotonic()."""


class Wires(Protocol):
    """What makes the calls: `Connections`, or a test's."""

    def start(self, call: Call, done: Done) -> None:
        """Begins the call; `done` hears of its end. May raise before anything was sent."""

    def close(self) -> None:
        """Nothing more is sent."""


class _Lines:
    """Jobs that wait, in a line for each priority and endpoint: only the first of each can be next. Who leaves a line
    costs the same wherever they stand: of thousands, all may leave at once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Priority, int], OrderedDict[Job, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job) -> bool:
        """Whether it is the first of its line."""
        line = self._lines.setdefault((job.priority, job.endpoint), OrderedDict())
        line[job] = None
        self._count += 1
        return len(line) == 1

    def remove(self, job: Job) -> None:
        line = self._lines[job.priority, job.endpoint]
        del line[job]
        self._count -= 1
        if not line:
            del self._lines[job.priority, job.endpoint]

    def has_users(self, endpoint: int) -> bool:
        """Whether a user's job for the endpoint waits."""
        return any((priority, endpoint) in self._lines for priority in (Priority.ONLY_UPSTREAM, Priority.USER))

    def heads(self) -> list[Job]:
        """The first of each line, the most urgent and oldest first."""
        return sorted((next(iter(line)) for line in self._lines.values()), key=lambda job: (job.priority, job.sequence))


class Upstream:
    """The calls of one process, on one loop."""

    def __init__(self, slots: Slots, wires: Wires) -> None:
        self._slots = slots
        self._wires = wires
        self._lines = _Lines()
        self._under_way: set[Job] = set()
        self._sequence = 0
        self._looking: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._stopping = False

    def submit(self, job: Job) -> None:
        """Makes the call as soon as it is its turn: at once, where nobody waits and a slot is free."""
        self._sequence += 1
        job.sequence = self._sequence
        if job.priority <= Priority.USER:
            self._slots.note_users(len(self._under_way) + len(self._lines) + 1)
        if not self._lines and job.priority <= Priority.USER and not self._stopping:
            taken = self._slots.take([job.endpoint])
            if taken is not None:
                self._start(job, taken[0])
                return
        if self._lines.add(job):  # else it cannot be next before who stands before it
            self._hand_out()

    def cancel(self, job: Job) -> bool:
        """Takes a job back. True: nothing of it was or will be sent. False: it is under way or done."""
        if job.state != "queued":
            return job.state == "cancelled"
        self._lines.remove(job)
        job.state, job.on_result = "cancelled", None
        return True

    @property
    def waiting(self) -> int:
        """Jobs not yet started."""
        return len(self._lines)

    def at_once(self, endpoint: int) -> int:
        """How many of the endpoint's calls are under way while users' others wait for a place; 0: none waits."""
        if not self._lines.has_users(endpoint):
            return 0
        return sum(1 for job in self._under_way if job.endpoint == endpoint)

    async def close(self, timeout: float = 1.0) -> None:
        """Starts nothing more; waits for calls under way for so many seconds."""
        self._stopping = True
        until = time.monotonic() + timeout
        while self._under_way and time.monotonic() < until:
            await asyncio.sleep(0.005)
        for timer in (self._looking, self._resting):
            if timer is not None:
                timer.cancel()
        self._slots.give_resting()
        self._wires.close()

    def _start(self, job: Job, slot: int) -> None:
        job.state, job.slot = "started", slot
        job.began, job.started = earliest(), time.monotonic()
        self._under_way.add(job)
        try:
            self._wires.start(job.call, lambda sent: self._ended(job, sent))
        except Exception:
            log.exception("a call to the upstream broke", extra={"fields": {"event.action": "upstream_broke"}})
            self._ended(job, (Attempt(time.time_ns(), 0, Outcome.UNKNOWN, None, "broken"), None))

    def _ended(self, job: Job, sent: Sent) -> None:
        if job.state == "ended":
            return
        job.state = "ended"
        attempt, response = sent
        goes_on = False
        if response is None or response.passed_on is None:
            goes_on = self._give_slot(job)
        else:  # the upstream is at work on it, but not for ever: it may tell of events
            response.passed_on.when_over(lambda _: self._over(job))
            asyncio.get_running_loop().call_later(self._slots.longest, self._give_slot, job)
        attempt.hedge = job.hedge
        hear, job.on_result = job.on_result, None  # no cycle: a body goes with its last user
        if hear is not None:
            hear(Result(attempt, response, job.began))
        if self._lines and not goes_on:
            self._hand_out()

    def _over(self, job: Job) -> None:
        self._give_slot(job)

    def _give_slot(self, job: Job) -> bool:
        """To whoever waits for one; the first time. Whether somebody has it now."""
        if job not in self._under_way:
            return False
        self._under_way.discard(job)
        if self._pass_on(job.slot):
            return True
        self._slots.rest(job.slot)
        if self._resting is None and not self._stopping:
            self._resting = asyncio.get_running_loop().call_later(REST, self._give_resting)
        return False

    def _pass_on(self, slot: int) -> bool:
        """Starts the most urgent user's job in a slot that has just become free, if there is one that may have it."""
        if not self._lines or self._stopping:
            return False
        jobs = [job for job in self._lines.heads() if job.priority <= Priority.USER]
        index = self._slots.pass_on(slot, [job.endpoint for job in jobs]) if jobs else None
        if index is None:
            return False
        self._lines.remove(jobs[index])
        self._start(jobs[index], slot)
        return True

    def _hand_out(self) -> None:
        """Gives free slots to the most urgent jobs; looks again soon where some wait on: others hold slots."""
        while self._lines and not self._stopping and self._give_one():
            pass
        if self._lines and self._looking is None and not self._stopping:
            self._looking = asyncio.get_running_loop().call_later(POLL, self._look)

    def _give_resting(self) -> None:
        self._resting = None
        self._slots.give_resting()

    def _look(self) -> None:
        self._looking = None
        self._hand_out()

    def _give_one(self) -> bool:
        for group, reserve in self._turns(self._lines.heads()):
            taken = self._slots.take([job.endpoint for job in group], reserve) if group else None
            if taken is not None:
                job = group[taken[1]]
                self._lines.remove(job)
                self._start(job, taken[0])
                return True
        return False

    def _turns(self, jobs: list[Job]) -> Iterator[tuple[list[Job], int]]:
        """Who may have the next place, and how many must stay free after it: users, then others. A few of replay's
        take any place that no user wants: where users leave no more, what they wrote still comes to the upstream."""
        yield [job for job in jobs if job.priority <= Priority.USER], 0
        replaying = sum(1 for job in self._under_way if job.priority is Priority.REPLAY)
        if replaying < self._slots.few:
            yield [job for job in jobs if job.priority is Priority.REPLAY], 0
        yield [job for job in jobs if job.priority > Priority.USER], self._slots.reserve()


class FromThreads:
    """The same for whoever works in threads: results are heard in threads of its own, where they may wait."""

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop, threads: int, name: str) -> None:
        self._upstream = upstream
        self._loop = loop
        self._heard = ThreadPoolExecutor(threads, name)

    def submit(
        self, call: Call, endpoint: int, priority: Priority, judge: Callable[[Result], Result]
    ) -> Future[Result]:
        """Queues a call. What `judge`, called in a thread, makes of its result is the future's."""
        judged: Future[Result] = Future()

        def hear(result: Result) -> None:
            try:
                judged.set_result(judge(result))
            except Exception as error:
                judged.set_exception(error)

        job = Job(call, endpoint, priority, lambda result: self._hear(hear, result))
        self._loop.call_soon_threadsafe(self._upstream.submit, job)
        return judged

    def _hear(self, hear: Callable[[Result], None], result: Result) -> None:
        try:
            self._heard.submit(hear, result)
        except RuntimeError:
            log.warning("a call ended after its process: %s", result.attempt.outcome)

    def close(self) -> None:
        """Waits for what is being heard."""
        self._heard.shutdown()


class BackgroundCalls(FromThreads):
    """A process's own way to the upstream, where there is no loop: on one in a thread."""

    def __init__(self, new_upstream: Callable[[], Upstream], threads: int, name: str) -> None:
        super().__init__(new_upstream(), asyncio.new_event_loop(), threads, name)
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"{name}-calls", daemon=True)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._upstream.close(), self._loop).result(5)
        super().close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class RetryBudget:
    """Tokens for repeated calls: each user request adds `share` of one, so that extra load stays within that share."""

    BURST: Final = 10.0

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = self.BURST if share else 0.0

    def earn(self) -> None:
        self._tokens = min(self.BURST, self._tokens + self._share)

    def spend(self) -> bool:
        """Takes one token; False when there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def open_slots(settings: Settings) -> Slots:
    """The node's, which all its processes share."""
    longest = settings.upstream_timeout + settings.connect_timeout
    return Slots(settings.data / "places", settings.upstream_concurrency, longest)


def new_upstream(settings: Settings, wires: Wires | None = None) -> Upstream:
    """One that shares the node's slots with every other. `wires` is the seam for tests: no socket then."""
    return Upstream(open_slots(settings), wires or Connections(
        settings.require_upstream(),
        connect_timeout=settings.connect_timeout,
        timeout=settings.upstream_timeout,
        max_answer=settings.max_answer,
        host=settings.upstream_host_field,
    ))  # fmt: skip
