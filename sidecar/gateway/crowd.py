"""How many request threads wait for each endpoint, so that one that hangs cannot hold them all."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STALLED: Final = 0.1
"""Seconds without any result after which a crowded endpoint counts as hung."""
PATIENCE: Final = STALLED / 2
"""Seconds for which one too many waits for a sign of life of an endpoint that hangs."""


class Crowd:
    """Counts, in one worker. `room` is the number of threads that one endpoint may hold while it makes no progress."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._waiting: dict[str, int] = defaultdict(int)
        self._progress: dict[str, float] = {}
        self._signs: dict[str, threading.Event] = {}
        """Set by the next result, for those who wait for one."""

    @contextmanager
    def waiting(self, endpoint: str) -> Iterator[bool]:
        """While a thread waits for the endpoint; gives whether it is one too many should the endpoint hang."""
        with self._lock:
            self._waiting[endpoint] += 1
            crowded = self._waiting[endpoint] > self._room
            if self._waiting[endpoint] == 1:
                self._progress[endpoint] = time.monotonic()
        try:
            yield crowded
        finally:
            with self._lock:
                self._waiting[endpoint] -= 1

    def progressed(self, endpoint: str) -> None:
        """The upstream gave some result for the endpoint."""
        self._progress[endpoint] = time.monotonic()
        sign = self._signs.pop(endpoint, None)
        if sign is not None:
            sign.set()

    def moves(self, endpoint: str) -> bool:
        """Whether results come; waits for one, for PATIENCE at most, where none has come for a while."""
        return not self.stalled(endpoint) or self._signs.setdefault(endpoint, threading.Event()).wait(PATIENCE)

    def stalled(self, endpoint: str) -> bool:
        """Whether nothing has come back for a while."""
        return time.monotonic() - self._progress.get(endpoint, 0.0) > STALLED
