"""Requests that a worker's threads work on, from their arrival until they are recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

BRIEF: Final = 0.02
"""Seconds after which a request is no longer expected to end soon: it waits for the upstream."""


class Underway:
    """One per worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[int, float] = {}

    def begin(self) -> None:
        """This thread begins to work on a request."""
        self._since[threading.get_ident()] = self._clock()

    def end(self) -> None:
        """It has come to the point where the request is recorded."""
        self._since.pop(threading.get_ident(), None)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While this thread waits for something that takes long."""
        began = self._since.pop(threading.get_ident(), None)
        try:
            yield
        finally:
            if began is not None:
                self._since[threading.get_ident()] = began

    def coming(self) -> int:
        """How many are likely to be recorded soon."""
        since = self._clock() - BRIEF
        return sum(began > since for began in self._since.copy().values())
