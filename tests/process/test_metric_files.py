"""Counts outlive their processes in one file for all; a disk without room costs counts, and no process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from pathlib import Path
from sidecar.telemetry.metrics import DIRECTORY, Metrics, SharedState, forget, prepare, serve_metrics
directory = Path(sys.argv[1])
prepare(directory)
for number in range(8):
    pid = os.fork()
    if pid == 0:
        metrics = Metrics()
        metrics.takeover("notes.list")
        for label in range(int(sys.argv[2])):
            metrics.takeover(f"label-{label}-" + "x" * 200)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
    forget(pid)
from flask import Flask
app = Flask("x")
serve_metrics(app, SharedState({}))
text = app.test_client().get("/metrics").text
print([line for line in text.splitlines() if 'endpoint="notes.list"' in line and not line.startswith("#")])
print(sorted(path.name for path in directory.glob("*.db")))
"""


def run(directory: Path, labels: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), str(labels)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_the_files_of_those_who_ended_become_one(tmp_path: Path) -> None:
    counts, files = run(tmp_path, 20)
    assert counts == "['understudy_takeovers_total{endpoint=\"notes.list\"} 8.0']"
    assert files == "['counter_0.db']"


def test_a_file_grows_beyond_its_first_megabyte(tmp_path: Path) -> None:
    counts, _ = run(tmp_path, 6000)
    assert counts == "['understudy_takeovers_total{endpoint=\"notes.list\"} 8.0']"


def test_a_disk_without_room_ends_no_process(tmp_path: Path) -> None:
    """A real small filesystem, without a block left."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", str(tmp_path).encode(), b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip(f"needs to mount a file system: {os.strerror(ctypes.get_errno())}")
    try:
        (tmp_path / "filler").write_bytes(b"x" * 40_000)
        counts, files = run(tmp_path, 3)
        assert (counts, files) == ("[]", "[]")
    finally:
        libc.umount2(str(tmp_path).encode(), 2)
