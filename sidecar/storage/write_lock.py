"""The turns of those who write to an SQLite file.

SQLite has no queue: who finds the file locked looks again after 1, 2, 5, … 100 ms, and while many write some wait for
seconds, for others come and go between two looks. Here one thread of the node at a time waits for the file, and looks
often; the others wait in line, the threads of each process in the order in which they came, the processes in turn. Who
is killed in line leaves it. The lock that counts is SQLite's: who waits in vain may still try.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOOK: Final = 0.0003
"""Seconds between looks at the locked file: far less than a transaction takes."""
RESPITE: Final = 0.001
"""Seconds between a process's looks whether it is its turn, and after a turn in which only others may have the next."""


class Turns:
    """One per engine. `path`: a file of its own, made with the first turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._line = _Line()
        self._ended = 0.0

    @contextmanager
    def turn(self, until: float) -> Iterator[bool]:
        """Waits in line, and keeps others there; gives whether the turn has come by `until` (of time.monotonic()). It
        has not where the file cannot be had."""
        with self._line.turn(until) as first:
            mine = first and self._ours(until)
            try:
                yield mine
            finally:
                if mine:
                    self._ended = time.monotonic()
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    def _ours(self, until: float) -> bool:
        """Whether this process's turn has come."""
        if self._file < 0 and not self._open():
            return False
        respite = self._ended + RESPITE - time.monotonic()
        if respite > 0:
            time.sleep(respite)
        return attempt(self._take, until, RESPITE)

    def _open(self) -> bool:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # no space, no more files: SQLite will say so, if it matters
            return False
        weakref.finalize(self, os.close, self._file)
        return True

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class _Line:
    """The threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: deque[threading.Lock] = deque()
        """What each waits for, but the first, whose turn it is."""

    @contextmanager
    def turn(self, until: float) -> Iterator[bool]:
        mine = threading.Lock()
        with self._lock:
            if self._line:
                mine.acquire()
            self._line.append(mine)
        try:
            yield mine.acquire(timeout=max(0.0, until - time.monotonic()))
        finally:
            with self._lock:
                first = self._line[0] is mine
                self._line.remove(mine)
                if first and self._line:
                    self._line[0].release()


def attempt(what: Callable[[], bool], until: float, pause: float = LOOK) -> bool:
    """Tries until it succeeds, or time is up."""
    while not what():
        if time.monotonic() >= until:
            return False
        time.sleep(pause)
    return True
