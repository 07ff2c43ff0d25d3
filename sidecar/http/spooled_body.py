"""A request body that is too large to be held in memory: in a file that has no name, so that nothing outlives us.

The file lies under DATA and is unlinked from the start: whatever dies, the system frees it, and with it any password
in the body. It is read by offset, so several calls may send it at once, and closed with its last user.
"""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PIECE: Final = 64 * 1024
"""Bytes that are read from a client, a file or for a digest at once."""
IN_MEMORY: Final = 1024 * 1024
"""Bytes up to which a body is held in memory; nothing beyond is recorded either (events/redact.py)."""
KEPT_FREE: Final = 256 * 1024 * 1024
"""Bytes of the disk that stay free for others: the journal lies there too."""
SHARE_FREE: Final = 10
"""Of a small disk, its tenth."""


class Spool:
    """Written by one thread, then read by any number."""

    __slots__ = ("__weakref__", "_fd", "size")

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._fd = file.fileno()
        self.size = 0
        weakref.finalize(self, file.close)

    def write(self, piece: bytes | bytearray) -> None:
        """Raises OSError: the disk is full, or all but full, or broken."""
        disk = os.fstatvfs(self._fd)
        if disk.f_bavail < min(KEPT_FREE // disk.f_frsize, disk.f_blocks // SHARE_FREE):
            raise OSError(errno.ENOSPC, "what is left of the disk is kept for others")
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self.size += len(piece)

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, self.size, PIECE):
            yield self.read(at, PIECE)

    def whole(self) -> bytes:
        return b"".join(self.pieces())
