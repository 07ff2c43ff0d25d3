"""Who is told to end does, however often it is told, and whatever it does at that moment."""

from __future__ import annotations

import subprocess
import sys

from sidecar.signals import ENDS

PROGRAM = """
import threading
from sidecar.signals import ends
stop = threading.Event()
ends(stop)
print("ready", flush=True)
while not stop.wait(0.00001):
    pass
"""


def test_signals_at_any_moment_end_a_process_that_waits() -> None:
    """Ctrl-C reaches a process twice, from the terminal and from `make`; set by the handler itself, the event hung."""
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                for number in ENDS * 100:
                    if process.poll() is None:
                        process.send_signal(number)
                assert process.wait(20) in (0, *(-number for number in ENDS))
            finally:
                process.kill()
