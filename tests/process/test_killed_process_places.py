"""What a killed process had in flight, as the others see it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from sidecar.upstream.concurrency import Slots
from tests.support.stack import until

TAKER = """
import sys, time
from pathlib import Path
from sidecar.upstream.concurrency import Slots
slots = Slots(Path(sys.argv[1]), 4, longest=0.6)
slots.take([1])
print(flush=True)
time.sleep(60)
"""


def test_what_hung_before_its_process_was_killed_hangs_on(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 4, longest=0.6)
    place, _index = slots.take([1]) or (-1, -1)
    time.sleep(0.02)
    slots.give(place)
    with subprocess.Popen(
        [sys.executable, "-c", TAKER, str(tmp_path / "places")], stdout=subprocess.PIPE, text=True
    ) as taker:
        assert taker.stdout is not None
        taker.stdout.readline()
        taken = time.monotonic()
        time.sleep(0.1)
        assert slots.in_flight() == 1
        taker.kill()
    assert slots.in_flight() == 1, "it was seen to take longer than calls did"
    successor = Slots(tmp_path / "places", 4, longest=0.6)
    assert successor.in_flight() == 1, "also by who was not there then"
    successor.close()
    until(lambda: slots.in_flight() == 0, 5, "no call can last that long")
    assert time.monotonic() - taken > 0.5
    slots.close()


HOLDS: Final = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_nobody_waits_for_a_process_that_is_taking_a_place(tmp_path: Path) -> None:
    """It may have stood back, and get no CPU time."""
    slots = Slots(tmp_path / "places", 2, longest=60)
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "places")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        told: list[tuple[int, int] | None] = []
        asks = threading.Thread(target=lambda: told.append(slots.take([1])), daemon=True)
        asks.start()
        asks.join(10)
        assert told == [None]
        other.communicate()
    assert slots.take([1]) == (0, 0)


def test_nobody_waits_for_a_process_that_has_stood_back_while_it_took_a_place(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 2, longest=60)
    holds = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True)"
    command = [sys.executable, "-c", f"{holds}; sys.stdin.read(1)", str(tmp_path / "places")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        let_go = threading.Timer(5, other.stdin.close)  # who waited would have a place then
        let_go.start()
        assert slots.take([1]) is None
        let_go.cancel()
        other.stdin.close()
    assert slots.take([1]) == (0, 0)
