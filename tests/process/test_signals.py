"""Who is told to end does, however often it is told, and whatever it does at that moment."""

from __future__ import annotations

import signal
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

CHILD = """
import threading, time
from sidecar.server.phase import Service
from sidecar.server.processes import listen
from sidecar.server.supervisor import Role, Supervisor
from sidecar.signals import ends

def run(ready, relieves):
    print("forked", flush=True)
    time.sleep(0.5)
    stop = threading.Event()
    ends(stop)
    listen()
    stop.wait()
    print("what is done last", flush=True)

Supervisor([Role("background", run, 1, 20, alone=True)], Service(), 0, []).run(lambda: None, lambda left: None)
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


def test_a_child_that_is_told_to_end_while_it_starts_does_what_it_does_last() -> None:
    """Told before it listened it died, and the last lines of the trail were not signed."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "forked\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stdout.read() == "what is done last\n"
        finally:
            process.kill()
