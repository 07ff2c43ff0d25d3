"""The database of the standby, the outbox, takeovers and leases: SQLite in DATA, or PostgreSQL, by one code path.

Promises, of both: transactions that may write come one after another, and one that only reads sees one moment. What is
decided in a transaction from what it read there is therefore right, and the rules in `standby` are written for that.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as SATimeout

from sidecar.settings import PREFIX, Settings
from sidecar.storage import incarnation
from sidecar.storage.encryption import VAULT, open_vault
from sidecar.storage.migrate import MIGRATIONS, DatabaseAway, Schema, refuse_damaged
from sidecar.storage.off_loop import OffLoopPool
from sidecar.storage.write_lock import Turns, attempt

LOCK_NOT_AVAILABLE: Final = "55P03"
"""PostgreSQL's word for a lock that was waited for in vain."""
PATIENCE: Final = 5.0
"""Seconds that a transaction, and any statement, to an SQLite file waits for others to end, at the most."""
HURRIED: Final = 2.0
"""Seconds that a statement of the request path may take, where users do not wait for longer than twice that."""
UNHURRIED: Final = 60.0
"""Seconds that any other may: of people's commands, of the dashboard, of a migration."""
CONNECTIONS: Final = 32
"""To an SQLite file, kept open by a process that needed so many at once. More are opened when they are needed: who only
reads must not wait for those who wait to write."""
GLANCE: Final[dict[str, Any]] = {"writes": None, "isolation_level": "AUTOCOMMIT"}
"""Execution options of an engine that asks one question at a time: no transaction, and none of its round trips."""
SCHEMA: Final = Schema("sidecar", MIGRATIONS / "versions")
metadata: Final = MetaData()
"""Every table of the sidecar; the modules that own them declare them here."""


def open_engine(settings: Settings, patience: float = UNHURRIED) -> Engine:
    """An engine for this process. Engines are not shared over fork: each process opens its own. `patience`: seconds
    that a statement to a shared database may take, and that others are waited for who write to a file."""
    if settings.database:
        from sidecar.storage.postgresql import open_server  # its driver is an extra

        engine = open_server(settings.database, patience)
        event.listen(engine, "connect", incarnation.note)
    else:
        engine = open_file(settings.data / "understudy.db", min(PATIENCE, patience))
    setattr(
        engine.dialect, VAULT, open_vault(settings)
    )  # where encrypted columns find it (storage/encrypted_columns.py)
    return engine


def in_request(settings: Settings) -> float:
    """The patience of what a user may be waiting for: there must be time left for an answer without the database, and
    nobody is refused who would have waited for longer."""
    return min(max(HURRIED, settings.deadline / 2), settings.deadline * 0.8)


def is_away(error: SQLAlchemyError) -> bool:
    """Whether an error says that the server cannot be reached, or is stopping; and not that a lock was waited for."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, SATimeout)
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(error, OperationalError | InterfaceError) and (state is None or state[:3] in ("57P", "080"))


@contextmanager
def or_away(settings: Settings) -> Iterator[None]:
    """Raises DatabaseAway where a server cannot be reached, or others write for longer than anybody waits, for what is
    done with it within; and SettingError for a file that is damaged."""
    try:
        yield
    except SQLAlchemyError as error:
        refuse_damaged(error)
        if not settings.database:
            raise
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise DatabaseAway(f"{PREFIX}DATABASE: others write to it all the time") from None
        if not is_away(error):
            raise
        raise DatabaseAway(f"{PREFIX}DATABASE: it does not answer ({type(error).__name__})") from None


def open_file(path: Path, patience: float = PATIENCE) -> Engine:
    """An engine for an SQLite file, whose folder is made if it is missing. `patience`: seconds that a transaction, and
    any statement, waits for others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the connection that was given back last: it remembers most (remembered.py)
    engine = create_engine(
        f"sqlite:///{path}", poolclass=OffLoopPool, pool_size=CONNECTIONS, max_overflow=-1, pool_use_lifo=True
    )
    turns = Turns(path.with_name(path.name + "-turn"))
    event.listen(engine, "connect", partial(_sqlite, patience=patience))
    event.listen(engine, "begin", partial(_begin, turns=turns, patience=patience))
    return engine


def open_memory() -> Engine:
    """An engine for an SQLite database that is gone with it."""
    engine = create_engine("sqlite://")
    event.listen(engine, "connect", _sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def create_all(engine: Engine) -> None:
    """Brings the tables to what this program knows. Raises SchemaError for what a later one has made."""
    SCHEMA.upgrade(engine)


def _sqlite(connection: Any, _record: Any, patience: float = PATIENCE) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late; see _begin
    for pragma in ("journal_mode=WAL", "synchronous=FULL", _busy(patience), "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _busy(patience: float) -> str:
    return f"busy_timeout={int(patience * 1000)}"


def _begin(connection: Any, turns: Turns | None = None, patience: float = PATIENCE) -> None:
    """A transaction that may write takes its lock at once: upgrading a read lock can fail at any time."""
    writes = connection.get_execution_options().get("writes", True)
    if writes and turns is not None:
        _begin_in_turn(connection, turns, patience)
    elif writes is not None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_in_turn(connection: Any, turns: Turns, patience: float) -> None:
    driver, until = connection.connection.driver_connection, time.monotonic() + patience
    driver.execute(f"PRAGMA {_busy(0)}")
    try:
        with turns.turn(until):
            if not attempt(partial(_immediate, driver), until):
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails, most likely, and says so
    finally:
        driver.execute(f"PRAGMA {_busy(patience)}")


def _immediate(driver: sqlite3.Connection) -> bool:
    """Begins, unless another writes."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True
