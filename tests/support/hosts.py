"""Several hosts on this machine: network namespaces on one switch, whose ways to each other can be cut.

All of them live inside namespaces of the test's own (network, mounts, processes): nothing of it is seen from outside,
nothing outside is reached from it, and all of it ends with the process that made it. Needs root, or says so.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NETWORK = "198.18.0."
"""Of the block that RFC 2544 sets aside for tests like this one."""
NOBODY = "02:00:00:00:00:00"
INSIDE = "UNDERSTUDY_TESTS_INSIDE"
CLONE_NEWNET = 0x40000000


def missing() -> str | None:
    """Why this machine cannot have hosts, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    done = subprocess.run(_inside("true"), capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        return f"no namespaces can be made here: {done.stderr.strip()}"
    return None


def enter(module: str, words: Sequence[str]) -> None:
    """Runs the module anew inside namespaces of its own, and ends with its status; inside, returns at once."""
    if INSIDE in os.environ:
        return
    if said := missing():
        print(f"skipped: {said}")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    command = _inside(sys.executable, "-m", module, *words)
    os.execvp(command[0], command)


def _inside(*command: str) -> list[str]:
    own = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *own, *command]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


class Hosts:
    """Hosts by name, numbered from 10; the first is this process's own."""

    def __init__(self, *names: str) -> None:
        run = Path("/run/netns")
        run.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "none", str(run))
        self.address = {name: f"{NETWORK}{number}" for number, name in enumerate(names, 10)}
        self._here = names[0]
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "switch", "type", "bridge")
        _run("ip", "link", "set", "switch", "up")
        _run("ip", "addr", "add", f"{self.address[self._here]}/24", "dev", "switch")
        for number, name in enumerate(names[1:], 1):
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "link", "set", f"port{number}", "master", "switch", "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", name, "addr", "add", f"{self.address[name]}/24", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "eth0", "up")

    def within(self, name: str) -> list[str]:
        """A command's first words, for it to run on that host."""
        return [] if name == self._here else ["ip", "netns", "exec", name]

    def cut(self, one: str, other: str) -> None:
        """From now on nothing gets from one to the other, nor back: frames go to an address that nobody has."""
        for here, there in ((one, other), (other, one)):
            _run(*self._ip(here), "neigh", "replace", self.address[there], "lladdr", NOBODY, "nud", "permanent",
                 "dev", self._device(here))  # fmt: skip

    def mend(self, one: str, other: str) -> None:
        for here, there in ((one, other), (other, one)):
            _run(*self._ip(here), "neigh", "del", self.address[there], "dev", self._device(here))

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Sockets made meanwhile by this thread are that host's."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/self/ns/net").open() as own, Path(f"/run/netns/{name}").open() as other:
            _checked(libc.setns(other.fileno(), CLONE_NEWNET))
            try:
                yield
            finally:
                _checked(libc.setns(own.fileno(), CLONE_NEWNET))

    def _ip(self, name: str) -> list[str]:
        return ["ip"] if name == self._here else ["ip", "-n", name]

    def _device(self, name: str) -> str:
        return "switch" if name == self._here else "eth0"


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "setns")
