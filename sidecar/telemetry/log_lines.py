"""Lines on stderr, written by a thread: who logs waits for nobody, also where stderr is a pipe that nobody reads.

They keep their order. Those that find MOST before them are dropped and counted, and once lines are written again the
log says how many were. At an end in order all that waits is written, if somebody reads. A forked process writes its
own lines alone, and leaves its parent's to the parent.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

MOST: Final = 4096
"""Lines that wait to be written."""
FLUSH: Final = 2.0
"""Seconds for which an end waits for them."""
LOOK: Final = 0.002
"""Seconds between looks at whether all are written."""
AGAIN: Final = 0.05
"""Seconds between tries to write where stderr does not block, and takes nothing."""


def write(line: str) -> bool:
    """Whether it was taken. By the descriptor: a lock on sys.stderr would be held for good in a process forked now."""
    if sys.stderr is not sys.__stderr__:
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return False
        return True
    rest = memoryview(f"{line}\n".encode("utf-8", "backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(2, rest) :]
        except BlockingIOError:
            time.sleep(AGAIN)
        except OSError:
            return False
    return True


class Lines(logging.Handler):
    """One per process is enough: it never ends. `write` says whether the line was taken, and may take its time."""

    def __init__(self, write: Callable[[str], bool] = write, most: int = MOST) -> None:
        super().__init__()
        self._write, self._most = write, most
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """In a new process. What its parent's thread held then is nobody's here, and is not looked at again."""
        self._taken = self._refused = self._written = self._failed = self._told = 0
        self._lines = SimpleQueue[str]()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Lines of this process that were not written."""
        return self._refused + self._failed

    def emit(self, record: logging.LogRecord) -> None:
        """Takes the line. It is made here, where the exception and the trace are at hand."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if self._taken - self._written >= self._most:
            self._refused += 1
            return
        self._taken += 1
        self._lines.put(line)
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Returns when all lines are written, or after FLUSH."""
        until = time.monotonic() + FLUSH
        while self._written < self._taken and time.monotonic() < until:
            time.sleep(LOOK)

    def _start(self) -> None:
        """The thread hears no signal: those that the process puts off would end it there."""
        self._thread = threading.Thread(target=self._run, args=(self._lines,), name="log", daemon=True)
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)

    def _run(self, lines: SimpleQueue[str]) -> None:
        while True:
            line, dropped = lines.get(), self.dropped
            if not self._write(line):
                self._failed += 1
            elif dropped > self._told and self._write(self._confession(dropped - self._told)):
                self._told = dropped
            self._written += 1

    def _confession(self, count: int) -> str:
        said = "%d lines of this log were dropped, since nobody took them"
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, said, (count,), None)
        record.fields = {"event.action": "log_lines_dropped", "lines": count}
        return self.format(record)
