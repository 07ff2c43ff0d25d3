"""What is to be told, kept until it was told: written with the alerts' state, sent in order, tried until it is taken.

Notices wait for others of their group, then become one message, kept word for word; every attempt sends the same, with
the same key. A page is sent at least once. It is sent twice only when the sender dies between the receiver's answer and
the mark of it; the receiver can tell by the key.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update

from alerts.delivery.grouping import ALONE, RESOLVED, Grouping, compose
from alerts.lifecycle.lifecycle import Alert, Kind, Notice
from alerts.lifecycle.store import as_alert
from alerts.lifecycle.tables import alerts, deliveries, messages
from alerts.message import severity
from sidecar.timeunits import SECOND

BACK_OFF: Final = (1, 2, 5, 10)
"""Seconds before the next attempt; the last for all further ones."""


class Told(StrEnum):
    """What became of an attempt: taken, not now, or never."""

    DONE = "done"
    RETRY = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True)
class Delivery:
    """One message for one channel. `content`: `group` (its labels), `status` (firing, resolved), and `alerts`, each as
    it was, with `kind`. `line` is of the channel's group, and the same for all its messages."""

    key: str
    channel: str
    line: str
    content: dict[str, Any]
    tries: int


@dataclass(frozen=True)
class Route:
    """How a channel is told: in which groups, and of which severities (empty: of all)."""

    grouping: Grouping = field(default_factory=Grouping)
    severities: frozenset[str] = frozenset()

    def takes(self, alert: Alert) -> bool:
        return not self.severities or alert.severity in self.severities

    def line(self, channel: str, alert: Alert) -> str:
        return f"{channel}:{hashlib.sha256(self.group(alert).encode()).hexdigest()[:32]}"

    def group(self, alert: Alert) -> str:
        return alert.key if self.grouping is ALONE else self.grouping.key(alert)


class Queue:
    """Safe from any process; whoever delivers holds the evaluator's lease, one thread for each channel."""

    def __init__(
        self, engine: Engine, channels: Sequence[str] | Mapping[str, Route], clock: Callable[[], int] = time.time_ns
    ) -> None:
        """`channels`: their names, or how each is told."""
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        routes = channels if isinstance(channels, Mapping) else dict.fromkeys(channels, Route(ALONE))
        self._routes = dict(routes)
        self._clock = clock

    def enqueue(self, connection: Connection, notices: Sequence[Notice], now: int) -> None:
        """Within the transaction that changes the alerts; a notice that is known is not queued again."""
        for notice in notices:
            content = json.dumps({**asdict(notice.alert), "kind": notice.kind})
            for channel, route in self._routes.items():
                key = f"{channel}:{notice.key}"
                if not route.takes(notice.alert):
                    continue
                if connection.scalar(select(deliveries.c.id).where(deliveries.c.key == key)) is None:
                    connection.execute(
                        insert(deliveries).values(
                            key=key, channel=channel, line=route.line(channel, notice.alert), content=content,
                            state=Told.RETRY, tries=0, made_at=now, due_at=now, done_at=0, said="", message="",
                        )
                    )  # fmt: skip

    def due(self, channel: str | None = None) -> list[Delivery]:
        """The first message of each line of a channel (None: of all) whose time has come, pages first."""
        mine = set(self._routes) if channel is None else {channel}
        waits = select(deliveries).where(deliveries.c.state == Told.RETRY, deliveries.c.channel.in_(mine))
        waits = waits.order_by(deliveries.c.id)
        with self._reader.connect() as connection, connection.begin():
            rows = connection.execute(waits).mappings().all()
            ripe = self._ripe(connection, rows)
        if ripe:
            with self._engine.begin() as connection:
                for waiting in self._ripe(connection, connection.execute(waits).mappings().all()):
                    self._close(connection, waiting)
                rows = connection.execute(waits).mappings().all()
        return self._ready(rows)

    def mark(self, delivery: Delivery, told: Told, said: str) -> None:
        """Writes down what became of an attempt; `said` is what the receiver answered, in a line."""
        now, tries = self._clock(), delivery.tries + 1
        pause = BACK_OFF[min(delivery.tries, len(BACK_OFF) - 1)] * SECOND
        values = {"state": told, "tries": tries, "said": said[:500]}
        values |= {"due_at": now + pause} if told is Told.RETRY else {"done_at": now}
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(deliveries.c.message == delivery.key).values(**values))

    def waiting(self) -> dict[str, int]:
        """By channel: since when (ns) its oldest message was tried in vain; channels that take theirs are left out."""
        tried = (deliveries.c.state == Told.RETRY) & (deliveries.c.tries > 0)
        query = select(deliveries.c.channel, func.min(deliveries.c.made_at)).where(tried).group_by(deliveries.c.channel)
        with self._reader.connect() as connection:
            found = connection.execute(query).all()
        return {channel: since for channel, since in found if channel in self._routes}

    def forget(self, before: int) -> None:
        """Drops what was told, or refused, before then (ns); what waits is kept however old it is."""
        with self._engine.begin() as connection:
            over = (deliveries.c.state != Told.RETRY) & (deliveries.c.done_at < before)
            connection.execute(delete(deliveries).where(over))
            told = select(deliveries.c.message).where(deliveries.c.message == messages.c.key).exists()
            connection.execute(delete(messages).where(messages.c.made_at < before, ~told))

    def _ripe(self, connection: Connection, rows: Sequence[RowMapping]) -> list[list[RowMapping]]:
        """Notices, by line, that waited long enough to become a message."""
        lines: dict[str, list[RowMapping]] = {}
        for row in rows:
            lines.setdefault(row["line"], []).append(row)
        # What comes after a message that is not told yet waits for it, and then is one message.
        fresh = {line: waiting for line, waiting in lines.items() if not any(row["message"] for row in waiting)}
        last = messages.alias()
        latest = select(func.max(last.c.id)).where(last.c.line.in_(fresh)).group_by(last.c.line)
        query = select(messages.c.line, messages.c.made_at, messages.c.status).where(messages.c.id.in_(latest))
        told = {row.line: row.made_at for row in connection.execute(query) if row.status != RESOLVED} if fresh else {}
        now = self._clock()
        return [
            waiting
            for line, waiting in fresh.items()
            if self._routes[waiting[0]["channel"]].grouping.due(
                waiting[0]["made_at"], told.get(line, 0), _urgent(waiting)
            ) <= now
        ]  # fmt: skip

    def _close(self, connection: Connection, waiting: Sequence[RowMapping]) -> None:
        """Makes one message of them, kept word for word."""
        route = self._routes[waiting[0]["channel"]]
        notices = [json.loads(row["content"]) for row in waiting]
        mine = as_alert({name: notices[0][name] for name in alerts.c.keys()})  # noqa: SIM118 (a column collection)
        known = map(as_alert, connection.execute(select(alerts)).mappings())
        others = [each for each in known if route.takes(each) and route.group(each) == route.group(mine)]
        content = compose(route.grouping.labels(mine), notices, others)
        key = waiting[0]["key"]
        connection.execute(
            insert(messages).values(
                key=key,
                line=waiting[0]["line"],
                made_at=self._clock(),
                status=content["status"],
                content=json.dumps(content),
            )
        )
        ids = [row["id"] for row in waiting]
        connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(message=key))

    def _ready(self, rows: Sequence[RowMapping]) -> list[Delivery]:
        now = self._clock()
        first = {row["message"]: row for row in reversed(rows) if row["message"] and row["due_at"] <= now}
        if not first:
            return []
        with self._reader.connect() as connection:
            query = select(messages).where(messages.c.key.in_(first)).order_by(messages.c.id)
            found = connection.execute(query).mappings().all()
        ready = [
            Delivery(each["key"], first[each["key"]]["channel"], each["line"], json.loads(each["content"]),
                     first[each["key"]]["tries"])
            for each in found
        ]  # fmt: skip
        return sorted(ready, key=lambda delivery: severity(delivery.content) != "page")


def _urgent(waiting: Sequence[RowMapping]) -> bool:
    notices = (json.loads(row["content"]) for row in waiting)
    return any(notice["severity"] == "page" and notice["kind"] == Kind.FIRING for notice in notices)
