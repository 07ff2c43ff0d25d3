"""One request's calls to the upstream: the first, retries after failures, and one hedge while it is slow.

Repeats are made only of what may be repeated, within the retry budget, and never more than MAX_ATTEMPTS in all. Writes
are sent once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final

from sidecar.exchange import Attempt, Outcome
from sidecar.upstream.connection import Call
from sidecar.upstream.scheduler import Job, Priority, Result, RetryBudget, Upstream

MAX_ATTEMPTS: Final = 4
LOOK: Final = 0.25
"""Seconds between looks at whether anything comes back at all."""
LATE: Final = "late"
"""The error of an attempt that nobody waited for any longer."""
BACKOFF: Final = 0.05
"""Seconds before the first retry, at the most; doubled each time, with full jitter."""
Judge = Callable[[Result, bool], Awaitable[None] | None]
"""Says what a result is worth, in its attempt, and learns from it; whether it came too late. What it does beside the
loop is waited for before anybody sees the result. It does not raise."""


class UpstreamCall:
    """Asks, and waits for a good result. Used by one request."""

    def __init__(
        self, upstream: Upstream, call: Call, endpoint: int, priority: Priority, judge: Judge, budget: RetryBudget,
        *, hedge_after: float, left: bool = False,
    ) -> None:  # fmt: skip
        """`left`: nobody waits for it, so that nothing is asked."""
        self._upstream = upstream
        self._new_job = partial(Job, call, endpoint, priority)
        self._judge = judge
        self._budget = budget
        self._repeatable = call.repeatable
        self._patience = call.patience
        self._results: deque[Result] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._jobs: list[Job] = []
        self._judging = set[asyncio.Task[None]]()
        self._pending = 0
        self._hedge_at = time.monotonic() + hedge_after if call.repeatable else None
        self._ended: list[Attempt] = []
        self._sent: list[tuple[int, bool]] = []
        """When each was submitted (ns), and whether it is a hedge."""
        self._over = False
        """Nobody takes a result any more: one was good, or nobody waits for one."""
        self.last: Result | None = None
        self.late = False
        """Set when its time is over, though its user may wait on: results count for learning alone."""
        self._left = left
        if not left:
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
                if self._jobs[n].state in ("started", "ended"):
                    yield Attempt(self._sent[n][0], now - self._sent[n][0], Outcome.UNKNOWN, None, LATE, hedge)

    async def result(
        self, until: float, silent: Callable[[], bool] | None = None, look: float | None = None
    ) -> Result | None:  # fmt: skip
        """A good result; else, when everything tried has failed, the last; None: still under way at `until`, or `look`.

        Both are of time.monotonic(). With `silent`, waits no longer, and tries nothing more, once that says so.
        """
        pause = until if look is None else min(look, until)
        while True:
            if not self._pending:
                over = self._left or (silent is not None and silent())
                if over or not await self._retry(until):
                    return self.last
            limit = min(pause, self._hedge_at or pause, time.monotonic() + LOOK if silent else pause)
            result = await self._next(limit)
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
                self._over = True
                return result

    def hurry(self) -> None:
        """The user has waited long enough for a whole answer: what comes may be passed on as it comes."""
        if self._patience is not None:
            self._patience.over = True

    async def _next(self, until: float) -> Result | None:
        """The next call's result, or None when there is none by `until`."""
        left = until - time.monotonic()
        if not self._results and left > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(left, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self._results.popleft() if self._results else None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hear(self, result: Result) -> None:
        judged = self._judge(result, self.late)
        if judged is None:
            self._take(result)
        else:
            judging = asyncio.ensure_future(self._when_judged(judged, result))
            self._judging.add(judging)
            judging.add_done_callback(self._judging.discard)

    async def _when_judged(self, judged: Awaitable[None], result: Result) -> None:
        try:
            await judged
        finally:
            self._take(result)

    def _take(self, result: Result) -> None:
        self._results.append(result)
        if self._over:
            self._let_go()
        self._wake()

    @property
    def in_line(self) -> bool:
        """Whether nothing of it is under way: it waits for a place, or to be tried again."""
        return self._pending == sum(job.state == "queued" for job in self._jobs)

    def under_way(self) -> float:
        """Seconds since the oldest of what is under way was sent; 0: nothing is."""
        started = [job.started for job in self._jobs if job.state == "started"]
        return time.monotonic() - min(started) if started else 0.0

    @property
    def taken_back(self) -> bool:
        """Whether who asked has left in time: nothing of it was or will be sent."""
        return self._left and all(job.state == "cancelled" for job in self._jobs)

    def leave(self) -> None:
        """Who asked has left: what has not started is taken back, what is under way goes on, nothing else is tried."""
        self._left, self._hedge_at = True, None
        for job in self._jobs:
            if job.state == "queued" and self._upstream.cancel(job):
                self._pending -= 1
        self._wake()

    def give_up(self) -> bool:
        """Stops asking: what has not started is taken back. True: no byte of it was or will be sent."""
        self.late = self._over = True
        self._let_go()
        taken_back = [self._upstream.cancel(job) for job in self._jobs]
        return all(taken_back)

    def _let_go(self) -> None:
        """Of what would be passed on to nobody."""
        for result in self._results:
            if result.response is not None and result.response.passed_on is not None:
                result.response.passed_on.close()

    def _submit(self, *, hedge: bool) -> None:
        job = self._new_job(self._hear, hedge)
        self._jobs.append(job)
        self._sent.append((time.time_ns(), hedge))
        self._pending += 1
        self._upstream.submit(job)

    async def _retry(self, until: float) -> bool:
        """Sends again after a failure, when that is allowed and there is time; False: it is not."""
        tried = len(self._jobs)
        if not self._repeatable or tried >= MAX_ATTEMPTS:
            return False
        pause = random.uniform(0, BACKOFF * 2 ** (tried - 1))
        if time.monotonic() + pause >= until or not self._budget.spend():
            return False
        await asyncio.sleep(pause)
        if self._left:
            return False
        self._submit(hedge=False)
        return True

    def _hedge(self, now: float) -> None:
        if self._hedge_at is None or now < self._hedge_at:
            return
        self._hedge_at = None
        if len(self._jobs) < MAX_ATTEMPTS and self._budget.spend():
            self._submit(hedge=True)
