"""Who the callers are, by what the upstream itself has shown: their own record, or the one with their name.

Only what was seen is looked up; the upstream is never asked, so that its failure can be nobody's denial. None: unknown.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import orjson
from sqlalchemy import Connection, Engine, select

from sidecar.contract import Contract
from sidecar.standby import queries
from sidecar.standby.tables import KNOWN, identities, records

FRESH: Final = 5.0
"""Seconds for which the names in the records are not read anew."""
Names = dict[str, frozenset[str]]


class People:
    """One per process."""

    def __init__(self, contract: Contract, engine: Engine) -> None:
        self._reader = engine.execution_options(writes=False)
        named = [resource for resource in contract.resources.values() if resource.username_field]
        self._kind = named[0].name if named else None
        self._field = str(named[0].username_field) if named else ""
        self._names: Names = {}
        self._read = -FRESH
        self._lock = threading.Lock()

    def own(self, user: str) -> frozenset[str] | None:
        """The ids of the user's own record: what the upstream told them it is, else those with their name."""
        with self._reader.connect() as connection, connection.begin():
            told = frozenset(queries.own(connection, user))
            return told or self._named(connection).get(user)

    def everyone(self) -> Names:
        """Everybody who is known: user → the ids of their own records."""
        with self._reader.connect() as connection, connection.begin():
            told = {row.caller: frozenset([row.id]) for row in connection.execute(select(identities))}
            return {**self._named(connection), **told}

    def value(self, resource: str, record: str, field: str) -> str | None:
        """What the record's field holds, if nothing about it is in doubt. None: unknown."""
        with self._reader.connect() as connection, connection.begin():
            row = queries.record(connection, resource, record)
        value = orjson.loads(row.body).get(field) if row is not None and row.state == KNOWN else None
        return None if value is None else str(value)

    def _named(self, connection: Connection) -> Names:
        with self._lock:
            if self._kind is None or time.monotonic() - self._read < FRESH:
                return self._names
            found: dict[str, set[str]] = {}
            query = select(records.c.id, records.c.body).where(records.c.type == self._kind, records.c.state == KNOWN)
            for row in connection.execute(query):
                name = orjson.loads(row.body).get(self._field)
                if isinstance(name, str):
                    found.setdefault(name, set()).add(row.id)
            self._names = {name: frozenset(ids) for name, ids in found.items()}
            self._read = time.monotonic()
            return self._names
