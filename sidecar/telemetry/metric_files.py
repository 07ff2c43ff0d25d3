"""The memory-mapped files that a run's counts lie in: allocated before they are used, merged when their process ends.

A page of a sparse file that a full disk has no room for ends its process by SIGBUS, between a write's effect and its
answer if need be. Allocated first, what does not fit is an OSError, and a count is lost instead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

DEAD: Final = "0"
"""In the place of a process's number: the sums of all that have ended."""
KINDS: Final = ("counter", "histogram")
ROOM: Final = 4096
"""Bytes that one new value may need, at the most, beside its name."""


@contextmanager
def locked(directory: Path, how: int) -> Iterator[None]:
    """While files are merged (LOCK_EX) nobody sums them up (LOCK_SH): a count is never seen twice, nor not at all."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def allocate_first() -> None:
    """From now on prometheus_client's files in this process are allocated before they are mapped. Safe to repeat."""
    from prometheus_client import mmap_dict, values

    made_by: Any = values  # it takes the class from there, and has no other way to be told
    if made_by.MmapedDict is not mmap_dict.MmapedDict:
        return

    class Allocated(mmap_dict.MmapedDict):
        _f: Any
        _capacity: int
        _used: int

        def __init__(self, filename: str, read_mode: bool = False) -> None:
            if not read_mode:
                _allocate(filename, mmap_dict._INITIAL_MMAP_SIZE)
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

        def _init_value(self, key: str) -> None:
            if self._used + len(key.encode()) + ROOM > self._capacity:
                os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)
            super()._init_value(key)  # type: ignore[no-untyped-call]

    made_by.MmapedDict = Allocated


def _allocate(filename: str, size: int) -> None:
    """Raises OSError where there is no room, and leaves no file that would be taken for an allocated one."""
    descriptor = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < size:
            os.posix_fallocate(descriptor, 0, size)
    except OSError:
        if os.pread(descriptor, 4, 0) in (b"", b"\0\0\0\0"):
            Path(filename).unlink()
        raise
    finally:
        os.close(descriptor)


def merge_dead(directory: Path, pid: int) -> None:
    """Adds the counts of a process that has ended to those of all such, and removes its files. Raises OSError."""
    with locked(directory, fcntl.LOCK_EX):
        for kind in KINDS:
            theirs, sums = directory / f"{kind}_{pid}.db", directory / f"{kind}_{DEAD}.db"
            if theirs.exists():
                _add(theirs, sums)
                theirs.unlink()


def _add(theirs: Path, sums: Path) -> None:
    from prometheus_client.mmap_dict import _INITIAL_MMAP_SIZE, MmapedDict

    new = sums.with_name(".new")
    new.unlink(missing_ok=True)
    _allocate(str(new), max(_INITIAL_MMAP_SIZE, *(2 * path.stat().st_size for path in (theirs, sums) if path.exists())))
    total = MmapedDict(str(new))  # type: ignore[no-untyped-call]
    try:
        for path in (sums, theirs):
            for key, value, *_ in _values(path) if path.exists() else ():
                before, *_ = total.read_value(key)  # type: ignore[no-untyped-call]
                total.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        total.close()  # type: ignore[no-untyped-call]
    new.replace(sums)


def _values(path: Path) -> Any:
    from prometheus_client.mmap_dict import MmapedDict

    return MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
