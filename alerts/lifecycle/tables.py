"""Where alerts are kept: alerts.db in DATA, or DATABASE. Tables of their own; the sidecar's are not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Engine, Integer, MetaData, String, Table, Text

from sidecar.settings import Settings
from sidecar.storage.database import open_engine, open_file
from sidecar.storage.lease import leases as _leases
from sidecar.storage.migrate import Schema

SCHEMA: Final = Schema("alerts", Path(__file__).parent / "migrations")
metadata: Final = MetaData()

alerts: Final = Table(
    "alerts",
    metadata,
    Column("key", String(16), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("source", String(50), nullable=False),
    Column("labels", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("fired_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("told", Boolean, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("acknowledged_by", String(200), nullable=False),
    Column("silenced_until", BigInteger, nullable=False),
    Column("silenced_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("flaps", Integer, nullable=False, server_default="0"),
    Column("part_of", String(16), nullable=False, server_default=""),
)

silences: Final = Table(
    "alert_silences",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("matchers", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
)
"""Of all alerts with these labels, also of such as are not there yet."""

history: Final = Table(
    "alert_history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("key", String(16), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
)

deliveries: Final = Table(
    "alert_deliveries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("channel", String(50), nullable=False),
    Column("line", String(200), nullable=False, index=True),
    Column("content", Text, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("tries", Integer, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("done_at", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
    Column("message", String(300), nullable=False, server_default=""),
)
"""A notice for a channel. Within a `line` (a channel's group) one follows another: what is resolved never overtakes
what fired. `message` is the key of the message that tells it, empty until there is one."""

messages: Final = Table(
    "alert_messages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("line", String(200), nullable=False, index=True),
    Column("made_at", BigInteger, nullable=False),
    Column("status", String(20), nullable=False),
    Column("content", Text, nullable=False),
)
"""What is sent, word for word the same at every attempt."""

leases: Final = _leases.to_metadata(metadata)


def open_alerts(settings: Settings) -> Engine:
    """The engine, its tables as this program knows them. Raises SchemaError for what a later one has made."""
    engine = open_engine(settings) if settings.database else open_file(settings.data / "alerts.db")
    SCHEMA.upgrade(engine)
    return engine
