"""INSERT with ON CONFLICT, which SQLite and PostgreSQL spell alike and SQLAlchemy keeps apart.

Each dialect is imported where it is used: PostgreSQL's costs every start 40 ms, and few have it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table


def dialect_insert(dialect: str, table: Table) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
