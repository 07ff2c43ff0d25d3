"""What many threads want to change at the same time is changed in few transactions, and nobody suffers for another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from sidecar.standby.tables import meta
from sidecar.storage.database import open_file
from sidecar.storage.group_commit import GroupCommit
from tests.support.stack import until
from tests.support.tables import lay


class Counted:
    """A file, a group, and how often it committed; `hold` keeps the first transaction open until it is set."""

    def __init__(self, path: Path) -> None:
        self.engine: Engine = open_file(path)
        lay(self.engine)
        self.begun = self.commits = self.told = 0
        self.hold = threading.Event()
        self.why: Exception | None = None
        self.group = GroupCommit(self.engine, self._begin, self._after)
        event.listen(self.engine, "commit", self._commit)

    def _begin(self, _connection: Connection) -> int:
        self.begun += 1
        self.hold.wait(10)
        if self.why is not None:
            raise self.why
        return self.begun

    def _commit(self, _connection: Connection) -> None:
        self.commits += 1

    def _after(self) -> None:
        self.told += 1

    def put(self, name: str) -> int:
        """Puts a number of this name; in which transaction."""

        def change(connection: Connection, begun: int) -> int:
            connection.execute(insert(meta).values(name=name, value=begun))
            return begun

        return self.group.run(change)

    def names(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.scalars(select(meta.c.name)))


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    made = Counted(tmp_path / "x.db")
    yield made
    made.engine.dispose()


def test_who_comes_while_a_transaction_is_under_way_is_in_the_next_with_all_the_others(counted: Counted) -> None:
    with ThreadPoolExecutor(16) as threads:
        first = threads.submit(counted.put, "first")
        until(lambda: counted.begun == 1, what="under way")
        others = [threads.submit(counted.put, f"n{number}") for number in range(15)]
        until(lambda: len(counted.group._line) == 16, what="all have come")
        counted.hold.set()
        assert (first.result(10), {other.result(10) for other in others}) == (1, {2})
    assert (len(counted.names()), counted.commits, counted.told) == (16, 2, 2)


def test_nothing_is_lost_or_done_twice_however_they_come(counted: Counted) -> None:
    counted.hold.set()
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(counted.put, (f"n{number}" for number in range(400))))
    assert counted.names() == {f"n{number}" for number in range(400)}
    assert set(done) == set(range(1, counted.begun + 1))
    assert counted.told == counted.commits == counted.begun


def test_what_fails_is_told_to_whoever_wanted_it_and_the_others_are_done(counted: Counted) -> None:
    counted.hold.set()
    counted.put("there")
    counted.hold.clear()
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(counted.put, "first")
        until(lambda: counted.begun == 2, what="under way")
        names = ("a", "there", "b")
        others = [threads.submit(counted.put, name) for name in names]
        until(lambda: len(counted.group._line) == 4, what="all have come")
        counted.hold.set()
        first.result(10)
        failed = [other.exception(10) for other in others]
    assert [type(error) for error in failed] == [type(None), IntegrityError, type(None)]
    assert counted.names() == {"there", "first", "a", "b"}


def test_where_the_database_is_away_each_is_told_so_once_and_the_next_may_try(counted: Counted) -> None:
    with ThreadPoolExecutor(8) as threads:
        counted.why = OperationalError("BEGIN", {}, Exception("away"))
        first = threads.submit(counted.put, "first")
        until(lambda: counted.begun == 1, what="under way")
        others = [threads.submit(counted.put, f"n{number}") for number in range(3)]
        until(lambda: len(counted.group._line) == 4, what="all have come")
        counted.hold.set()
        assert {type(each.exception(10)) for each in (first, *others)} == {OperationalError}
    assert (counted.begun, counted.told, counted.names()) == (2, 0, set())
    counted.why = None
    counted.put("again")
    assert counted.names() == {"again"}


def test_it_is_told_before_anybody_is_answered(counted: Counted) -> None:
    counted.hold.set()
    for number in range(3):
        counted.put(f"n{number}")
        assert counted.told == number + 1


def test_what_cannot_be_told_is_raised_and_not_done_again(counted: Counted) -> None:
    def cannot() -> None:
        raise OSError("no more files")

    counted.hold.set()
    group = GroupCommit(counted.engine, lambda _: None, cannot)
    with pytest.raises(OSError, match="no more files"):
        group.run(lambda connection, _: connection.execute(insert(meta).values(name="once", value=1)))
    assert counted.names() == {"once"}
    counted.put("next")
