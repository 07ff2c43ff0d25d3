"""The way to the upstream: a few threads of their own, fed by a priority queue. That pool is the bulkhead.

A request thread submits a job and waits on its inbox for as long as it likes; the call itself goes on and its result is
always handed to `on_result` first, in the pool's thread, so that an answer that comes too late for the user is still
learned from. Every call holds one of the node's places (`slots`), whoever makes it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from queue import SimpleQueue
from typing import Final

from sidecar.clock import stamp
from sidecar.gateway.exchange import Attempt, Outcome, Response
from sidecar.gateway.slots import Slots
from sidecar.gateway.wire import Call, Wire

log = logging.getLogger(__name__)
POLL: Final = 0.0005
"""Seconds between looks at the node's places while other processes hold them all; one thread of the pool looks."""


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
    inbox: SimpleQueue[Result]
    hedge: bool = False
    state: str = "queued"
    sequence: int = field(default=0)


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
    """The pool of one process."""

    def __init__(self, slots: Slots, new_wire: Callable[[], Wire], threads: int, name: str = "upstream") -> None:
        self._slots = slots
        self._new_wire = new_wire
        self._jobs = _Jobs()
        self._changed = threading.Condition()
        self._sequence = 0
        self._idle = 0
        self._looking = False
        self._stopping = False
        self._limit = threads
        self._name = name
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Queues a job; its result arrives in its inbox unless it is cancelled first."""
        with self._changed:
            self._sequence += 1
            job.sequence = self._sequence
            self._jobs.add(job)
            if not self._idle and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def cancel(self, job: Job) -> bool:
        """Takes a job back. True: nothing of it was or will be sent. False: it is under way or done."""
        with self._changed:
            if job.state != "queued":
                return False
            job.state = "cancelled"
            self._jobs.remove(job)
            return True

    @property
    def waiting(self) -> int:
        """Jobs not yet started."""
        return len(self._jobs)

    def close(self, timeout: float = 1.0) -> None:
        """Starts nothing more; waits for calls under way for `timeout` seconds each at the most."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def _next(self) -> tuple[Job, int] | None:
        """The next job that may start, with its place; None when the pool ends."""
        with self._changed:
            while not self._stopping:
                taken = self._take()
                if taken is not None:
                    if self._jobs and self._idle:
                        self._changed.notify()
                    return taken
                look = bool(self._jobs) and not self._looking
                self._looking |= look
                self._idle += 1
                self._changed.wait(POLL if look else None)
                self._idle -= 1
                if look:
                    self._looking = False
            return None

    def _take(self) -> tuple[Job, int] | None:
        if not self._jobs:
            return None
        jobs = self._jobs.heads()
        for users in (True, False):
            group = [job for job in jobs if (job.priority <= Priority.USER) is users]
            taken = self._slots.take([job.endpoint for job in group], 0 if users else self._slots.limit // 2)
            if taken is not None:
                place, index = taken
                job = group[index]
                job.state = "started"
                self._jobs.remove(job)
                return job, place
        return None

    def _work(self) -> None:
        wire = self._new_wire()
        while (taken := self._next()) is not None:
            self._make(wire, *taken)
            taken = None  # an idle thread holds no bodies
            with self._changed:
                if self._jobs:
                    self._changed.notify()
        wire.close()

    def _make(self, wire: Wire, job: Job, place: int) -> None:
        began = stamp()
        try:
            attempt, response = wire.send(job.call)
        except Exception:
            log.exception("a call to the upstream broke", extra={"fields": {"event.action": "upstream_broke"}})
            attempt, response = Attempt(began, stamp() - began, Outcome.UNKNOWN, None, "broken"), None
        finally:
            self._slots.give(place)
        attempt.hedge = job.hedge
        job.inbox.put(job.on_result(Result(attempt, response, began, stamp())))


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
