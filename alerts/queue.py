"""What is to be told, kept until it was told: written with the alerts' state, sent in order, tried until it is taken.

A page is sent at least once. It is sent twice only when the sender dies between the receiver's answer and the mark of
it; the receiver can tell by the key, which is the same for every attempt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine, insert, select, update

from alerts.lifecycle import SECOND, Notice
from alerts.tables import deliveries

BACK_OFF: Final = (1, 2, 5, 10, 30, 60)
"""Seconds before the next attempt; the last for all further ones."""


class Told(StrEnum):
    """What became of an attempt: taken, not now, or never."""

    DONE = "done"
    RETRY = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True)
class Delivery:
    """One notice for one channel. `content` is the alert as it was, with `kind`."""

    id: int
    key: str
    channel: str
    content: dict[str, Any]
    tries: int


class Queue:
    """Safe from any process; whoever delivers holds the evaluator's lease."""

    def __init__(self, engine: Engine, channels: Sequence[str], clock: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._channels = tuple(channels)
        self._clock = clock

    def enqueue(self, connection: Connection, notices: Sequence[Notice], now: int) -> None:
        """Within the transaction that changes the alerts; a notice that is known is not queued again."""
        for notice in notices:
            content = json.dumps({**asdict(notice.alert), "kind": notice.kind})
            for channel in self._channels:
                key = f"{channel}:{notice.key}"
                if connection.scalar(select(deliveries.c.id).where(deliveries.c.key == key)) is None:
                    connection.execute(
                        insert(deliveries).values(
                            key=key, channel=channel, line=f"{channel}:{notice.alert.key}", content=content,
                            state=Told.RETRY, tries=0, made_at=now, due_at=now, done_at=0, said="",
                        )
                    )  # fmt: skip

    def due(self) -> list[Delivery]:
        """The first that waits of each line, where its time has come; nothing overtakes it."""
        now = self._clock()
        waits = select(deliveries).where(deliveries.c.state == Told.RETRY).order_by(deliveries.c.id)
        lines: set[str] = set()
        found = []
        with self._engine.execution_options(writes=False).connect() as connection:
            for row in connection.execute(waits).mappings():
                if row["line"] not in lines and row["channel"] in self._channels and row["due_at"] <= now:
                    content = json.loads(row["content"])
                    found.append(Delivery(row["id"], row["key"], row["channel"], content, row["tries"]))
                lines.add(row["line"])
        return found

    def mark(self, delivery: Delivery, told: Told, said: str) -> None:
        """Writes down what became of an attempt; `said` is what the receiver answered, in a line."""
        now, tries = self._clock(), delivery.tries + 1
        pause = BACK_OFF[min(delivery.tries, len(BACK_OFF) - 1)] * SECOND
        values = {"state": told, "tries": tries, "said": said[:500]}
        values |= {"due_at": now + pause} if told is Told.RETRY else {"done_at": now}
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(**values))
