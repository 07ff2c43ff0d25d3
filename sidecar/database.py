"""The database of the standby, the outbox, takeovers and leases: SQLite in DATA, or PostgreSQL, by one code path.

Promises, of both: transactions that may write come one after another, and one that only reads sees one moment. What is
decided in a transaction from what it read there is therefore right, and the rules in `standby` are written for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, MetaData, create_engine, event

from sidecar.schema import MIGRATIONS, Schema
from sidecar.settings import Settings
from sidecar.vault import VAULT, open_vault

WRITERS: Final = 0x756E6465727374
"""The advisory lock of PostgreSQL's writers: any number that is ours."""
SCHEMA: Final = Schema("sidecar", MIGRATIONS / "versions")
metadata: Final = MetaData()
"""Every table of the sidecar; the modules that own them declare them here."""


def open_engine(settings: Settings) -> Engine:
    """An engine for this process. Engines are not shared over fork: each process opens its own."""
    if settings.database:
        engine = create_engine(settings.database, pool_pre_ping=True, connect_args={"connect_timeout": 2})
        event.listen(engine, "begin", _begin_shared)
    else:
        engine = open_file(settings.data / "understudy.db")
    setattr(engine.dialect, VAULT, open_vault(settings))  # where encrypted columns find it (standby/locked.py)
    return engine


def open_file(path: Path) -> Engine:
    """An engine for an SQLite file, whose folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _sqlite)
    event.listen(engine, "begin", _begin)
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


def _sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late; see _begin
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_shared(connection: Any) -> None:
    """PostgreSQL's writers queue up for one lock, as SQLite's do for the file; its readers get a snapshot."""
    if connection.get_execution_options().get("writes", True):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _begin(connection: Any) -> None:
    """A transaction that may write takes its lock at once: upgrading a read lock can fail at any time."""
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
