"""A file is looked at when somebody has written to it, and now and then."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.storage.changes import AT_LEAST, Watching, start_changes
from sidecar.storage.database import open_memory


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "it.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
        yield connection


@pytest.fixture
def watching(file: sqlite3.Connection, tmp_path: Path) -> Iterator[Watching]:
    with closing(Watching(str(tmp_path / "it.db"), Time())) as watching:
        yield watching


def looks(watching: Watching) -> bool:
    with watching.looking() as look:
        return look


def test_it_is_looked_at_once_and_again_when_somebody_has_written(file: sqlite3.Connection, watching: Watching) -> None:
    assert [looks(watching), looks(watching), looks(watching)] == [True, False, False]
    file.execute("INSERT INTO t VALUES (1)")
    assert not looks(watching), "nothing is committed"
    file.commit()
    assert [looks(watching), looks(watching)] == [True, False]


def test_what_is_written_while_it_is_looked_at_is_looked_at_again(file: sqlite3.Connection, watching: Watching) -> None:
    with watching.looking() as look:
        file.execute("INSERT INTO t VALUES (1)")
        file.commit()
    assert look
    assert looks(watching)


def test_a_look_that_failed_was_none(watching: Watching) -> None:
    assert [looks(watching), looks(watching)] == [True, False]
    with pytest.raises(ValueError, match="no"), watching.looking():
        raise ValueError("no")
    assert looks(watching)


def test_time_s_own_work_is_seen_to(watching: Watching) -> None:
    looks(watching)
    assert isinstance(watching._clock, Time)
    seen = []
    for _ in range(6):
        watching._clock.now += AT_LEAST / 2
        seen.append(looks(watching))
    assert seen == [False, True] * 3


def test_a_file_that_cannot_be_read_is_looked_at_every_time(tmp_path: Path) -> None:
    with closing(Watching(str(tmp_path / "none" / "it.db"))) as watching:
        assert looks(watching)
        assert looks(watching)


def test_what_is_in_memory_is_looked_at_every_time() -> None:
    changes = start_changes(open_memory())
    for _ in range(3):
        with changes.looking() as look:
            assert look
