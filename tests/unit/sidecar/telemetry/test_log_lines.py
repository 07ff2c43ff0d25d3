"""Who logs waits for nobody; what is written keeps its order, and what is not is counted."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.telemetry.log_lines import Lines


class Pipe:
    """Takes nothing until somebody reads; then each line, or none."""

    def __init__(self) -> None:
        self.read = threading.Event()
        self.reached = threading.Event()
        self.broken = False
        self.by: threading.Thread | None = None
        self.lines: list[str] = []

    def write(self, line: str) -> bool:
        self.by = threading.current_thread()
        self.reached.set()
        self.read.wait()
        if not self.broken:
            self.lines.append(line)
        return not self.broken


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.read.set()


def said(lines: Lines, text: str) -> None:
    lines.handle(logging.LogRecord("n", logging.INFO, __file__, 0, text, None, None))


def test_lines_are_written_in_their_order_and_all_of_them_at_the_end(pipe: Pipe) -> None:
    lines = Lines(pipe.write)
    pipe.read.set()
    for number in range(1000):
        said(lines, str(number))
    lines.flush()
    assert pipe.lines == [str(number) for number in range(1000)]
    assert lines.dropped == 0


def test_what_nobody_takes_is_dropped_and_counted_and_said_later(pipe: Pipe) -> None:
    lines = Lines(pipe.write, most=10)
    said(lines, "0")
    assert pipe.reached.wait(10)
    for number in range(1, 50):
        said(lines, str(number))  # which would wait for good
    assert lines.dropped == 40
    pipe.read.set()
    lines.flush()
    told = "40 lines of this log were dropped, since nobody took them"
    assert [line for line in pipe.lines if line != told] == [str(number) for number in range(10)]
    assert pipe.lines.count(told) == 1
    said(lines, "again")
    lines.flush()
    assert pipe.lines[-1] == "again"
    assert lines.dropped == 40


def test_what_cannot_be_written_is_counted_too(pipe: Pipe) -> None:
    lines, pipe.broken = Lines(pipe.write), True
    pipe.read.set()
    said(lines, "0")
    lines.flush()
    assert lines.dropped == 1
    pipe.broken = False
    said(lines, "1")
    lines.flush()
    assert pipe.lines == ["1", "1 lines of this log were dropped, since nobody took them"]


def test_lines_of_many_threads_are_each_written_once(pipe: Pipe) -> None:
    lines = Lines(pipe.write)
    pipe.read.set()

    def speak(who: int) -> None:
        for number in range(200):
            said(lines, f"{who} {number}")

    speakers = [threading.Thread(target=speak, args=(who,)) for who in range(4)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    lines.flush()
    assert len(pipe.lines) == 800
    for who in range(4):
        assert [line for line in pipe.lines if line.startswith(f"{who} ")] == [f"{who} {n}" for n in range(200)]


def test_the_thread_hears_no_signal(pipe: Pipe) -> None:
    """One that the process puts off would end it there."""
    said(Lines(pipe.write), "0")
    assert pipe.reached.wait(10)
    assert pipe.by is not None
    status = Path(f"/proc/self/task/{pipe.by.native_id}/status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    assert all(blocked >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1))
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "ours is as it was"
