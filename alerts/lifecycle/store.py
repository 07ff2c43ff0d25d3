"""The durable state of alerts and what is to be told of them: both change in one transaction, or neither does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update

from alerts.lifecycle.inhibition import parts
from alerts.lifecycle.lifecycle import (
    BURNING,
    UNTIL_RESOLVED,
    Alert,
    Condition,
    Notice,
    NotPossible,
    State,
    acknowledge,
    silence,
    step,
    unsilence,
)
from alerts.lifecycle.silences import Silence, matching
from alerts.lifecycle.tables import alerts, deliveries, history, silences

Fence = Callable[[Connection], bool]
Enqueue = Callable[[Connection, Sequence[Notice], int], None]


class Superseded(Exception):
    """Another evaluator has the lease: nothing was changed."""


class Alerts:
    """Safe from any process: writing transactions come one after another (sidecar/database.py)."""

    def __init__(self, engine: Engine, clock: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._clock = clock

    def all(self) -> list[Alert]:
        """Every alert that was ever seen, the latest change first."""
        with self._engine.execution_options(writes=False).connect() as connection:
            found = [as_alert(row) for row in connection.execute(select(alerts)).mappings()]
        return sorted(found, key=lambda alert: -max(alert.fired_at, alert.resolved_at, alert.since))

    def find(self, key: str) -> Alert:
        """By its key, or its beginning. Raises LookupError when none or several fit."""
        found = [alert for alert in self.all() if alert.key.startswith(key)]
        if len(found) != 1 or not key:
            raise LookupError(f"{'no alert has' if not found else 'several alerts have'} the key {key!r}")
        return found[0]

    def apply(
        self,
        holding: Iterable[Condition],
        *,
        unknown: Set[str],
        repeat: int,
        enqueue: Enqueue,
        fence: Fence = lambda _: True,
        keep: Callable[[Alert], int] = lambda _: 0,
        group: Callable[[Alert], str] = lambda alert: alert.key,
    ) -> list[Notice]:
        """One evaluation: see `step`. Raises Superseded when the fence says that another evaluates now."""
        with self._engine.begin() as connection:
            if not fence(connection):
                raise Superseded
            now = self._clock()
            known = {row["key"]: as_alert(row) for row in connection.execute(select(alerts)).mappings()}
            quiet = self._silences(connection, now)

            def muted(alert: Alert) -> tuple[int, str, str] | None:
                found = matching(quiet, alert)
                return None if found is None else (found.until, found.by, found.reason)

            after, notices = step(
                known, holding, now, unknown=unknown, repeat=repeat, keep=keep, group=group, muted=muted, parts=parts
            )  # fmt: skip
            for key in known.keys() - after.keys():
                connection.execute(delete(alerts).where(alerts.c.key == key))
            for key, alert in after.items():
                before = known.get(key)
                if before != alert:
                    self._put(connection, before, alert, "", now)
            enqueue(connection, notices, now)
        return notices

    def acknowledge(self, key: str, by: str, reason: str) -> Alert:
        """Raises LookupError, NotPossible."""
        return self._act(key, by, lambda alert, _now: acknowledge(alert, by, reason))

    def silence(self, key: str, by: str, reason: str, until: int) -> Alert:
        """Raises LookupError, NotPossible."""
        return self._act(key, by, lambda alert, now: silence(alert, by, reason, until, now))

    def unsilence(self, key: str, by: str) -> Alert:
        """Raises LookupError, NotPossible."""
        return self._act(key, by, lambda alert, _now: unsilence(alert))

    def mute(self, matchers: Mapping[str, str], by: str, reason: str, until: int) -> int:
        """Silences all alerts with these labels, also such as come; the silence's number. Raises NotPossible."""
        now = self._clock()
        if until <= now:
            raise NotPossible("until: expected a time to come")
        if not reason.strip():
            raise NotPossible("reason: a silence needs one")
        with self._engine.begin() as connection:
            made = connection.execute(
                insert(silences).values(
                    matchers=json.dumps(dict(matchers)), until=until, by=by, reason=reason, made_at=now
                )
            )  # fmt: skip
            number = made.inserted_primary_key
        assert number is not None
        return int(number[0])

    def unmute(self, number: int) -> Silence:
        """Ends a silence by labels, and what it silenced. Raises LookupError."""
        with self._engine.begin() as connection:
            row = connection.execute(select(silences).where(silences.c.id == number)).mappings().one_or_none()
            if row is None:
                raise LookupError(f"no silence has the number {number}")
            silence = _as_silence(row)
            connection.execute(delete(silences).where(silences.c.id == number))
            connection.execute(
                update(alerts)
                .where(alerts.c.silenced_until == silence.until, alerts.c.silenced_by == silence.by)
                .values(silenced_until=0)
            )
        return silence

    def silences(self) -> list[Silence]:
        """By labels, those that have not ended."""
        with self._engine.execution_options(writes=False).connect() as connection:
            return self._silences(connection, self._clock())

    def _silences(self, connection: Connection, now: int) -> list[Silence]:
        found = connection.execute(select(silences).where(silences.c.until > now).order_by(silences.c.id)).mappings()
        return [_as_silence(row) for row in found]

    def together(self, key: str, group: Callable[[Alert], str]) -> list[Alert]:
        """The alert of the key and all that burn and are told with it: of its group, or within one of these."""
        mine = self.find(key)
        burning = [alert for alert in self.all() if alert.state in BURNING]
        keys = {alert.key for alert in burning if group(alert) == group(mine)} | {mine.key}
        return [mine, *(a for a in burning if a.key != mine.key and (a.key in keys or a.part_of in keys))]

    def shift(self, by: int) -> None:
        """The clock stepped by so many ns: every time that is counted from, or waited for, moves with it."""
        with self._engine.begin() as connection:
            for name in ("since", "sent_at", "fired_at", "resolved_at", "silenced_until"):
                column = alerts.c[name]
                told = column.not_in((0, UNTIL_RESOLVED))
                connection.execute(update(alerts).where(told).values({name: column + by}))
            connection.execute(update(silences).values(until=silences.c.until + by))

    def history(self, limit: int = 200) -> list[dict[str, Any]]:
        """What became of alerts, the latest first."""
        return self._rows(select(history).order_by(history.c.id.desc()).limit(limit))

    def deliveries(self, limit: int = 200) -> list[dict[str, Any]]:
        """Notifications, the latest first."""
        rows = self._rows(select(deliveries).order_by(deliveries.c.id.desc()).limit(limit))
        return [{**row, "content": json.loads(row["content"])} for row in rows]

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        with self._engine.execution_options(writes=False).connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _act(self, key: str, by: str, change: Callable[[Alert, int], Alert]) -> Alert:
        whole = self.find(key).key
        with self._engine.begin() as connection:
            row = connection.execute(select(alerts).where(alerts.c.key == whole)).mappings().one_or_none()
            if row is None:
                raise LookupError(f"no alert has the key {key!r}")
            before, now = as_alert(row), self._clock()
            after = change(before, now)
            self._put(connection, before, after, by, now, always=True)
        return after

    def _put(
        self, connection: Connection, before: Alert | None, alert: Alert, by: str, now: int, always: bool = False
    ) -> None:
        values = {**asdict(alert), "labels": json.dumps(dict(alert.labels)), "notes": json.dumps(dict(alert.notes))}
        if before is None:
            connection.execute(insert(alerts).values(values))
        else:
            connection.execute(update(alerts).where(alerts.c.key == alert.key).values(values))
        if always or before is None or before.state is not alert.state:
            said = alert.state if not always or before is None or before.state is not alert.state else "changed"
            line = {"at": now, "key": alert.key, "name": alert.name, "severity": alert.severity, "state": str(said)}
            connection.execute(insert(history).values(**line, by=by, reason=alert.reason if by else ""))


def _as_silence(row: Mapping[Any, Any]) -> Silence:
    return Silence(row["id"], json.loads(row["matchers"]), row["until"], row["by"], row["reason"])


def as_alert(row: Mapping[Any, Any]) -> Alert:
    """From a row of the table, or from what a delivery keeps of one (labels and notes as mappings)."""
    values = {str(name): value for name, value in row.items()}
    for name in ("labels", "notes"):
        values[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
    return Alert(**values | {"state": State(row["state"])})
