"""Who waits for each endpoint, in one worker, and how fast it answers: so that nobody is refused whose answer would
come in time, and nobody waits in a line that cannot be served in time.

A line is served by as many calls at once as are under way while others must wait, each for as long as they take of
late. Who comes to one too long is told at once when to come again. And an endpoint from which nothing has come back at
all for longer than its answers ever take is silent: nobody waits for it beyond the deadline, until something does come
back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

WEIGHT: Final = 0.2
"""Of the newest in what is remembered of how long calls take."""
FADES: Final = 0.99
"""What is left of the slowest answer after each further one: an endpoint that has become quick is not called slow."""
SLOWER: Final = 3.0
"""Times its slowest answer after which an endpoint that says nothing is silent."""


@dataclass(slots=True)
class _Line:
    """Those who wait for one endpoint. Times in seconds, of time.monotonic()."""

    waiting: int = 0
    last: float = 0.0
    """When a result last came, or the first of those who wait began to."""
    takes: float = 0.0
    """Seconds that a call takes; 0: unknown."""
    slowest: float = 0.0
    """Seconds that its answers take at the most; 0: none has come yet."""
    heard: float = -math.inf
    """When a result last came."""


class Pace:
    """Of all endpoints; on one loop. `deadline` and `longest`: the seconds after which nobody waits for an endpoint
    that is silent, or for any. `at_once`: of an endpoint, how many calls are under way while others must wait for a
    place; 0: none must, or nobody knows how many will be."""

    def __init__(self, deadline: float, longest: float, at_once: Callable[[str], int]) -> None:
        self._deadline, self._longest, self._at_once = deadline, longest, at_once
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def waiting(self, endpoint: str) -> Iterator[int | None]:
        """While a request waits for the endpoint. Gives None; or, to one too many, the seconds after which to come
        again."""
        line = self._lines.setdefault(endpoint, _Line())
        wait = line.waiting * line.takes
        if wait > self._longest:
            at_once = self._at_once(endpoint)
            wait = wait / at_once if at_once else 0.0
        line.waiting += 1
        if line.waiting == 1:
            line.last = time.monotonic()
        try:
            yield math.ceil(wait - self._longest) if wait > self._longest else None
        finally:
            line.waiting -= 1

    def answered(self, endpoint: str, took: float) -> None:
        """Something came back from the endpoint, so many seconds after it was asked."""
        now = time.monotonic()
        line = self._lines.setdefault(endpoint, _Line())
        line.takes = took if line.takes == 0 else line.takes + WEIGHT * (took - line.takes)
        line.last = line.heard = now
        line.slowest = max(took, line.slowest * FADES)

    def is_prompt(self, endpoint: str, since: float) -> bool:
        """Whether something has come back from the endpoint since then, and its calls take less than the deadline."""
        line = self._lines.get(endpoint)
        return line is not None and line.heard >= since and line.takes < self._deadline

    def is_silent(self, endpoint: str) -> bool:
        """Whether somebody waits for it, and nothing has come back for longer than its answers take."""
        line = self._lines.get(endpoint)
        if line is None or not line.waiting:
            return False
        limit = max(self._deadline, SLOWER * line.slowest) if line.slowest else self._longest
        return time.monotonic() - line.last > min(limit, self._longest)
