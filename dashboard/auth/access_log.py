"""What was done in the dashboard itself: each look at the audit, each export, sign-in and action, with who and why.

A look is written before what it shows is shown; when it cannot be written, nothing is shown. Each entry is signed, and
holds the one before it (trail_chain.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, insert, select

from dashboard.auth.sessions import Session
from dashboard.auth.trail_chain import Verdict, sealed, verify
from dashboard.data.export_signature import Signer
from dashboard.data.tables import trail
from sidecar.settings import Settings
from sidecar.storage.atomic_file import write_atomically
from sidecar.timeunits import MINUTE

PAGE: Final = 100
AGAIN: Final = MINUTE
"""The same look by the same person within a minute is one look: a page that was only reloaded."""


SHOWN: Final = [column for column in trail.c if column.name not in ("previous", "hash", "signer", "signature")]


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

    def __init__(self, engine: Engine, signer: Signer, head: Path, clock: Callable[[], int] = time.time_ns) -> None:
        """`head`: the file that keeps the hash of the last entry that this node wrote."""
        self._engine = engine
        self._signer = signer
        self._head = head
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
        last = select(trail.c.hash).where(trail.c.hash.is_not(None)).order_by(trail.c.id.desc()).limit(1)
        with self._engine.begin() as connection:  # what may write goes one after another: nobody comes in between
            linked = sealed(row, connection.scalar(last), self._signer)
            connection.execute(insert(trail).values(linked))
        with suppress(OSError):  # the next entry's head is as good
            write_atomically(self._head, str(linked["hash"]).encode())

    def verify(self, trusted: Collection[str]) -> Verdict:
        """Whether nothing was altered, removed or put in between; `trusted` as in trail_chain, beside our own key."""
        try:
            head = self._head.read_text()
        except FileNotFoundError:
            head = None
        with self._reader.connect() as connection:
            rows = connection.execution_options(yield_per=1000).execute(select(trail).order_by(trail.c.id)).mappings()
            return verify(
                ({str(name): value for name, value in row.items()} for row in rows),
                {self._signer.public(), *trusted},
                head,
            )

    def look(self, who: Session, address: str, action: str, subject: str) -> None:
        """Notes a look, unless it is the same as the person's last one, less than a minute ago."""
        query = select(*SHOWN).where(trail.c.user == who.user).order_by(trail.c.id.desc()).limit(1)
        with self._reader.connect() as connection:
            last = connection.execute(query).one_or_none()
        fresh = last is not None and self._clock() - last.at < AGAIN
        if not (fresh and last is not None and (last.action, last.subject) == (action, subject[:2000])):
            self.note(who, address, action, subject)

    def latest(self, before: int | None = None, user: str = "", actions: Sequence[str] = ()) -> list[Entry]:
        """Newest first, a page at a time; `before` is an entry's id."""
        query = select(*SHOWN).order_by(trail.c.id.desc()).limit(PAGE)
        if before is not None:
            query = query.where(trail.c.id < before)
        if user:
            query = query.where(trail.c.user == user)
        if actions:
            query = query.where(trail.c.action.in_(actions))
        with self._reader.connect() as connection:
            return [_entry(row) for row in connection.execute(query)]


def trail_of(settings: Settings, engine: Engine, clock: Callable[[], int] = time.time_ns) -> Trail:
    """This node's, signed with the key of its exports."""
    return Trail(engine, Signer(settings.data / "export.key"), settings.data / "trail.head", clock)


def _entry(row: Any) -> Entry:
    return Entry(**row._mapping)
