"""People who are gone, have another name, or another password: what was accepted of them before counts no more.

Whoever changes what is known of people's records does so within `watch`, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import orjson
from sqlalchemy import Connection, select

from sidecar.contract import Contract
from sidecar.standby import queries
from sidecar.standby.known_callers import Callers
from sidecar.standby.observations import RecordSeen
from sidecar.standby.tables import records

_NAMED: Final = select(records.c.id, records.c.body).where(records.c.body.is_not(None))


class Departures:
    """One per process."""

    def __init__(self, contract: Contract, callers: Callers) -> None:
        self._contract = contract
        self._callers = callers

    @contextmanager
    def watch(self, connection: Connection, kind: str) -> Iterator[None]:
        """While what is known of a resource changes: names that its records bore and bear no more are forgotten."""
        field = self._field(kind)
        if field is None:
            yield
            return
        before = self._names(connection, kind, field)
        yield
        after = self._names(connection, kind, field)
        for ident, name in before.items():
            if after.get(ident) != name:
                self._callers.forget(connection, name)

    def new_password(self, connection: Connection, kind: str, record: str | None, seen: RecordSeen | None) -> None:
        """The upstream has confirmed a write that sets a password, whose record its answer shows (`seen`) or not."""
        field = self._field(kind)
        if field is None:
            return
        row = None if record is None else queries.record(connection, kind, record)
        bodies = [row.body if row is not None else None, seen.body if seen is not None else None]
        names = {orjson.loads(body).get(field) for body in bodies if body is not None}
        for name in names:
            if isinstance(name, str):
                self._callers.forget(connection, name)

    def _field(self, kind: str) -> str | None:
        resource = self._contract.resources.get(kind)
        return resource.username_field if resource is not None else None

    def _names(self, connection: Connection, kind: str, field: str) -> dict[str, str]:
        found = {}
        for row in connection.execute(_NAMED.where(records.c.type == kind)):
            name = orjson.loads(row.body).get(field)
            if isinstance(name, str):
                found[row.id] = name
        return found
