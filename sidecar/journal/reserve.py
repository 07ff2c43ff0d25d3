"""Room set aside for records of what is under way, so that a disk that fills up in between takes none of them.

Who must not do what it cannot record looks whether it is `held` before, and does nothing while there is no reserve. To
set it aside may take the disk a while: the journal's writer does that, and nobody who serves.
"""

from __future__ import annotations

import errno
import os
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
    """A file of allocated blocks; one a process. One thread at a time calls its methods; any may look at `held`."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path, self._size = path, size
        self._tried = -AGAIN
        self.held = False
        """Whether the room is there."""

    def renew(self) -> bool:
        """Sets the room aside where it is not, and that has not just been tried; whether it is there."""
        if not self.held and time.monotonic() - self._tried >= AGAIN:
            self._tried = time.monotonic()
            self.held = self._take()
        return self.held

    def spend(self, error: OSError) -> bool:
        """Gives the room back to the disk where it was full; whether that is worth another attempt."""
        if not self.held or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return False
        self._tried = time.monotonic()
        self.close()
        return True

    def close(self) -> None:
        self.held = False
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
