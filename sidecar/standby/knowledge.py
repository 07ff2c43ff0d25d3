"""Applies writes and observations to the tables, by one rule: what a write may have touched is in doubt until it is
seen in an answer whose request began after that write had ended.

Every function runs inside the caller's exclusive transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from sidecar.contract import Action, Contract
from sidecar.standby.learn import Listed, Observation, Record, Seen, Withheld
from sidecar.standby.answer import in_order
from sidecar.standby.store import (
    collections, drop, identities, meta, put, records, setting_of, sightings, views, writes,
)  # fmt: skip

MEMBERSHIP: Final = ("create", "delete", "cascade")


class Knowledge:
    """The rule, over one contract."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def tightened(self, connection: Connection, kind: str) -> bool:
        """Whether the resource is answered only to callers who were shown the record."""
        declared = self._contract.resources[kind].visibility == "caller"
        return declared or setting_of(connection, f"tightened:{kind}", "") == "yes"

    def dependents(self, kind: str) -> list[str]:
        """Resources that reference this one, directly or not."""
        found: list[str] = []
        waiting = [kind]
        while waiting:
            target = waiting.pop()
            for name, resource in self._contract.resources.items():
                if target in resource.references.values() and name not in found:
                    found.append(name)
                    waiting.append(name)
        return found

    def since(self, connection: Connection, kind: str, t0: int) -> list[tuple[str, str]]:
        """(record, kind) of the writes on a resource that had not ended at t0."""
        late = or_(writes.c.ended.is_(None), writes.c.ended > t0)
        return [(r, k) for r, k in connection.execute(
            select(writes.c.record, writes.c.kind).where(writes.c.type == kind, late))]

    def doubt(self, connection: Connection, kind: str, ids: Iterable[str] | None = None) -> None:
        """These records (None: all) are unknown until seen again."""
        chosen = [records.c.type == kind] + ([records.c.id.in_(list(ids))] if ids is not None else [])
        connection.execute(update(records).where(*chosen).values(state="doubt", digest=None))
        self.bump(connection, kind)

    def incomplete(self, connection: Connection, kind: str) -> None:
        connection.execute(update(collections).where(collections.c.type == kind).values(complete=False))
        self.bump(connection, kind)

    def bump(self, connection: Connection, kind: str) -> None:
        connection.execute(
            update(collections).where(collections.c.type == kind).values(version=collections.c.version + 1)
        )

    def generation(self, connection: Connection, t0: int) -> int:
        """The generation of knowledge from a request begun at t0."""
        now = int(setting_of(connection, "generation", "0"))
        return now if t0 >= int(setting_of(connection, "verified_since", "0")) else now - 1

    def apply(self, connection: Connection, seen: Observation, caller: str | None, t0: int) -> None:
        late = self.since(connection, seen.type, t0)
        generation = self.generation(connection, t0)
        if isinstance(seen, Seen):
            self._seen(connection, seen, caller, t0, late, generation)
        elif isinstance(seen, Withheld):
            self._withheld(connection, seen, caller, t0, late, generation)
        else:
            self._listed(connection, seen, caller, t0, late, generation)

    def keep(self, connection: Connection, kind: str, record: Record, t0: int, generation: int) -> None:
        """The record is known to be so, as of t0. An older observation never replaces a newer one."""
        row = connection.execute(
            select(records.c.body, records.c.state, records.c.stamp).where(
                records.c.type == kind, records.c.id == record.id)
        ).first()
        if row is not None and row.stamp > t0 and row.state != "doubt":
            return
        values: dict[str, Any] = {"stamp": t0, "observed": time.time_ns(), "generation": generation, "state": "known"}
        put(connection, records, {"type": kind, "id": record.id}, {**values, "body": record.text})
        if row is None or row.body != record.text or row.state != "known":
            self.bump(connection, kind)

    def gone(self, connection: Connection, kind: str, number: str, t0: int, generation: int) -> None:
        put(connection, records, {"type": kind, "id": number}, {
            "state": "gone", "stamp": t0, "observed": time.time_ns(), "generation": generation})
        self.bump(connection, kind)

    def show(self, connection: Connection, caller: str | None, kind: str, ids: Iterable[str]) -> None:
        if caller is None:
            return
        had = set(connection.execute(select(sightings.c.id).where(
            sightings.c.caller == caller, sightings.c.type == kind)).scalars())
        new = [{"caller": caller, "type": kind, "id": number} for number in ids if number not in had]
        if new:
            connection.execute(sightings.insert(), new)

    def _seen(
        self, connection: Connection, seen: Seen, caller: str | None, t0: int, late: list[tuple[str, str]],
        generation: int,
    ) -> None:  # fmt: skip
        if any(kind == "cascade" or number == seen.record.id for number, kind in late):
            return
        self.keep(connection, seen.type, seen.record, t0, generation)
        self.show(connection, caller, seen.type, [seen.record.id])
        if seen.own and caller is not None and not any(kind == "create" for _, kind in late):
            key = {"user": caller, "type": seen.type}
            put(connection, identities, key, {"id": seen.record.id, "generation": generation})

    def _withheld(
        self, connection: Connection, seen: Withheld, caller: str | None, t0: int, late: list[tuple[str, str]],
        generation: int,
    ) -> None:  # fmt: skip
        if any(kind in MEMBERSHIP or number == seen.id for number, kind in late):
            return
        drop(connection, sightings, caller=caller or "", type=seen.type, id=seen.id)
        if self._contradicts(connection, seen.type, seen.id, generation):
            self._tighten(connection, seen.type, seen.id)
        elif seen.absent and not self.tightened(connection, seen.type):
            self.gone(connection, seen.type, seen.id, t0, generation)

    def _contradicts(self, connection: Connection, kind: str, number: str, generation: int) -> bool:
        row = connection.execute(select(records.c.state, records.c.generation).where(
            records.c.type == kind, records.c.id == number)).first()
        return row is not None and row.state == "known" and row.generation >= generation

    def _tighten(self, connection: Connection, kind: str, number: str) -> None:
        """The upstream hides from one caller what it showed another: from now on, only to whom it was shown."""
        if not self.tightened(connection, kind):
            put(connection, meta, {"key": f"tightened:{kind}"}, {"value": "yes"})
            self.doubt(connection, kind, [number])

    def _listed(
        self, connection: Connection, seen: Listed, caller: str | None, t0: int, late: list[tuple[str, str]],
        generation: int,
    ) -> None:  # fmt: skip
        touched = {number for number, _ in late}
        if any(kind == "cascade" for _, kind in late):
            return
        for record in seen.records:
            if record.id not in touched:
                self.keep(connection, seen.type, record, t0, generation)
        ids = [record.id for record in seen.records]
        self.show(connection, caller, seen.type, [number for number in ids if number not in touched])
        if any(kind in MEMBERSHIP for _, kind in late) or (seen.filters and late):
            return
        now = time.time_ns()
        if caller is not None:
            put(connection, views, {"caller": caller, "type": seen.type, "filters": json.dumps(seen.filters)}, {
                "ids": json.dumps(ids), "stamp": t0, "observed": now, "generation": generation})
        if not seen.filters:
            self._whole(connection, seen, set(ids), touched, t0, generation)

    def _whole(
        self, connection: Connection, seen: Listed, ids: set[str], touched: set[str], t0: int, generation: int
    ) -> None:
        for row in connection.execute(select(records).where(
            records.c.type == seen.type, records.c.state != "gone")).all():
            if row.id in ids or row.id in touched:
                continue
            if row.state == "known" and row.stamp > t0:
                return
            if row.state == "known" and row.generation >= generation:
                self._tighten(connection, seen.type, row.id)
            if not self.tightened(connection, seen.type):
                self.gone(connection, seen.type, row.id, t0, generation)
        order = in_order(self._contract.resources[seen.type], [record.fields for record in seen.records])
        put(connection, collections, {"type": seen.type}, {
            "complete": True, "ordered": order == list(range(len(ids))), "stamp": t0, "observed": time.time_ns(),
            "generation": generation})
        self.bump(connection, seen.type)

    def begin(self, connection: Connection, kind: str, action: Action, number: str) -> str:
        """Doubts what a write may touch, before it is sent. Returns the record's state until now."""
        prior = connection.execute(select(records.c.state).where(
            records.c.type == kind, records.c.id == number)).scalar() or ""
        if number:
            self.doubt(connection, kind, [number])
        if action is Action.CREATE:
            connection.execute(delete(views).where(views.c.type == kind))
            connection.execute(delete(identities).where(identities.c.type == kind))
        else:
            unfiltered = views.c.filters == "[]" if action is Action.UPDATE else and_(False)
            connection.execute(delete(views).where(views.c.type == kind, ~unfiltered))
            connection.execute(delete(identities).where(identities.c.type == kind, identities.c.id == number))
        if action is Action.DELETE:
            for dependent in self.dependents(kind):
                self.doubt(connection, dependent)
                self.incomplete(connection, dependent)
                connection.execute(delete(views).where(views.c.type == dependent))
                connection.execute(delete(identities).where(identities.c.type == dependent))
        self.bump(connection, kind)
        return prior

    def overlapped(self, connection: Connection, write: str, kind: str, number: str, started: int) -> bool:
        """Whether another write may have touched the record while this one was in flight."""
        return bool(connection.execute(select(func.count()).select_from(writes).where(
            writes.c.id != write, writes.c.type == kind, or_(writes.c.record == number, writes.c.kind == "cascade"),
            or_(writes.c.ended.is_(None), writes.c.ended > started))).scalar())
