"""The standby's tables. What is known, what was begun, who may see it: SQLite or PostgreSQL by one code path."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger, Boolean, Column, Connection, Engine, Float, Index, Integer, LargeBinary, String, Table, Text, delete,
    insert, select, update,
)  # fmt: skip

from sidecar.database import metadata

records: Final = Table(
    "standby_records",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("id", String(200), primary_key=True),
    Column("body", Text),
    Column("state", String(8), nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
    Column("digest", String(64)),
    Column("generation", Integer, nullable=False),
)
collections: Final = Table(
    "standby_collections",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("complete", Boolean, nullable=False),
    Column("ordered", Boolean, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
)
writes: Final = Table(
    "standby_writes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("type", String(100), primary_key=True),
    Column("record", String(200), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("process", String(200), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("outcome", String(8)),
    Column("prior", String(8), nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Index("standby_writes_type", "type", "ended"),
)
views: Final = Table(
    "standby_views",
    metadata,
    Column("caller", String(200), primary_key=True),
    Column("type", String(100), primary_key=True),
    Column("filters", String(500), primary_key=True),
    Column("ids", Text, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
)
sightings: Final = Table(
    "standby_sightings",
    metadata,
    Column("caller", String(200), primary_key=True),
    Column("type", String(100), primary_key=True),
    Column("id", String(200), primary_key=True),
)
credentials: Final = Table(
    "standby_credentials",
    metadata,
    Column("user", String(200), primary_key=True),
    Column("hash", String(300), primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("retired", BigInteger, nullable=False),
)
revocations: Final = Table("standby_revocations", metadata, Column("user", String(200), primary_key=True))
identities: Final = Table(
    "standby_identities",
    metadata,
    Column("user", String(200), primary_key=True),
    Column("type", String(100), primary_key=True),
    Column("id", String(200), nullable=False),
    Column("generation", Integer, nullable=False),
)
replies: Final = Table(
    "standby_replies",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("key", String(500), primary_key=True),
    Column("status", Integer, nullable=False),
    Column("media", String(200), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("observed", BigInteger, nullable=False),
)
shapes: Final = Table(
    "standby_shapes",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("status", Integer, primary_key=True),
    Column("media", String(200), nullable=False),
    Column("body", LargeBinary),
)
meta: Final = Table(
    "standby_meta", metadata, Column("key", String(200), primary_key=True), Column("value", Text, nullable=False)
)
scores: Final = Table(
    "standby_scores",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("endpoint", String(200), nullable=False),
    Column("verdict", String(10), nullable=False),
    Column("at", Float, nullable=False),
    Column("sample", Text),
    Index("standby_scores_endpoint", "endpoint", "id"),
)


def put(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Updates the row with that key, or inserts it."""
    where = [table.c[name] == value for name, value in key.items()]
    changed = connection.execute(update(table).where(*where).values(**values)) if values else None
    if changed is None or changed.rowcount == 0:
        if changed is None and connection.execute(select(1).select_from(table).where(*where)).first():
            return
        connection.execute(insert(table).values(**key, **values))


def drop(connection: Connection, table: Table, **key: Any) -> None:
    """Deletes the rows with those values."""
    connection.execute(delete(table).where(*(table.c[name] == value for name, value in key.items())))


def reader(engine: Engine) -> Any:
    """A read transaction: one snapshot, taking no lock."""
    options: dict[str, Any] = {"writes": False}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    return engine.connect().execution_options(**options)


def exclusive(connection: Connection) -> None:
    """One writer at a time, as SQLite's BEGIN IMMEDIATE already gives."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305501)")


def setting_of(connection: Connection, key: str, default: str) -> str:
    """A value of `meta`."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
    return default if value is None else str(value)
