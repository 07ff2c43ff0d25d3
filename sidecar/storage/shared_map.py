"""A small file that processes share as memory."""

from __future__ import annotations

import mmap
import os
from pathlib import Path


def shared_map(path: Path, size: int) -> mmap.mmap:
    """The file's first bytes, made on first use and never shrunk: processes of before a reload may look at more.

    Each block is taken from the disk now: to write to a page that has none ends the process (SIGBUS) where the disk is
    full. Raises OSError where there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, size)
        return mmap.mmap(file, size)
    finally:
        os.close(file)
