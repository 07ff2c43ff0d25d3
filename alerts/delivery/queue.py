"""What is to be told, kept until it was told: written with the alerts' state, sent in order, tried until it is taken.

Notices wait for others of their group, then become one message, kept word for word; every attempt sends the same, with
the same key. A page is sent at least once. It is sent twice only when the sender dies between the receiver's answer and
the mark of it; the receiver can tell by the key. What is over before a channel took it is no page any more: it becomes
one message of something past.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update

from alerts.delivery.grouping import ALONE, RESOLVED, Grouping, compose
from alerts.lifecycle.inhibition import inside
from alerts.lifecycle.lifecycle import BURNING, Alert, Kind, Notice
from alerts.lifecycle.store import as_alert
from alerts.lifecycle.tables import alerts, deliveries, messages
from alerts.message import severity
from sidecar.timeunits import SECOND

BACK_OFF: Final = (1, 2, 5, 10)
"""Seconds before the next attempt; the last for all further ones."""

REFUSED_AGAIN: Final = 300 * SECOND
"""ns until what a channel refused for good is tried once more, if it has taken nothing since."""
STUCK: Final = "ChannelStuck"
"""The alert that a channel takes nothing any more."""
STRANGER: Final = ("401", "403", "404")
"""Answers that say: not you, or not here. They may pass, but seldom by themselves."""


class Told(StrEnum):
    """What became of an attempt: taken, not now, or never."""

    DONE = "done"
    RETRY = "waiting"
    REFUSED = "refused"


class Answer(NamedTuple):
    """What became of an attempt, what the receiver said in a line without secrets, and the seconds that it asked us to
    wait."""

    told: Told
    said: str
    wait: int = 0


@dataclass(frozen=True)
class Delivery:
    """One message for one channel. `content`: `group` (its labels), `status` (firing, resolved), and `alerts`, each as
    it was, with `kind`; `past` where all was over before the channel took anything of it. `line` is of the channel's
    group, and the same for all its messages."""

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
        """Within the transaction that changes the alerts; a notice that is known is not queued again. No channel is
        told of its own trouble: it cannot hear of it, and once it can that is over."""
        for notice in notices:
            content = json.dumps({**asdict(notice.alert), "kind": notice.kind})
            for channel, route in self._routes.items():
                key = f"{channel}:{notice.key}"
                itself = notice.alert.name == STUCK and notice.alert.labels.get("channel") == channel
                if itself or not route.takes(notice.alert):
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
        return self._ready(rows) or self._once_more(mine)

    def mark(self, delivery: Delivery, told: Told, said: str, wait: int = 0) -> None:
        """Writes down what became of an attempt, as Answer says it. Nobody makes us wait for longer than
        REFUSED_AGAIN."""
        now, tries = self._clock(), delivery.tries + 1
        pause = BACK_OFF[min(delivery.tries, len(BACK_OFF) - 1)] * SECOND
        pause = max(pause, min(wait * SECOND, REFUSED_AGAIN))
        values = {"state": told, "tries": tries, "said": said[:500]}
        values |= {"due_at": now + (REFUSED_AGAIN if told is Told.REFUSED else pause)}
        values |= {} if told is Told.RETRY else {"done_at": now}
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(deliveries.c.message == delivery.key).values(**values))

    def waiting(self) -> dict[str, int]:
        """By channel: since when (ns) its oldest message was tried in vain; channels that take theirs are left out."""
        tried = (deliveries.c.state == Told.RETRY) & (deliveries.c.tries > 0)
        query = select(deliveries.c.channel, func.min(deliveries.c.made_at)).where(tried).group_by(deliveries.c.channel)
        with self._reader.connect() as connection:
            found = connection.execute(query).all()
        return {channel: since for channel, since in found if channel in self._routes}

    def told(self, channel: str) -> dict[str, list[Alert]]:
        """By line: what burns and was told to this channel, of lines where nothing waits."""
        route = self._routes[channel]
        waits = select(deliveries.c.line).where(deliveries.c.state == Told.RETRY, deliveries.c.channel == channel)
        with self._reader.connect() as connection:
            waiting = set(connection.scalars(waits))
            known = [as_alert(row) for row in connection.execute(select(alerts)).mappings()]
        found: dict[str, list[Alert]] = {}
        for alert in known:
            if alert.state in BURNING and alert.told and not alert.part_of and route.takes(alert):
                found.setdefault(route.line(channel, alert), []).append(alert)
        return {line: each for line, each in found.items() if line not in waiting}

    def refused(self) -> dict[str, str]:
        """By channel: what it answered, where it refuses for good the last message that came to an end, or whom it
        takes us for."""
        over = deliveries.c.state != Told.RETRY
        columns = (deliveries.c.channel, deliveries.c.state, deliveries.c.said)
        latest = select(*columns).where(over).order_by(deliveries.c.done_at)
        turned_away = select(*columns).where(deliveries.c.state == Told.RETRY, deliveries.c.said.in_(STRANGER))
        with self._reader.connect() as connection:
            last = {row.channel: row for row in connection.execute(latest)}
            last |= {row.channel: row for row in connection.execute(turned_away)}
        return {
            channel: row.said
            for channel, row in last.items()
            if channel in self._routes and row.state != Told.DONE
        }  # fmt: skip

    def shift(self, by: int) -> None:
        """The clock stepped by so many ns: what is waited from moves with it."""
        with self._engine.begin() as connection:
            waits = deliveries.c.state != Told.DONE
            connection.execute(
                update(deliveries)
                .where(waits)
                .values(made_at=deliveries.c.made_at + by, due_at=deliveries.c.due_at + by)
            )
            connection.execute(update(messages).values(made_at=messages.c.made_at + by))

    def forget(self, before: int) -> None:
        """Drops what was told, or refused, before then (ns); what waits is kept however old it is."""
        with self._engine.begin() as connection:
            over = (deliveries.c.state != Told.RETRY) & (deliveries.c.done_at < before)
            connection.execute(delete(deliveries).where(over))
            told = select(deliveries.c.message).where(deliveries.c.message == messages.c.key).exists()
            connection.execute(delete(messages).where(messages.c.made_at < before, ~told))

    def _once_more(self, channels: set[str]) -> list[Delivery]:
        """What was refused last, while the channel takes nothing else: it may have been mended meanwhile."""
        refusing = self.refused().keys() & channels
        if not refusing:
            return []
        last = messages.alias()
        newest = select(func.max(last.c.id)).group_by(last.c.line)
        query = (
            select(deliveries)
            .join(messages, messages.c.key == deliveries.c.message)
            .where(messages.c.id.in_(newest), deliveries.c.state == Told.REFUSED, deliveries.c.channel.in_(refusing))
            .order_by(deliveries.c.id)
        )
        with self._reader.connect() as connection:
            return self._ready(connection.execute(query).mappings().all())

    def _ripe(self, connection: Connection, rows: Sequence[RowMapping]) -> list[list[RowMapping]]:
        """Notices, by line, that waited long enough to become a message; and all of a line whose alerts have ended
        while its message was not taken."""
        lines: dict[str, list[RowMapping]] = {}
        for row in rows:
            lines.setdefault(row["line"], []).append(row)
        # What comes after a message that is not told yet waits for it, and then is one message.
        fresh = {line: waiting for line, waiting in lines.items() if not any(row["message"] for row in waiting)}
        behind = [each for line, each in lines.items() if line not in fresh and not each[-1]["message"]]
        last = messages.alias()
        latest = select(func.max(last.c.id)).where(last.c.line.in_(fresh)).group_by(last.c.line)
        query = select(messages.c.line, messages.c.made_at, messages.c.status).where(messages.c.id.in_(latest))
        told = {row.line: row.made_at for row in connection.execute(query) if row.status != RESOLVED} if fresh else {}
        now = self._clock()
        some = fresh or behind
        known = [as_alert(row) for row in connection.execute(select(alerts)).mappings()] if some else []
        return [each for each in behind if self._is_over(each, known)] + [
            waiting
            for line, waiting in fresh.items()
            if waiting[0]["made_at"] > now  # as a clock that was set back leaves it
            or self._routes[waiting[0]["channel"]].grouping.due(
                waiting[0]["made_at"], min(told.get(line, 0), now),
                _urgent(waiting) or self._is_over(waiting, known),
            ) <= now
        ]  # fmt: skip

    def _is_over(self, waiting: Sequence[RowMapping], known: Sequence[Alert]) -> bool:
        """Whether these notices end all of their group."""
        route, kinds = self._routes[waiting[0]["channel"]], dict[str, str]()
        for notice in (json.loads(row["content"]) for row in waiting):
            kinds[notice["key"]] = notice["kind"]
        mine = _alert_of(waiting[0])
        group = [each for each in known if route.takes(each) and route.group(each) == route.group(mine)]
        lasting = [each for each in group if each.state in BURNING and not each.part_of]
        return not lasting and all(kind == Kind.RESOLVED for kind in kinds.values())

    def _close(self, connection: Connection, waiting: Sequence[RowMapping]) -> None:
        """Makes one message of them, kept word for word."""
        route = self._routes[waiting[0]["channel"]]
        notices = [json.loads(row["content"]) for row in waiting]
        mine = _alert_of(waiting[0])
        known = [as_alert(row) for row in connection.execute(select(alerts)).mappings()]
        group = [each for each in known if route.takes(each) and route.group(each) == route.group(mine)]
        # What is over tells of nothing any more: tickets that were told inside a page do not hold back its end.
        others = [each for each in group if each.state in BURNING and (each.told or not each.part_of)]
        last = {each["key"]: each["kind"] for each in notices}
        told = {key for key, kind in last.items() if kind != Kind.RESOLVED} | {each.key for each in others}
        others += [each for each in inside(known, told) if route.takes(each)]
        content = compose(route.grouping.labels(mine), notices, others)
        if content["status"] == RESOLVED and not self._is_open(connection, waiting[0]["line"]):
            content["past"] = True
        # A message that others are put to is another one.
        key = waiting[-1 if waiting[0]["message"] else 0]["key"]
        connection.execute(
            insert(messages).values(
                key=key,
                line=waiting[0]["line"],
                made_at=self._clock(),
                status=content["status"],
                content=json.dumps(content),
            )
        )
        ids, due = [row["id"] for row in waiting], max(row["due_at"] for row in waiting)
        connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(message=key, due_at=due))

    def _is_open(self, connection: Connection, line: str) -> bool:
        """Whether the last that was taken of this line says that something burns."""
        taken = (deliveries.c.message == messages.c.key) & (deliveries.c.state == Told.DONE)
        query = select(messages.c.status).join(deliveries, taken).where(messages.c.line == line)
        return connection.scalar(query.order_by(messages.c.id.desc()).limit(1)) not in (None, RESOLVED)

    def _ready(self, rows: Sequence[RowMapping]) -> list[Delivery]:
        now = self._clock()
        patience = now + REFUSED_AGAIN  # beyond it: left by a clock that was set back
        timely = [row for row in rows if row["message"] and not now < row["due_at"] <= patience]
        first = {row["message"]: row for row in reversed(timely)}
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


def _alert_of(row: RowMapping) -> Alert:
    """What a waiting notice is of; one of an earlier release lacks what came later."""
    content = json.loads(row["content"])
    return as_alert({name: content[name] for name in alerts.c.keys() if name in content})  # noqa: SIM118


def _urgent(waiting: Sequence[RowMapping]) -> bool:
    notices = (json.loads(row["content"]) for row in waiting)
    return any(notice["severity"] == "page" and notice["kind"] in (Kind.FIRING, Kind.REPEAT) for notice in notices)
