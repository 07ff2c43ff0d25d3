"""The same is asked again and again: a connection that remembers what it was told.

Within a transaction nothing changes but what it changes itself (those that may write come one after another, see
`database`): a statement that writes to a table ends what is remembered of it. The next transaction on the same database
connection goes on from there, unless anybody has written to the file in between. SQLite tells: by `PRAGMA data_version`
of other connections, and by how many rows this one itself has changed. PostgreSQL has nothing as cheap: there each
transaction begins anew.

Only what was `remembered` by its author is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Dialect, Engine, Executable, Table
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate

S = TypeVar("S", bound=SelectBase)
_TABLES: Final[dict[object, frozenset[Table]]] = {}
"""Of each statement that is remembered the tables that it reads."""
_DESPITE: Final[dict[object, Collection[UpdateBase]]] = {}
"""Of each of them what may be written there and tells it nothing new."""
MOST: Final = 256
"""Answers, above which a new transaction begins to remember anew: each connection has its own, and rows hold bodies."""
_KEPT: Final = "understudy_told"


def remembered(statement: S, despite: Collection[UpdateBase] = ()) -> S:
    """The statement itself, a constant of its module: its answers may be remembered, also `despite` these, which write
    to its tables and change nothing that it asks."""
    _TABLES[statement] = frozenset(each for each in iterate(statement) if isinstance(each, Table))
    _DESPITE[statement] = tuple(despite)
    return statement


class Rows(list[Any]):
    """What a question was answered, as often as it is asked."""

    all = list.copy

    def one(self) -> Any:
        assert len(self) == 1
        return self[0]

    def first(self) -> Any:
        return self[0] if self else None

    def one_or_none(self) -> Any:
        assert len(self) <= 1
        return self.first()


class Told:
    """What was answered, by what was asked; and in which state of the file, if that is known. Of a transaction that has
    written and is not committed it is no state that the file ever has."""

    def __init__(self, at: tuple[int, int] | None = None) -> None:
        self.at = at
        self.by_question: dict[tuple[object, ...], Rows] = {}
        self.by_table: dict[Table, set[tuple[object, ...]]] = {}


class Remembering:
    """What a connection does, inside one transaction."""

    def __init__(self, connection: Connection, told: Told) -> None:
        self._connection = connection
        self._told = told

    @property
    def info(self) -> dict[Any, Any]:
        """What is kept with the database connection."""
        return self._connection.info

    @property
    def dialect(self) -> Dialect:
        """Of the database connection."""
        return self._connection.dialect

    def execute(self, statement: Executable, given: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> Any:
        if (tables := _TABLES.get(statement)) is not None:
            return self._ask(statement, cast(Mapping[str, Any], given or {}), tables)
        if isinstance(statement, UpdateBase):
            self._forget(statement)
        elif not isinstance(statement, SelectBase):
            self._told.by_question.clear()
        return self._connection.execute(statement, given or None)

    def scalar(self, statement: Executable, given: Mapping[str, Any] | None = None) -> Any:
        if statement not in _TABLES:
            return self.execute(statement, given or ()).scalar()
        rows = self.execute(statement, given or ())
        return rows[0][0] if rows else None

    def scalars(self, statement: Executable, given: Mapping[str, Any] | None = None) -> Any:
        if statement not in _TABLES:
            return self.execute(statement, given or ()).scalars()
        return Rows(row[0] for row in self.execute(statement, given or ()))

    def _ask(self, statement: Executable, given: Mapping[str, Any], tables: frozenset[Table]) -> Rows:
        asked = (statement, *given.items())
        found = self._told.by_question.get(asked)
        if found is None:
            found = self._told.by_question[asked] = Rows(self._connection.execute(statement, given or None).all())
            for table in tables:
                self._told.by_table.setdefault(table, set()).add(asked)
        return found

    def _forget(self, written: UpdateBase) -> None:
        about = self._told.by_table.get(cast(Table, written.table), set())
        over = {asked for asked in about if all(each is not written for each in _DESPITE[asked[0]])}
        about -= over
        for asked in over:
            self._told.by_question.pop(asked, None)


def recalling(connection: Connection) -> Connection:
    """The same connection, for as long as its transaction, which writes nothing."""
    return cast(Connection, Remembering(connection, _told(connection)))


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write, and what it does is remembered once it is committed."""
    with engine.begin() as transaction:
        told = _told(transaction)
        yield cast(Connection, Remembering(transaction, told))
        at = _state(transaction)
    told.at = at  # whoever came in between has found another state, and begun anew


def _told(connection: Connection) -> Told:
    at = _state(connection)
    told: Told | None = connection.info.get(_KEPT) if at is not None else None
    if told is None or told.at != at or len(told.by_question) > MOST:
        told = Told(at)
        if at is not None:
            connection.info[_KEPT] = told
    return told


def _state(connection: Connection) -> tuple[int, int] | None:
    """Is another one after every change to the file; of the moment that the transaction shows, which this begins."""
    if connection.dialect.name != "sqlite":
        return None
    driver: Any = connection.connection.driver_connection
    return driver.execute("PRAGMA data_version").fetchone()[0], driver.total_changes


def remembers(connection: Connection) -> bool:
    """Whether it is cheaper to ask one question of many things than one of each."""
    return isinstance(connection, Remembering)
