"""One request's calls to the upstream: the first, retries after failures, and one hedge while it is slow.

Repeats are made only of what may be repeated, within the retry budget, and never more than MAX_ATTEMPTS in all. Writes
are sent once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Final

from sidecar.exchange import Attempt, Outcome
from sidecar.upstream.scheduler import Job, Result, RetryBudget, Upstream

MAX_ATTEMPTS: Final = 4
LOOK: Final = 0.25
"""Seconds between looks at whether anything comes back at all."""
LATE: Final = "late"
"""The error of an attempt that nobody waited for any longer."""
BACKOFF: Final = 0.05
"""Seconds before the first retry, at the most; doubled each time, with full jitter."""


class Inquiry:
    """Asks, and waits for a good result. Used by one request thread."""

    def __init__(
        self, pool: Upstream, new_job: Callable[[SimpleQueue[Result | None], bool], Job], budget: RetryBudget,
        *, repeatable: bool, hedge_after: float,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._new_job = new_job
        self._budget = budget
        self._repeatable = repeatable
        self._inbox: SimpleQueue[Result | None] = SimpleQueue()
        self._jobs: list[Job] = []
        self._mine: Job | None = None
        """The call that this thread makes itself, when its turn has come."""
        self._turn = False
        self._pending = 0
        self._hedge_at = time.monotonic() + hedge_after if repeatable else None
        self._ended: list[Attempt] = []
        self._sent: list[tuple[int, bool]] = []
        """When each was submitted (ns), and whether it is a hedge."""
        self.last: Result | None = None
        self.late = False
        """Set when the user no longer waits: results now count for learning only."""
        self._submit(hedge=False)

    @property
    def attempts(self) -> list[Attempt]:
        """Those that ended; once given up also those under way, which came too late: nobody knows their end."""
        return [*self._ended, *(self._unended() if self.late else ())]

    def _unended(self) -> Iterator[Attempt]:
        if len(self._ended) == len(self._sent):
            return
        now = time.time_ns()
        for hedge in (False, True):
            mine = [n for n, (_, hedged) in enumerate(self._sent) if hedged is hedge]
            ended = sum(attempt.hedge is hedge for attempt in self._ended)
            for n in mine[ended:]:
                if self._jobs[n].state == "started":
                    yield Attempt(self._sent[n][0], now - self._sent[n][0], Outcome.UNKNOWN, None, LATE, hedge)

    def wait(
        self, until: float, silent: Callable[[], bool] | None = None, look: float | None = None
    ) -> Result | None:  # fmt: skip
        """A good result; else, when everything tried has failed, the last; None: still under way at `until`, or `look`.

        Both are of time.monotonic(). With `silent`, waits no longer once that says so.
        """
        pause = until if look is None else min(look, until)
        while True:
            now = time.monotonic()
            if not self._pending and not self._retry(until):
                return self.last
            limit = min(pause, self._hedge_at or pause, now + LOOK if silent else pause)
            result = self._result(limit)
            if result is None:
                now = time.monotonic()
                if now >= pause or (silent is not None and silent()):
                    return None
                self._hedge(now)
                continue
            self._pending -= 1
            self._ended.append(result.attempt)
            self.last = result
            if result.attempt.outcome is Outcome.SUCCESS:
                return result

    def _result(self, until: float) -> Result | None:
        """The next call's result, or None when there is none by `until`: the pool goes on with what was ours."""
        if not self._turn:
            try:
                result = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return None
            if result is not None:
                return result
        assert self._mine is not None
        self._turn = False
        return self._pool.go_on(self._mine, until)

    def give_up(self) -> bool:
        """Stops asking: what has not started is taken back. True: no byte of it was or will be sent."""
        self.late = True
        taken_back = [self._pool.cancel(job) for job in self._jobs]
        return all(taken_back)

    def _submit(self, *, hedge: bool) -> None:
        job = self._new_job(self._inbox, hedge)
        self._jobs.append(job)
        self._sent.append((time.time_ns(), hedge))
        self._pending += 1
        if hedge:
            self._pool.submit(job)
        else:
            self._mine, self._turn = job, self._pool.begin(job)

    def _retry(self, until: float) -> bool:
        """Sends again after a failure, when that is allowed and there is time; False: it is not."""
        tried = len(self._jobs)
        if not self._repeatable or tried >= MAX_ATTEMPTS:
            return False
        pause = random.uniform(0, BACKOFF * 2 ** (tried - 1))
        if time.monotonic() + pause >= until or not self._budget.spend():
            return False
        time.sleep(pause)
        self._submit(hedge=False)
        return True

    def _hedge(self, now: float) -> None:
        if self._hedge_at is None or now < self._hedge_at:
            return
        self._hedge_at = None
        if len(self._jobs) < MAX_ATTEMPTS and self._budget.spend():
            self._submit(hedge=True)
