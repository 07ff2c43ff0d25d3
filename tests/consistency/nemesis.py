"""What goes wrong: the upstream's profiles, its restart, and what is done to the sidecar's processes and their clock.

Each act ends by itself. The wall clock is stepped for the sidecar alone (clock.c) where there is a C compiler.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.consistency.upstreams import Tested
from tests.support.small_disk import fill
from tests.support.stack import Sidecar

STEPS = (0.0, 3600.0, -3600.0, 90_000.0, -2.5, 2.5)
"""Seconds by which the wall clock is off."""
CLOCK = "STEPPED_CLOCK"


def stepped(folder: Path) -> dict[str, str]:
    """Variables by which a process has a wall clock that can be stepped; none where nothing can compile it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    source, library, clock = Path(__file__).with_name("clock.c"), folder / "clock.so", folder / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    clock.write_bytes(bytes(8))
    return {"LD_PRELOAD": str(library), CLOCK: str(clock)}


class Nemesis:
    """Draws acts. `sidecars` are those that take traffic; `disk`: a small one with their DATA, if there is one."""

    def __init__(self, upstream: Tested, sidecars: list[Sidecar], seed: int, disk: Path | None = None) -> None:
        self._upstream = upstream
        self._sidecars = sidecars
        self._dice = random.Random(seed)
        self._disk = disk
        self.acts: dict[str, Callable[[Sidecar], None]] = {
            "kill -9 of all": self._kill_all,
            "kill -9 of one process": self._kill_one,
            "SIGSTOP of one process": self._stop_one,
            "full disk": self._full_disk,
            "restart of HOSP": lambda _: upstream.restart(self._dice),
        }
        if any(CLOCK in sidecar.environ for sidecar in sidecars):
            self.acts["step of the clock"] = self._step_clock

    def turn(self) -> str:
        """A new kind of day for the upstream."""
        return self._upstream.turn(self._dice)

    def strike(self, name: str = "") -> str:
        """One act against a sidecar."""
        name = name or self._dice.choice(list(self.acts))
        self.acts[name](self._dice.choice(self._sidecars))
        return name

    def _kill_all(self, sidecar: Sidecar) -> None:
        sidecar.kill()
        sidecar.start()

    def _kill_one(self, sidecar: Sidecar) -> None:
        _signal(self._dice.choice(children(sidecar)), signal.SIGKILL)

    def _stop_one(self, sidecar: Sidecar) -> None:
        """Long enough for its lease to pass to another, if it is the replayer."""
        pid = self._dice.choice(children(sidecar))
        _signal(pid, signal.SIGSTOP)
        time.sleep(self._dice.uniform(1, 7))
        _signal(pid, signal.SIGCONT)

    def _full_disk(self, sidecar: Sidecar) -> None:
        """Not a block is left; without a small disk, files cannot grow beyond what a journal or database already has:
        EFBIG, as of a quota."""
        if self._disk is not None:
            filler = fill(self._disk)
            time.sleep(self._dice.uniform(0.5, 2))
            filler.unlink()
            return
        limited = children(sidecar)
        for pid in limited:
            _limit(pid, 4096)
        time.sleep(self._dice.uniform(0.5, 2))
        for pid in limited:
            _limit(pid, resource.RLIM_INFINITY)

    def _step_clock(self, sidecar: Sidecar) -> None:
        off = int(self._dice.choice(STEPS) * 1e9)
        with Path(sidecar.environ[CLOCK]).open("r+b") as clock:
            clock.write(off.to_bytes(8, sys.byteorder, signed=True))


def children(sidecar: Sidecar) -> list[int]:
    """The sidecar's processes but for the supervisor."""
    told = subprocess.run(["pgrep", "-g", str(sidecar.process.pid)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in told.split() if int(pid) != sidecar.process.pid]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _limit(pid: int, size: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    except ProcessLookupError:
        return
