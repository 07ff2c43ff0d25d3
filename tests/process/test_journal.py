"""The journal of a process whose disk fills up, and of one that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from sidecar.journal.verify import verify
from sidecar.journal.writer import read_segment


def recorded(directory: Path) -> list[str]:
    lines = [line for path in segments(directory) for line, _ in read_segment(path)]
    return [line["event"]["event"]["id"] for line in lines]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from sidecar.journal.writer import Journal, RecordingFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]), "node", 1)
def event(number, size): return {"event": {"id": f"e{number}"}, "filling": "x" * size}
journal.append(event(0, 10)).wait(5)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for number in range(1, 4):
    try:
        journal.append(event(number, 5000)).wait(5)
        raise SystemExit("written to a full disk")
    except RecordingFailed as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(event(4, 5000)).wait(5)
print(journal.events, journal.failures, journal.gaps)
journal.close()
"""


def test_a_full_disk_is_told_leaves_no_torn_line_and_is_recovered_from(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["cannot record: File too large"] * 3 + ["2 3 1"]
    assert recorded(tmp_path) == ["e0", "e4"]
    verdict = verify(segments(tmp_path))
    assert (verdict.ok, verdict.events, verdict.notes) == (True, 2, [])


UNDER_LOAD = """
import itertools, sys, threading
from pathlib import Path
from sidecar.journal.writer import Journal
journal, lock, numbers = Journal(Path(sys.argv[1]), "node", 1), threading.Lock(), itertools.count()
def work():
    while True:
        number = next(numbers)
        journal.append({"event": {"id": f"e{number}"}}).wait(10)
        with lock:
            sys.stdout.write(f"e{number}\\n"); sys.stdout.flush()
for _ in range(8): threading.Thread(target=work).start()
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", UNDER_LOAD, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
        process.stdout.close()
        process.wait(10)
        found = set(recorded(tmp_path))
        assert found >= {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
        assert verify(segments(tmp_path)).ok
        for path in segments(tmp_path):
            path.unlink()
