"""Room set aside for records of what is under way, so that a disk that fills up in between takes none of them.

Who must not do what it cannot record asks `held` before, and does nothing while there is no reserve.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Final

SIZE: Final = 16 << 20
"""Bytes: the records of what a worker has under way at once, bodies and all."""
AGAIN: Final = 0.5
"""Seconds between attempts to set room aside anew."""


def remove_left(data: Path) -> None:
    """Gives back what processes that were killed had set aside."""
    for path in data.glob("reserve-*"):
        if not Path(f"/proc/{path.name.removeprefix('reserve-')}").exists():
            path.unlink(missing_ok=True)


class Reserve:
    """A file of allocated blocks; one a process. Thread-safe."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path, self._size = path, size
        self._lock = threading.Lock()
        self._held = False
        self._tried = -AGAIN

    def held(self) -> bool:
        """Whether the room is there; tries to set it aside where it is not."""
        with self._lock:
            if not self._held and time.monotonic() - self._tried >= AGAIN:
                self._tried = time.monotonic()
                self._held = self._take()
            return self._held

    def spend(self, error: OSError) -> bool:
        """Gives the room back to the disk where it was full; whether that is worth another attempt."""
        with self._lock:
            if not self._held or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return False
            self._held = False
            self._tried = time.monotonic()
            self._path.unlink(missing_ok=True)
            return True

    def close(self) -> None:
        with self._lock:
            self._held = False
            self._path.unlink(missing_ok=True)

    def _take(self) -> bool:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True
