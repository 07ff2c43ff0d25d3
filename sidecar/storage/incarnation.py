"""Which life of a PostgreSQL server a connection belongs to: the promotion of a replica begins another.

An asynchronous replica that is promoted lacks the last transactions of its primary, and no count of ours can be relied
on to show it: they may be the last few milliseconds'. The server itself says so: its timeline has another number. It is
asked once a connection, when it is made; a server in recovery is refused there (`target_session_attrs`), so no
connection outlives a promotion. Behind a pooler one does: there it is asked in each transaction.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection

log = logging.getLogger(__name__)
_ASK: Final = (
    "SELECT system_identifier::text || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
    " FROM pg_control_system()"
)
_KEPT: Final = "understudy_incarnation"


def note(connection: Any, record: Any) -> None:
    """Of a new connection, as SQLAlchemy's pool tells of it. A server that cannot say has none: only the mark tells."""
    found = 0
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ASK)
            found = number(str(cursor.fetchone()[0]))
    except Exception as error:  # whatever the driver calls it: a server like PostgreSQL that has no such function
        log.info("the server does not say which life it is in: %s", type(error).__name__)
    finally:
        connection.rollback()
    record.info[_KEPT] = found


def note_now(connection: Connection) -> None:
    """Of the server that has this very transaction. Raises SQLAlchemyError where it cannot say, as one in recovery."""
    connection.info[_KEPT] = number(str(connection.exec_driver_sql(_ASK).scalar_one()))


def number(said: str) -> int:
    """63 bits that tell one life from another, never 0."""
    return (int.from_bytes(sha256(said.encode()).digest()[:8], "big") >> 1) | 1


def of(connection: Connection) -> int:
    """The life that a connection belongs to; 0: it has none that could be told (SQLite)."""
    return int(connection.info.get(_KEPT, 0))
