"""Who writes to an SQLite file, and when."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from sidecar.storage.database import open_file
from sidecar.storage.write_lock import Turns
from tests.support.stack import until

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
    command = [sys.executable, "-m", "tests.unit.sidecar.storage.test_write_lock", str(path)]
    with_others = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
    most = [int(process.communicate(timeout=60)[0]) for process in with_others]
    with open_file(path).connect() as connection:
        assert connection.scalar(COUNT) == PROCESSES * THREADS * TIMES
    assert max(most) < 4 * PROCESSES * THREADS


def test_threads_have_their_turns_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    turns, order = Turns(tmp_path / "turn"), list[int]()

    def work(number: int) -> None:
        with turns.turn(time.monotonic() + 10) as mine:
            assert mine
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    with turns.turn(time.monotonic() + 10):
        for ahead, thread in enumerate(threads, 1):
            thread.start()
            until(lambda ahead=ahead: len(turns._line._line) == ahead + 1, what="in line")
    for thread in threads:
        thread.join(10)
    assert order == list(range(10))


def wait_in_vain(turns: Turns) -> None:
    with turns.turn(time.monotonic() + 0.01) as mine:
        assert not mine


def test_who_waits_in_vain_leaves_the_line(tmp_path: Path) -> None:
    turns, other = Turns(tmp_path / "turn"), Turns(tmp_path / "turn")
    with other.turn(time.monotonic() + 10), turns.turn(time.monotonic() + 0.02) as mine:
        assert not mine
    with turns.turn(time.monotonic() + 10) as mine:
        assert mine
        impatient = threading.Thread(target=wait_in_vain, args=(turns,))
        impatient.start()
        impatient.join(10)
    with turns.turn(time.monotonic() + 10) as mine:
        assert mine


def test_without_its_file_there_is_no_line_and_all_the_same_one_writes(tmp_path: Path) -> None:
    engine = open_file(tmp_path / "file.db")
    (tmp_path / "file.db-turn").mkdir()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    with Turns(tmp_path / "file.db-turn").turn(time.monotonic() + 10) as mine:
        assert not mine


def test_who_is_killed_in_turn_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    script = (
        "import sys, time; from pathlib import Path; from sidecar.turns import Turns\n"
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


def test_a_file_that_stays_locked_is_an_error_and_then_all_is_well(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    engine = open_file(path, patience=0.05)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"), engine.begin():
        pass
    other.execute("ROLLBACK")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000


if __name__ == "__main__":
    print(write_often(Path(sys.argv[1])))
