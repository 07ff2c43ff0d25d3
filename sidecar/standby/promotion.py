"""The standby as a resource's owner: promotion, demotion, and what speaks against either.

Once promoted, the upstream is not asked about the resource any more: what is known is what is true, ids go on above the
highest real one, and the writes are kept, sealed, so that a demotion can replay what the upstream has missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from sidecar.clock import stamp
from sidecar.contract import Action, Contract
from sidecar.standby import knowledge
from sidecar.standby.observations import RecordSeen
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import UNSETTLED, Outbox, State
from sidecar.standby.outbox.overlay import merged
from sidecar.standby.tables import DOUBT, GONE, KNOWN, collections, owners, records, writes


class NotFit(RuntimeError):
    """Promotion is refused; `reasons` say why."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Promotion:
    """Moves resources between the upstream and the standby."""

    def __init__(
        self, contract: Contract, engine: Engine, outbox: Outbox, completeness: Callable[[], Mapping[str, Any]],
        parity: Callable[[str], float | None], unproven: Callable[[str], str | None], *, least_parity: float,
    ) -> None:  # fmt: skip
        """By endpoint, `parity` tells the share of equal answers, and `unproven` what no comparison has proven."""
        self._contract = contract
        self._engine = engine
        self._outbox = outbox
        self._completeness = completeness
        self._parity = parity
        self._unproven = unproven
        self._least = least_parity

    def doubts(self, kind: str) -> list[str]:
        """What speaks against promoting the resource, in sentences; empty: nothing."""
        row, reasons = self._completeness()[kind], []
        if not row["complete"]:
            reasons.append(f"not all {kind} are known")
        if not row["verified"]:
            reasons.append(f"what is known of {kind} is unverified")
        if row["in_doubt"]:
            reasons.append(f"{row['in_doubt']} {kind} are in doubt")
        for endpoint in self._contract.endpoints.values():
            if endpoint.resource == kind and endpoint.safe:
                ratio = self._parity(endpoint.id)
                if ratio is not None and ratio < self._least:
                    reasons.append(f"parity of {endpoint.id} is {ratio:.1%}, below {self._least:.0%}")
                unproven = self._unproven(endpoint.id)
                if unproven is not None:
                    reasons.append(f"what {endpoint.id} answers is not proven: {unproven}")
        with self._engine.execution_options(writes=False).connect() as connection, connection.begin():
            reasons += _under_way(connection, kind)
        view = self._outbox.snapshot()
        for target in set(self._contract.resources[kind].references.values()):
            if target != kind and any(write.action is Action.CREATE for write in view.pending(target)):
                reasons.append(f"{target} has creates that are not settled")
        return reasons

    def promote(self, kind: str, by: str, reason: str, *, force: bool) -> list[str]:
        """Makes the standby the owner. Returns the doubts that were overruled. Raises NotFit."""
        doubts = self.doubts(kind)
        if doubts and not force:
            raise NotFit(doubts)
        with self._engine.begin() as connection:
            if kind in set(connection.scalars(select(owners.c.type))):
                return []
            if not force and (begun := _under_way(connection, kind)):
                raise NotFit(begun)
            now = stamp()
            connection.execute(insert(owners).values(type=kind, since=time.time_ns(), by=by, reason=reason))
            self._make_certain(connection, kind, now)
            self._make_ours(connection, kind, now)
            box.changed(connection)
        self._outbox.touch()
        return doubts

    def demote(self, kind: str) -> int:
        """Gives the resource back: what the upstream missed is replayed. Returns the number of writes to replay."""
        with self._engine.begin() as connection:
            connection.execute(delete(owners).where(owners.c.type == kind))
            now, missed = stamp(), 0
            for row in box.unsettled(connection, (State.OWNED,)):
                if row.type != kind:
                    continue
                missed += 1
                box.change(connection, row.id, state=State.PENDING, due=now)
                if row.action == Action.CREATE:
                    where = (records.c.type == kind) & (records.c.id == row.record)
                    connection.execute(delete(records).where(where))
                else:
                    self._as_before(connection, kind, row, now)
            values = {"complete": False, "stamp": now}
            connection.execute(update(collections).where(collections.c.type == kind).values(**values))
            box.changed(connection)
        self._outbox.touch()
        return missed

    def owned(self) -> dict[str, dict[str, Any]]:
        """Per promoted resource: since (wall ns), by, reason."""
        with self._engine.execution_options(writes=False).connect() as connection, connection.begin():
            rows = connection.execute(select(owners)).all()
        return {row.type: {"since": row.since, "by": row.by, "reason": row.reason} for row in rows}

    def _make_certain(self, connection: Connection, kind: str, now: int) -> None:
        """What was last seen is what is true: nobody can say better."""
        of_kind = records.c.type == kind
        doubtful = of_kind & (records.c.state == DOUBT)
        connection.execute(update(records).where(doubtful, records.c.body.is_not(None)).values(state=KNOWN, stamp=now))
        connection.execute(update(records).where(doubtful, records.c.body.is_(None)).values(state=GONE, stamp=now))
        values = {"complete": True, "stamp": now, "observed": time.time_ns()}
        if connection.execute(update(collections).where(collections.c.type == kind).values(**values)).rowcount == 0:
            connection.execute(insert(collections).values(type=kind, private=False, **values))
        unclear = (writes.c.type == kind) & writes.c.outcome.in_(("open", "unknown"))
        connection.execute(update(writes).where(unclear).values(outcome="failure", ended=now))

    def _make_ours(self, connection: Connection, kind: str, now: int) -> None:
        """Writes that were waiting for the upstream take effect here."""
        resource = self._contract.resources[kind]
        for row in box.unsettled(connection, UNSETTLED):
            if row.type != kind:
                continue
            write = box.pending(connection, self._contract, row)
            if write.action is Action.DELETE:
                knowledge.drop_record(connection, kind, write.record, now)
            else:
                body = write.body or self._known(connection, kind, write.record)
                if body is None:
                    continue  # of a record that nobody knows: it stays parked
                value = body if write.action is Action.CREATE else merged(resource, body, write)
                seen = RecordSeen(kind, write.record, orjson.dumps(value).decode())
                knowledge.put_record(connection, seen, now)
            box.change(connection, row.id, state=State.OWNED)

    def _known(self, connection: Connection, kind: str, record: str) -> dict[str, Any] | None:
        query = select(records.c.body).where(records.c.type == kind, records.c.id == record, records.c.state == KNOWN)
        body = connection.scalar(query)
        return None if body is None else orjson.loads(body)

    def _as_before(self, connection: Connection, kind: str, row: Any, now: int) -> None:
        """The upstream still has the record as it was before the first write that it missed."""
        current = connection.scalar(select(records.c.stamp).where(records.c.type == kind, records.c.id == row.record))
        if row.base is not None and current != now:
            knowledge.put_record(connection, RecordSeen(kind, row.record, row.base), now)


def _under_way(connection: Connection, kind: str) -> list[str]:
    """Writes of which the upstream may yet make a record, with an id that the standby would give to another."""
    open_ = select(func.count()).select_from(writes).where(writes.c.type == kind, writes.c.ended.is_(None))
    count = connection.scalar(open_)
    return [f"{count} writes of {kind} are under way"] if count else []
