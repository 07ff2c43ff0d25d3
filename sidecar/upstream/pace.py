"""Who waits for each endpoint, in one worker, and how fast it answers: so that nobody is refused whose answer would
come in time, and nobody waits in a line that cannot be served in time.

Who comes to such a line is told at once when to come again. And an endpoint from which nothing has come back at all
for longer than its answers ever take is silent: nobody waits for it beyond the deadline, until something does come
back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

WEIGHT: Final = 0.2
"""Of the newest in what is remembered of the time between two results."""
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
    pace: float = 0.0
    """Seconds between two results while somebody waits; 0: unknown."""
    slowest: float = 0.0
    """Seconds that its answers take at the most; 0: none has come yet."""


class Pace:
    """Of all endpoints; on one loop. `deadline` and `longest`: the seconds after which nobody waits for an endpoint
    that is silent, or for any."""

    def __init__(self, deadline: float, longest: float) -> None:
        self._deadline, self._longest = deadline, longest
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def waiting(self, endpoint: str) -> Iterator[int | None]:
        """While a request waits for the endpoint. Gives None; or, to one too many, the seconds after which to come
        again."""
        line = self._lines.setdefault(endpoint, _Line())
        wait = line.waiting * line.pace
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
        if line.waiting:
            since = now - line.last
            line.pace = since if line.pace == 0 else line.pace + WEIGHT * (since - line.pace)
        line.last = now
        line.slowest = max(took, line.slowest * FADES)

    def is_silent(self, endpoint: str) -> bool:
        """Whether somebody waits for it, and nothing has come back for longer than its answers take."""
        line = self._lines.get(endpoint)
        if line is None or not line.waiting:
            return False
        limit = max(self._deadline, SLOWER * line.slowest) if line.slowest else self._longest
        return time.monotonic() - line.last > min(limit, self._longest)
