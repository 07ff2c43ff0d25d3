"""Who writes to an SQLite file, and when."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from sidecar.settings import Settings
from sidecar.storage.database import open_engine, open_file
from sidecar.storage.write_lock import Turns
from tests.support.stack import until


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


@pytest.mark.parametrize(("patience", "waited"), [(2.0, 2000), (60.0, 5000)])
def test_who_hurries_waits_for_others_no_longer_than_that(tmp_path: Path, patience: float, waited: int) -> None:
    with open_engine(Settings(data=tmp_path), patience).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == waited


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
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 50
