"""Writes that went past us to the upstream, as their copies tell. Nobody here knows what became of them.

Promises: from the copy on, nothing that the write may have changed is answered from, until a clean look at the upstream
that began when the write could no longer take effect. A copy whose request then comes to us after all, for the upstream
was never reached, is withdrawn: everything is as it was. Which of the two is heard of first makes no difference.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from sidecar.clock import earliest, stamp
from sidecar.contract import Action, Contract, Match
from sidecar.http.messages import Request
from sidecar.standby import knowledge, queries
from sidecar.standby.tables import DOUBT, records, writes

_BEFORE: Final = "copy:"
"""In the place of the process that holds a write: how its record was known before, and since when (a stamp)."""


class Passing:
    """`patience`: ns after its copy within which a write may take effect."""

    def __init__(self, contract: Contract, engine: Engine, patience: int) -> None:
        self._contract = contract
        self._engine = engine
        self._patience = patience

    def passed(self, key: str, match: Match, request: Request, user: str | None) -> None:
        """A copy of a write. `key` names its request. Raises SQLAlchemyError."""
        try:
            with self._engine.begin() as connection:
                self._passed(connection, key, match, request, user)
        except IntegrityError:
            return  # it came twice, or was withdrawn before it came

    def _passed(self, connection: Connection, key: str, match: Match, request: Request, user: str | None) -> None:
        endpoint, record, now = match.endpoint, match.record_id, stamp()
        assert endpoint is not None
        assert endpoint.resource is not None
        kind = endpoint.resource
        before = queries.record(connection, kind, record) if record is not None else None
        fields = knowledge.filter_fields(self._contract, endpoint, request.body)
        was = "" if before is None else f"{before.state} {before.stamp}"
        row = {"endpoint": endpoint.id, "type": kind, "record": record, "user": user, "fields": fields}
        row["process"] = f"{_BEFORE}{was}"
        self._keep(connection, key, "unknown", earliest(), now + self._patience, row)
        knowledge.changed(connection, kind, now)
        if record is not None and before is not None:
            knowledge.doubt_record(connection, kind, record, now)
        if record is not None and endpoint.action is Action.DELETE:
            knowledge.doubt_referrers(connection, self._contract, kind, record, now)

    def withdrawn(self, key: str) -> None:
        """The request whose copy has this key never reached the upstream: it is here now. Raises SQLAlchemyError."""
        try:
            with self._engine.begin() as connection:
                nothing = {"endpoint": "", "type": "", "record": None, "user": None, "fields": "{}"}
                self._keep(connection, key, "failure", stamp(), stamp(), {**nothing, "process": _BEFORE})
        except IntegrityError:
            with self._engine.begin() as connection:
                self._restore(connection, key)

    def _restore(self, connection: Connection, key: str) -> None:
        row, now = connection.execute(select(writes).where(writes.c.id == _id(key))).one_or_none(), stamp()
        if row is None or row.outcome != "unknown":
            return
        connection.execute(update(writes).where(writes.c.id == row.id).values(outcome="failure", ended=now))
        before, _, known_at = row.process.removeprefix(_BEFORE).partition(" ")
        known = before and before != DOUBT and known_at
        if known and knowledge.clean(connection, row.type, row.record, row.started, but=row.id):
            where = (records.c.type == row.type) & (records.c.id == row.record)
            connection.execute(update(records).where(where).values(state=before, stamp=int(known_at)))

    def _keep(
        self, connection: Connection, key: str, outcome: str, started: int, ended: int, row: dict[str, Any]
    ) -> None:
        times = {"accepted_at": time.time_ns(), "started": started, "ended": ended}
        connection.execute(insert(writes).values(id=_id(key), outcome=outcome, **times, **row))


def _id(key: str) -> str:
    return f"copy-{key}"
