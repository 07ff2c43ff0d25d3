"""Processes that write to one SQLite file: each gets its turn, and one that is killed holds up nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import text

from sidecar.storage.database import open_file
from sidecar.storage.write_lock import Turns

PROCESSES, THREADS, TIMES = 3, 8, 15
COUNT = text("SELECT count FROM served")


SERVE = text("UPDATE served SET count = count + 1")


def write_often(path: Path) -> int:
    """In THREADS threads at once; returns the most transactions of others that one of ours waited for."""
    engine, most = open_file(path), [0] * THREADS

    def work(thread: int) -> None:
        for _ in range(TIMES):
            with engine.execution_options(writes=False).connect() as connection, connection.begin():
                asked = connection.scalar(COUNT)
            with engine.begin() as connection:
                most[thread] = max(most[thread], connection.scalar(COUNT) - asked)
                time.sleep(0.001)
                connection.execute(SERVE)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return max(most)


def test_nobody_waits_for_more_than_a_few_rounds_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    with open_file(path).begin() as connection:
        connection.execute(text("CREATE TABLE served (count INTEGER)"))
        connection.execute(text("INSERT INTO served VALUES (0)"))
    command = [sys.executable, "-m", "tests.process.test_write_lock", str(path)]
    with_others = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
    most = [int(process.communicate(timeout=60)[0]) for process in with_others]
    with open_file(path).connect() as connection:
        assert connection.scalar(COUNT) == PROCESSES * THREADS * TIMES
    assert max(most) < 4 * PROCESSES * THREADS


def test_who_is_killed_in_turn_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    script = (
        "import sys, time; from pathlib import Path; from sidecar.storage.write_lock import Turns\n"
        "with Turns(Path(sys.argv[1])).turn(time.monotonic() + 10): print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mine\n"
        with Turns(path).turn(time.monotonic() + 0.05) as mine:
            assert not mine
        os.kill(process.pid, signal.SIGKILL)
    with Turns(path).turn(time.monotonic() + 10) as mine:
        assert mine


if __name__ == "__main__":
    print(write_often(Path(sys.argv[1])))
