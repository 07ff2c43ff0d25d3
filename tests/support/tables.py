"""Tables as the migrations make them, for tests that need a database each: migrated once, and copied."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import cast

from sqlalchemy import Engine

from sidecar.storage.database import SCHEMA, open_memory
from sidecar.storage.migrate import Schema


@cache
def _migrated(*schemas: Schema) -> sqlite3.Connection:
    engine, kept = open_memory(), sqlite3.connect(":memory:", check_same_thread=False)
    for schema in schemas:
        schema.upgrade(engine)
    _copy(engine, lambda made: made.backup(kept))
    engine.dispose()
    return kept


def lay(engine: Engine, *schemas: Schema) -> None:
    """Into an empty SQLite database; the sidecar's where none is named."""
    _copy(engine, _migrated(*(schemas or (SCHEMA,))).backup)


def _copy(engine: Engine, copy: Callable[[sqlite3.Connection], None]) -> None:
    connection = engine.raw_connection()
    try:
        copy(cast("sqlite3.Connection", connection.driver_connection))
    finally:
        connection.close()
