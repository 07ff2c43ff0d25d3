"""Stamps that order what is known: nanoseconds that never go back within one run, whatever the wall clock does.

CLOCK_MONOTONIC is shared by all processes of a node. The offset to the epoch is taken once, when the parent imports
this module, and its forks inherit it: a stamp in one worker can be compared with a stamp in another.

Nodes that share a database share its clock (`share`): a file under DATA tells the node's processes by how much it is
ahead of CLOCK_MONOTONIC, and how far that may be wrong (storage/shared_clock.py measures it). What is ordered then is
what is certain: `stamp` is no earlier than now by that clock, for what has ended; `earliest` is no later, for what
begins. No wall clock has a part in it.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Final

DRIFT: Final = 500e-6
"""By how much two clocks come to differ, at the most, in s a second: NTP slews a clock by no more."""
_FORM: Final = struct.Struct("<qqqqQ")
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_offset = time.time_ns() - time.monotonic_ns()
_file: mmap.mmap | None = None
_boot = 0


def not_before(known: int) -> None:
    """In the parent, before forking: stamps begin after `known`, though the wall clock was set back between runs."""
    global _offset
    _offset = max(_offset, known + 1 - time.monotonic_ns())


def offset() -> int:
    """What `adopt` takes."""
    return _offset


def adopt(offset: int) -> None:
    """In the parent, before forking: stamps go on as those of a program that it follows, whose children still run."""
    global _offset
    _offset = offset


def share(path: Path) -> None:
    """From now on this process, and its forks, go by the offset that the file tells, once it tells one."""
    global _file, _boot
    _boot = zlib.crc32(boot().encode())  # CLOCK_MONOTONIC begins anew with each
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.posix_fallocate(file, 0, _FORM.size)  # a page without a block ends whoever writes to it on a full disk
    _file = mmap.mmap(file, _FORM.size)
    os.close(file)


def tell(offset: int, error: int, bias: int) -> None:
    """Keeps what was measured now: ns, and by how many it may be wrong. `bias`: what storage/shared_clock.py added."""
    assert _file is not None
    before = told()
    if before is not None and before[0] != offset:  # whoever reads between the two is no worse off than before
        _file[8:16] = (before[1] + error + abs(offset - before[0])).to_bytes(8, "little")
        _file[:8] = offset.to_bytes(8, "little", signed=True)
    _file[:] = _FORM.pack(offset, error, time.monotonic_ns(), bias, _boot)


def told() -> tuple[int, int, int, int] | None:
    """What the file tells: offset, error, when it was measured (CLOCK_MONOTONIC), bias. None: nothing, of this boot."""
    if _file is None:
        return None
    offset, error, at, bias, boot = _FORM.unpack(_file[:])
    return (offset, error, at, bias) if boot == _boot and 0 < at <= time.monotonic_ns() else None


def error() -> int:
    """By how many ns the shared clock may be wrong now; 0 where none is shared: there is one clock."""
    shared = told()
    return 0 if shared is None else shared[1] + int(DRIFT * (time.monotonic_ns() - shared[2]))


def stamp() -> int:
    """Nanoseconds, roughly since the epoch, for ordering only: use time.time_ns() for what people read. No earlier than
    now."""
    shared = told()
    now = time.monotonic_ns()
    return now + _offset if shared is None else now + shared[0] + shared[1] + int(DRIFT * (now - shared[2]))


def earliest() -> int:
    """A stamp for what is about to begin: no later than now."""
    return stamp() - 2 * error()


@cache
def boot() -> str:
    """Names the time since this machine was started; empty where the system does not name it."""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def uptime() -> int:
    """Nanoseconds since this machine was started, its sleep included where that is counted. Nobody sets this clock."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
