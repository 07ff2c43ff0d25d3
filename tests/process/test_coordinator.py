"""Real processes agree on who answers for an endpoint."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from sidecar.settings import Settings
from sidecar.storage.database import create_all, open_engine

WORKER = """
import sys, time
from pathlib import Path
from sidecar.storage.database import open_engine
from sidecar.takeover.coordinator import Switchboard
from sidecar.settings import Settings

made = []
board = Switchboard(open_engine(Settings(data=Path(sys.argv[1]))), ("notes.read",), sys.argv[2],
                    on_transition=made.append)
board.tick()
print("ready", flush=True)
end, opened = time.monotonic() + 2.5, None
if sys.argv[2] == "p0":
    for _ in range(3):
        board.observe("notes.read", False, True)
    print("failed", time.time(), flush=True)
while time.monotonic() < end:
    board.tick()
    if opened is None and board.state("notes.read").circuit.state == "open":
        opened = time.time()
        print("opened", opened, flush=True)
    time.sleep(0.25)
print("made", sum(one.takeover for one in made), flush=True)
"""


def test_real_processes_agree_within_a_second(tmp_path: Path) -> None:
    engine = open_engine(Settings(data=tmp_path))
    create_all(engine)
    engine.dispose()
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), f"p{n}"], stdout=subprocess.PIPE, text=True)
        for n in (2, 1)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    workers.append(
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), "p0"], stdout=subprocess.PIPE, text=True)
    )
    started = time.time()
    words = [dict(line.split(" ") for line in worker.communicate(timeout=20)[0].splitlines() if " " in line)
             for worker in workers]  # fmt: skip
    failed = float(words[-1]["failed"])
    assert started <= failed
    assert [float(word["opened"]) - failed < 1.0 for word in words] == [True, True, True]
    assert sum(int(word["made"]) for word in words) == 1
