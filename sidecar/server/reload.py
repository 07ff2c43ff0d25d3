"""Asks the sidecar that runs on DATA to reload, and waits until it has, or has refused."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Final

from sidecar.server.processes import send
from sidecar.settings import PREFIX, SettingError, Settings
from sidecar.storage.status_files import told

WITHIN: Final = 180.0
"""Seconds for a rehearsal of the start, and for the new processes to be ready."""


def reload(settings: Settings) -> str | None:
    """Why all goes on as it was; None: the new settings, contract and program serve. Raises SettingError where no
    sidecar runs on DATA, or none says what became of it."""
    pid, before = _supervisor(settings.data / "lock"), told(settings, "reload").get("at")
    send(pid, signal.SIGHUP)
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        time.sleep(0.1)
        now = told(settings, "reload")
        if now.get("at") != before:
            refused = now.get("refused")
            return None if refused is None else str(refused)
        _supervisor(settings.data / "lock")
    raise SettingError(f"{PREFIX}DATA: the sidecar on {settings.data} does not say what became of the reload")


def _supervisor(lock: Path) -> int:
    """The pid of whoever holds the lock."""
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        raise SettingError(f"{PREFIX}DATA: no sidecar has run on {lock.parent}") from None
    except OSError as error:
        raise SettingError(f"{PREFIX}DATA: {lock}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        word = os.read(file, 20)
        if word.isdigit():
            return int(word)
        raise SettingError(f"{PREFIX}DATA: {lock} does not say which process to tell; send it SIGHUP") from None
    finally:
        os.close(file)
    raise SettingError(f"{PREFIX}DATA: no sidecar runs on {lock.parent}")
