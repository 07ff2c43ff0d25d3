"""The node's places at the upstream, shared by all processes: never more calls in flight than the setting says.

A table in a shared file, one row a place: the process that holds it and the endpoint it is for. Taking a place is done
under a file lock, which the kernel releases when its holder dies; the places of a dead process are freed when they are
next looked at. An endpoint may hold at most twice what it leaves free (dynamic thresholds, Choudhury and Hahne 1998):
however many of its calls hang, other endpoints find places.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ALPHA: Final = 2
_ROW: Final = 8
_FREE: Final = b"\0" * _ROW


class Slots:
    """`limit` places. `path` is made on first use and is worth nothing after the last process has ended."""

    def __init__(self, path: Path, limit: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.limit = limit
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, limit * _ROW)
        self._table = mmap.mmap(self._file, limit * _ROW)
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def take(self, wanted: Sequence[int], reserve: int = 0) -> tuple[int, int] | None:
        """A place for the first of the endpoints (numbers from 1) in `wanted` that may have one → (place, index).

        `reserve` places stay free: what is not urgent leaves room for users.
        """
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                return self._take(wanted, reserve)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def give(self, place: int) -> None:
        """Frees a place taken by this process."""
        self._table[place * _ROW : (place + 1) * _ROW] = _FREE

    def in_flight(self) -> int:
        """Places taken now, by any process."""
        return sum(1 for held in self._held() if held is not None)

    def close(self) -> None:
        self._table.close()
        os.close(self._file)

    def _take(self, wanted: Sequence[int], reserve: int) -> tuple[int, int] | None:
        held = self._held()
        free = [place for place, endpoint in enumerate(held) if endpoint is None]
        if len(free) <= reserve:
            return None
        for index, endpoint in enumerate(wanted):
            if held.count(endpoint) < ALPHA * len(free):
                row = self._pid.to_bytes(4, "little") + endpoint.to_bytes(4, "little")
                self._table[free[0] * _ROW : (free[0] + 1) * _ROW] = row
                return free[0], index
        return None

    def _held(self) -> list[int | None]:
        """The endpoint that each place is for, or None where it is free."""
        rows: list[int | None] = []
        for place in range(self.limit):
            row = self._table[place * _ROW : (place + 1) * _ROW]
            if row == _FREE:
                rows.append(None)
                continue
            pid = int.from_bytes(row[:4], "little")
            if pid != self._pid and not _alive(pid):
                self.give(place)
                rows.append(None)
            else:
                rows.append(int.from_bytes(row[4:], "little"))
        return rows


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
