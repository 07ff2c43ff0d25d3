"""Who waits for each endpoint, in one worker, and how long that takes: so that one that hangs holds no thread that
others need, and nobody is refused whose answer would come in time.

An endpoint may hold at most twice the threads that it leaves free (as with places at the upstream,
upstream/concurrency.py). Who comes to a line that cannot be served in time is told at once when to come again. And an
endpoint from which nothing has come back at all for longer than its answers ever take is silent: nobody waits for it
beyond the deadline, until something does come back.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sidecar.upstream.concurrency import ALPHA

WEIGHT: Final = 0.2
"""Of the newest in what is remembered of the time between two results."""
FADES: Final = 0.99
"""What is left of the slowest answer after each further one: an endpoint that has become quick is not called slow."""
SLOWER: Final = 3.0
"""Times its slowest answer after which an endpoint that says nothing is silent."""


@dataclass
class _Line:
    """Those who wait for one endpoint. Times in seconds, of time.monotonic()."""

    waiting: int = 0
    last: float = 0.0
    """When a result last came, or the first of those who wait began to."""
    pace: float = 0.0
    """Seconds between two results while somebody waits; 0: unknown."""
    slowest: float = 0.0
    """Seconds that its answers take at the most; 0: none has come yet."""


class Crowd:
    """Counts, in one worker of so many `threads`. `deadline` and `longest`: the seconds after which nobody waits for an
    endpoint that is silent, or for any."""

    def __init__(self, threads: int, deadline: float, longest: float) -> None:
        self._threads = threads
        self._deadline, self._longest = deadline, longest
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._waiting = 0

    @contextmanager
    def waiting(self, endpoint: str) -> Iterator[int | None]:
        """While a thread waits for the endpoint. Gives None; or, to one too many, the seconds after which to come
        again."""
        with self._lock:
            line = self._lines.setdefault(endpoint, _Line())
            again = self._again(line)
            line.waiting += 1
            self._waiting += 1
            if line.waiting == 1:
                line.last = time.monotonic()
        try:
            yield again
        finally:
            with self._lock:
                line.waiting -= 1
                self._waiting -= 1

    def _again(self, line: _Line) -> int | None:
        wait = line.waiting * line.pace
        if wait > self._longest:
            return math.ceil(wait - self._longest)
        if line.waiting >= max(1, ALPHA * (self._threads - self._waiting)):
            return math.ceil(max(1.0, min(wait, self._longest)))
        return None

    def answered(self, endpoint: str, took: float) -> None:
        """Something came back from the endpoint, so many seconds after it was asked."""
        now = time.monotonic()
        with self._lock:
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
