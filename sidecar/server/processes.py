"""Small acts on processes: how a child lives, whether a program could start, signals, and word to systemd."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG: Final = 1
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What the supervisor listens for."""
CHECK_WITHIN: Final = 60.0
"""Seconds for a program to say whether it could start."""


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies (Linux; elsewhere gunicorn's own check remains)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def unheard() -> Iterator[None]:
    """Around a fork: what a child is told before it listens would be lost, or end it; it waits until `listen`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def listen() -> None:
    """From now on this child hears what it is told, also what it was told before."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def live(name: str, run: Callable[[], None], parent: int) -> NoReturn:
    """What a child does, from its fork to its end. `run` calls `listen`, once it does with a signal what it should."""
    code = 1
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        die_with_parent()
        if os.getppid() == parent:
            run()
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        fields = {"event.action": "process_broke", "role": name}
        log.exception("a process of the sidecar broke", extra={"fields": fields})
    finally:
        logging.shutdown()
        os._exit(code)


def fault(command: list[str]) -> str | None:
    """Why the program could not start, in its own words; None if it could."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_WITHIN, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {type(error).__name__}"
    lines = done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"]
    return lines[-1] if done.returncode else None


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def notify(state: str) -> None:
    """Tells systemd, where it started us and wants to know (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.connect("\0" + address[1:] if address.startswith("@") else address)
            way.send(state.encode())
    except OSError as error:
        log.warning("systemd could not be told: %s", error.strerror)


def say_ready(way: int) -> None:
    """Tells the supervisor that this part is ready, if it still listens."""
    try:
        os.write(way, b"r")
    except OSError:
        return
