"""Lines of those who write to the same record: first come, first served, within one process.

Between processes the database decides; the first of each process's line asks it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class RecordLines:
    """One per worker. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[Hashable, deque[threading.Event]] = {}

    @contextmanager
    def first(self, key: Hashable, until: float) -> Iterator[bool]:
        """Inside, this thread is the first of the record's line; False: it was not by `until` (of time.monotonic())."""
        mine = threading.Event()
        with self._lock:
            line = self._lines.setdefault(key, deque())
            line.append(mine)
            alone = line[0] is mine
        try:
            yield alone or mine.wait(max(0.0, until - time.monotonic()))
        finally:
            with self._lock:
                was_first = line[0] is mine
                line.remove(mine)
                if was_first and line:
                    line[0].set()
                if not line:
                    del self._lines[key]
