"""Stamps that order what is known: nanoseconds that never go back within one run, whatever the wall clock does.

CLOCK_MONOTONIC is shared by all processes of a node. The offset to the epoch is taken once, when the parent imports
this module, and its forks inherit it: a stamp in one worker can be compared with a stamp in another.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

_offset = time.time_ns() - time.monotonic_ns()


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


def stamp() -> int:
    """Nanoseconds, roughly since the epoch, for ordering only: use time.time_ns() for what people read."""
    return time.monotonic_ns() + _offset


@cache
def boot() -> str:
    """Names the time since this machine was started; empty where the system does not name it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def uptime() -> int:
    """Nanoseconds since this machine was started, its sleep included where that is counted. Nobody sets this clock."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
