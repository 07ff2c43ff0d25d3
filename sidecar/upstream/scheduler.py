"""The way to the upstream: at most so many calls at once, the most urgent first. That is the bulkhead.

Every call holds one of the node's places (`slots`), whoever makes it. A request thread makes its call itself (`begin`,
`go_on`), at once or when its turn comes, for as long as it cares to wait; a few threads of the pool go on with what was
left, and make the calls that nobody waits for. So every call comes to its end, and its result is always handed to
`on_result` first: an answer that comes too late for the user is still learned from.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import Final

from sidecar.clock import earliest, stamp
from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.upstream.concurrency import Slots
from sidecar.upstream.connection import Call, Wire

log = logging.getLogger(__name__)
POLL: Final = 0.001
"""Seconds between looks at the node's places while jobs wait for what other processes hold; one thread looks."""


class Priority(IntEnum):
    """Who goes first: what only the upstream can answer, then other users' requests, then our own errands."""

    ONLY_UPSTREAM = 0
    USER = 1
    REPLAY = 2
    BACKFILL = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call. `began` and `ended` are stamps (sidecar.clock) around it."""

    attempt: Attempt
    response: Response | None
    began: int
    ended: int


@dataclass(slots=True)
class Job:
    """A call waiting to be made. `endpoint` is the endpoint's number (from 1) in the contract's order."""

    call: Call
    endpoint: int
    priority: Priority
    on_result: Callable[[Result], Result]
    """Judges and learns; what it returns is put into the inbox. It must not raise."""
    inbox: SimpleQueue[Result | None]
    """Gets the result; None before it: it is the owner's turn to `go_on`."""
    hedge: bool = False
    owned: bool = False
    """A thread waits to make the call itself."""
    state: str = "queued"
    sequence: int = 0
    place: int = -1
    wire: Wire | None = None
    began: int = 0
    """Its stamp, once anything was sent."""


class _Jobs:
    """Jobs that wait, in a line for each priority and endpoint: only the first of each can be next."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Priority, int], deque[Job]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job) -> None:
        self._lines.setdefault((job.priority, job.endpoint), deque()).append(job)
        self._count += 1

    def remove(self, job: Job) -> None:
        line = self._lines[job.priority, job.endpoint]
        line.remove(job)
        self._count -= 1
        if not line:
            del self._lines[job.priority, job.endpoint]

    def heads(self) -> list[Job]:
        """The first of each line, the most urgent and oldest first."""
        return sorted((line[0] for line in self._lines.values()), key=lambda job: (job.priority, job.sequence))


class Upstream:
    """The calls of one process."""

    def __init__(self, slots: Slots, new_wire: Callable[[], Wire], threads: int, name: str = "upstream") -> None:
        self._slots = slots
        self._new_wire = new_wire
        self._wires: list[Wire] = []
        """At rest; the one used last, whose connection is the freshest, is taken first."""
        self._jobs = _Jobs()
        self._left: deque[Job] = deque()
        """With a place and without a thread: left by theirs, or submitted."""
        self._lock = threading.Lock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        """Rung once for each idle thread that is to look again."""
        self._sequence = 0
        self._idle = 0
        self._looking = False
        self._stopping = False
        self._limit = threads
        self._name = name
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Queues a job for the pool; its result arrives in its inbox unless it is cancelled first."""
        with self._lock:
            self._queue(job)

    def begin(self, job: Job) -> bool:
        """Gives a user's job a place, if nobody waits and one is free: the caller must `go_on` with it at once.

        False: it is in the queue; None in its inbox says that its turn has come.
        """
        taken = self._slots.take([job.endpoint]) if not self._jobs else None
        if taken is None:
            job.owned = True
            self.submit(job)
            return False
        job.state, job.place = "started", taken[0]
        return True

    def go_on(self, job: Job, until: float) -> Result | None:
        """Works on a job that has a place. None: it is under way at `until`; its result will arrive in its inbox."""
        result = self._work_on(job, until)
        with self._lock:
            if result is None:
                self._left.append(job)
                self._call_thread()
            self._hand_out()
        return result

    def cancel(self, job: Job) -> bool:
        """Takes a job back. True: nothing of it was or will be sent. False: it is under way or done."""
        with self._lock:
            if job.state == "queued":
                self._jobs.remove(job)
            elif job.state == "started" and job.owned and job.wire is None:  # its turn had come, and was not taken
                self._slots.give(job.place)
                self._hand_out()
            else:
                return False
            job.state = "cancelled"
            return True

    @property
    def waiting(self) -> int:
        """Jobs not yet started."""
        return len(self._jobs)

    def close(self, timeout: float = 1.0) -> None:
        """Starts nothing more; waits for calls under way for `timeout` seconds each at the most."""
        with self._lock:
            self._stopping = True
            for _ in range(self._idle):
                self._bell.put(None)
            self._idle = 0
        for thread in self._threads:
            thread.join(timeout)
        while self._wires:
            self._wires.pop().close()

    def _work_on(self, job: Job, until: float | None = None) -> Result | None:
        """Until the job's end, where its place is given back and its result judged; None: it is not at its end."""
        job.began = job.began or earliest()
        try:
            if job.wire is None:
                job.wire = self._wire()
                job.wire.begin(job.call)
            sent = job.wire.go_on(until)
        except Exception:
            log.exception("a call to the upstream broke", extra={"fields": {"event.action": "upstream_broke"}})
            sent = Attempt(job.began, stamp() - job.began, Outcome.UNKNOWN, None, "broken"), None
        else:
            if sent is None:
                return None
            self._wires.append(job.wire)
        self._slots.give(job.place)
        attempt, response = sent
        attempt.hedge = job.hedge
        return job.on_result(Result(attempt, response, job.began, stamp()))

    def _wire(self) -> Wire:
        try:
            return self._wires.pop()
        except IndexError:
            return self._new_wire()

    # With the lock held.

    def _queue(self, job: Job) -> None:
        self._sequence += 1
        job.sequence = self._sequence
        self._jobs.add(job)
        self._hand_out()
        if self._jobs and not self._looking:
            self._call_thread()

    def _hand_out(self) -> None:
        """Gives free places to the most urgent jobs."""
        while self._jobs and (job := self._take()) is not None:
            if job.owned:
                job.inbox.put(None)
            else:
                self._left.append(job)
                self._call_thread()

    def _take(self) -> Job | None:
        jobs = self._jobs.heads()
        for users in (True, False):
            group = [job for job in jobs if (job.priority <= Priority.USER) is users]
            reserve = 0 if users else self._slots.limit // 2
            taken = self._slots.take([job.endpoint for job in group], reserve) if group else None
            if taken is not None:
                job = group[taken[1]]
                job.state, job.place = "started", taken[0]
                self._jobs.remove(job)
                return job
        return None

    def _call_thread(self) -> None:
        """Has a thread look for work, if one is idle or may yet be started."""
        if self._idle:
            self._idle -= 1
            self._bell.put(None)
        elif len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    # The pool's threads.

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result = self._work_on(job)
            assert result is not None
            job.inbox.put(result)
            del job, result  # an idle thread holds no bodies

    def _next(self) -> Job | None:
        """A job that has a place and no thread. None when the pool ends."""
        while True:
            with self._lock:
                if not self._stopping:
                    self._hand_out()
                if self._left:
                    return self._left.popleft()
                if self._stopping:
                    return None
                look = bool(self._jobs) and not self._looking
                self._looking |= look
                self._idle += 1
            self._rest(POLL if look else None)
            if look:
                self._looking = False

    def _rest(self, seconds: float | None) -> None:
        """Until the bell rings, or time is up."""
        try:
            self._bell.get(timeout=seconds)
        except Empty:
            with self._lock:
                try:
                    self._bell.get_nowait()
                except Empty:
                    self._idle -= 1


class RetryBudget:
    """Tokens for repeated calls: each user request adds `share` of one, so that extra load stays within that share."""

    BURST: Final = 10.0

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = self.BURST if share else 0.0
        self._lock = threading.Lock()

    def earn(self) -> None:
        with self._lock:
            self._tokens = min(self.BURST, self._tokens + self._share)

    def spend(self) -> bool:
        """Takes one token; False when there is none."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def new_upstream(settings: Settings, threads: int, name: str, new_wire: Callable[[], Wire] | None = None) -> Upstream:
    """A pool that shares the node's places with every other one. `new_wire` is the seam for tests: no socket then."""

    def wire() -> Wire:
        return Wire(
            settings.require_upstream(),
            connect_timeout=settings.connect_timeout,
            timeout=settings.upstream_timeout,
            max_answer=settings.max_answer,
            host=settings.upstream_host_field,
        )

    longest = settings.upstream_timeout + settings.connect_timeout
    return Upstream(
        Slots(settings.data / "places", settings.upstream_concurrency, longest), new_wire or wire, threads, name
    )
