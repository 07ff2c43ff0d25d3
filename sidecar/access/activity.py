"""What callers did lately, and usually do: failed sign-ins, and subjects read within an hour. Shared by all processes.

Promises: reading and noting touch memory only; `refresh` writes what this process saw and reads what others did. Names
come from clients, so memory and tables are bounded: beyond the bounds nothing more is noted, and nobody is denied more.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from sidecar.storage.database import metadata
from sidecar.timeunits import DAY, HOUR, MINUTE

FAILED: Final = "failed"
READ: Final = "read"
PEOPLE: Final = 4096
"""The most names of which anything is noted at a time."""
EACH: Final = 2000
"""The most that is noted of one."""
FRESH: Final = HOUR // 4
"""A subject that is read again is noted anew after so long."""

deeds: Final = Table(
    "policy_deeds",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(10), nullable=False),
    Column("user", String(200), nullable=False),
    Column("item", String(100), nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
)
habits: Final = Table(
    "policy_habits",
    metadata,
    Column("user", String(200), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("most", Integer, nullable=False),
)
"""The most subjects that a user has read within an hour, by day (since the epoch)."""
_NEWS: Final = (
    select(deeds)
    .where(deeds.c.id > bindparam("latest"), deeds.c.at > bindparam("since"))
    .order_by(deeds.c.id)
    .limit(5000)
)
Key = tuple[str, str]


class Habits:
    """One per process. Times are wall ns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._lock = threading.Lock()
        self._seen: dict[Key, dict[str, int]] = {}
        self._new: list[tuple[str, str, str, int]] = []
        self._days: dict[str, dict[int, int]] = {}
        self._latest = 0
        self._most: dict[tuple[str, int], int] = {}
        self._swept = 0

    def failures(self, user: str, minutes: int) -> int:
        """Failed sign-ins within so many minutes."""
        return self._count((FAILED, user), minutes * MINUTE)

    def reading(self, user: str) -> int:
        """Subjects read within the hour."""
        return self._count((READ, user), HOUR)

    def habit(self, user: str, days: int) -> int | None:
        """The most read in an hour on any day before today; None: fewer than `days` such days are known."""
        today = time.time_ns() // DAY
        before = [most for day, most in self._days.get(user, {}).items() if day < today]
        return max(before) if len(before) >= max(days, 1) else None

    def note(self, kind: str, user: str, item: str, at: int) -> None:
        """The user did this: `item` is the subject that was read, or the failed exchange."""
        user, item = user[:200], item[:100]
        with self._lock:
            if self._put((kind, user), item, at):
                self._new.append((kind, user, item, at))
                if kind == READ:
                    self._top(user, at)

    def refresh(self, look: bool = True) -> None:
        """Tells others, and hears from them if it is to `look`. Raises SQLAlchemyError."""
        with self._lock:
            new, self._new = self._new, []
            most, self._most = self._most, {}
        if new or most:
            with self._engine.begin() as connection:
                rows = [dict(zip(("kind", "user", "item", "at"), row, strict=True)) for row in new]
                if rows:
                    connection.execute(insert(deeds), rows)
                for (user, day), count in most.items():
                    where = (habits.c.user == user) & (habits.c.day == day)
                    known = connection.scalar(select(habits.c.most).where(where))
                    if known is None:
                        connection.execute(insert(habits).values(user=user, day=day, most=count))
                    elif known < count:
                        connection.execute(update(habits).where(where).values(most=count))
        if not (look or new):
            return
        now = time.time_ns()
        with self._reader.connect() as connection, connection.begin():
            rows_seen = connection.execute(_NEWS, {"latest": self._latest, "since": now - HOUR}).all()
            days = None
            if now - self._swept > MINUTE:
                days = connection.execute(select(habits)).all()
        with self._lock:
            for row in rows_seen:
                self._put((row.kind, row.user), row.item, row.at)
                self._latest = max(self._latest, row.id)
        if days is not None:
            self._days = {}
            for row in days:
                self._days.setdefault(row.user, {})[row.day] = row.most
            self._sweep(now)

    def _put(self, key: Key, item: str, at: int) -> bool:
        """Whether that is news worth telling."""
        items = self._seen.get(key)
        if items is None:
            if len(self._seen) >= PEOPLE:
                return False
            items = self._seen[key] = {}
        last = items.get(item)
        if last is None and len(items) >= EACH:
            return False
        items[item] = max(at, last or 0)
        return last is None or at - last > FRESH

    def _top(self, user: str, at: int) -> None:
        day, items = at // DAY, self._seen[READ, user]
        count = sum(when > at - HOUR for when in items.values())
        if count > self._days.get(user, {}).get(day, 0):
            self._days.setdefault(user, {})[day] = count
            self._most[user, day] = count

    def _count(self, key: Key, within: int) -> int:
        items = self._seen.get(key)
        if not items:
            return 0
        after = time.time_ns() - within
        with self._lock:
            return sum(at > after for at in items.values())

    def _sweep(self, now: int) -> None:
        """Forgets what is older than an hour, and habits of a month ago."""
        self._swept = now
        with self._lock:
            for key, items in list(self._seen.items()):
                kept = {item: at for item, at in items.items() if at > now - HOUR}
                if kept:
                    self._seen[key] = kept
                else:
                    del self._seen[key]
        old = select(func.count()).select_from(deeds).where(deeds.c.at <= now - HOUR)
        with self._reader.connect() as connection, connection.begin():
            stale = connection.scalar(old)
        if stale:
            with self._engine.begin() as connection:
                connection.execute(delete(deeds).where(deeds.c.at <= now - HOUR))
                connection.execute(delete(habits).where(habits.c.day < now // DAY - 31))
