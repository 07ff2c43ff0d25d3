"""What was done in the dashboard itself: each look at the audit, each export, sign-in and action, with who and why.

A look is written before what it shows is shown; when it cannot be written, nothing is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, insert, select

from dashboard.auth.sessions import Session
from dashboard.data.tables import trail
from sidecar.timeunits import MINUTE

PAGE: Final = 100
AGAIN: Final = MINUTE
"""The same look by the same person within a minute is one look: a page that was only reloaded."""


@dataclass(frozen=True)
class Entry:
    """One line of the trail. `at` in nanoseconds since the epoch."""

    id: int
    at: int
    user: str
    role: str
    address: str
    action: str
    subject: str
    reason: str
    outcome: str


class Trail:
    """Appends, and reads back newest first; nothing is ever changed."""

    def __init__(self, engine: Engine, clock: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._clock = clock

    def note(
        self, who: Session | str, address: str, action: str, subject: str = "", reason: str = "", outcome: str = "done"
    ) -> None:
        """Raises SQLAlchemyError when it cannot be written: then what was to follow must not."""
        name, role = (who, "") if isinstance(who, str) else (who.user, str(who.role))
        row = {
            "at": self._clock(),
            "user": name[:200],
            "role": role,
            "address": address[:64],
            "action": action,
            "subject": subject[:2000],
            "reason": reason[:2000],
            "outcome": outcome[:300],
        }
        with self._engine.begin() as connection:
            connection.execute(insert(trail).values(row))

    def look(self, who: Session, address: str, action: str, subject: str) -> None:
        """Notes a look, unless it is the same as the person's last one, less than a minute ago."""
        query = select(trail).where(trail.c.user == who.user).order_by(trail.c.id.desc()).limit(1)
        with self._reader.connect() as connection:
            last = connection.execute(query).one_or_none()
        fresh = last is not None and self._clock() - last.at < AGAIN
        if not (fresh and last is not None and (last.action, last.subject) == (action, subject[:2000])):
            self.note(who, address, action, subject)

    def latest(self, before: int | None = None, user: str = "", actions: Sequence[str] = ()) -> list[Entry]:
        """Newest first, a page at a time; `before` is an entry's id."""
        query = select(trail).order_by(trail.c.id.desc()).limit(PAGE)
        if before is not None:
            query = query.where(trail.c.id < before)
        if user:
            query = query.where(trail.c.user == user)
        if actions:
            query = query.where(trail.c.action.in_(actions))
        with self._reader.connect() as connection:
            return [_entry(row) for row in connection.execute(query)]


def _entry(row: Any) -> Entry:
    return Entry(**row._mapping)
