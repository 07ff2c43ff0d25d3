"""The system call filter of a shipped unit, put on a command: `python -m tests.support.seccomp UNIT COMMAND …`.

systemd-analyze says what a set such as @system-service holds; libseccomp makes the filter. What it denies gets what the
unit says (SystemCallErrorNumber), or SIGSYS where it says nothing, as systemd does it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
PR_SET_NO_NEW_PRIVS = 38


def available() -> bool:
    return ctypes.util.find_library("seccomp") is not None and shutil.which("systemd-analyze") is not None


def words(unit: Path, key: str) -> list[str]:
    """The values of a key, in order."""
    lines = (line.partition("=") for line in unit.read_text().splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == key]


def members(names: Iterable[str]) -> set[str]:
    """The system calls of these names and sets, sets in sets included."""
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        lines = [line.strip() for line in said.stdout.splitlines()[1:]]
        found |= members(line for line in lines if line and not line.startswith("#"))
    return found


def allowed(unit: Path) -> set[str]:
    """What the unit's filter leaves, its lines taken one after another."""
    calls: set[str] = set()
    for line in words(unit, "SystemCallFilter"):
        if line.startswith("~"):
            calls -= members(line[1:].split())
        else:
            calls |= members(line.split())
    return calls | members(["@default"])


def put_on(unit: Path) -> None:
    """From now on this process, and all that come of it, may do no more."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p
    ]  # fmt: skip
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    refusal = words(unit, "SystemCallErrorNumber")
    otherwise = REFUSE | getattr(errno, refusal[-1]) if refusal else KILL
    context = library.seccomp_init(otherwise)
    for name in allowed(unit) | {"execve"}:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert library.seccomp_rule_add_array(context, ALLOW, number, 0, None) == 0, name
    assert ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    put_on(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
