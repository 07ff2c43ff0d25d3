"""What was done in the dashboard itself: each look at the audit, each export, sign-in and action, with who and why.

A look is written before what it shows is shown; when it cannot be written, nothing is shown. Each entry is signed, and
holds the one before it (trail_chain.py); not so the command line's from before the first start, when there is no key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.auth.sessions import Session
from dashboard.auth.trail_chain import Verdict, sealed, verify
from dashboard.auth.trail_head import End, Head
from dashboard.data.export_signature import Signer
from dashboard.data.tables import trail
from sidecar.settings import Settings
from sidecar.timeunits import MINUTE

log = logging.getLogger(__name__)
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
        """`head`: the file that keeps the last entry that this node wrote."""
        self._engine = engine
        self._signer = signer
        self._head = Head(head)
        self._reader = engine.execution_options(writes=False)
        self._clock = clock

    def note(
        self, who: Session | str, address: str, action: str, subject: str = "", reason: str = "", outcome: str = "done"
    ) -> None:
        """Raises SQLAlchemyError or OSError when it cannot be written: then what was to follow must not."""
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
            linked = self._linked(row, connection.scalar(last))
            written = connection.execute(insert(trail).values(linked)).inserted_primary_key
        if "hash" not in linked or written is None:
            return
        with suppress(OSError, SQLAlchemyError):  # the next entry's head is as good
            if lost := self._head.keep(End(written[0], linked["hash"]), self._there):
                log.error(
                    "the end of the trail was cut: %s, the last that this node had written, is not there",
                    lost,
                    extra={"fields": {"event.action": "trail_end_missing"}},
                )

    def _there(self, end: End) -> bool:
        """Whether it is an entry of the trail."""
        where = [trail.c.hash == end.hash, *([trail.c.id == end.id] if end.id else ())]
        with self._reader.connect() as connection:
            return connection.scalar(select(trail.c.id).where(*where)) is not None

    def ready(self) -> None:
        """Raises OSError where nothing could be noted now."""
        with self._reader.connect() as connection:
            if self._signer.able() or connection.scalar(select(trail.c.hash).where(trail.c.hash.is_not(None)).limit(1)):
                self._signer.key()

    def _linked(self, row: Mapping[str, Any], previous: str | None) -> Mapping[str, Any]:
        if previous is None and not self._signer.able():
            return row
        try:
            return sealed(row, previous, self._signer)
        except OSError:
            log.exception(
                "the key that signs what is done here cannot be read: nobody can sign in or act",
                extra={"fields": {"event.action": "trail_key_unreadable"}},
            )
            raise

    def verify(self, trusted: Collection[str], since: int = 1) -> Verdict:
        """Whether nothing was altered, removed or put in between; `trusted` as in trail_chain, beside our own key.
        `since`: the id of the first entry that is looked at."""
        with self._reader.connect() as connection:
            query = select(trail).where(trail.c.id >= since).order_by(trail.c.id)
            rows = connection.execution_options(yield_per=1000).execute(query).mappings()
            return verify(
                ({str(name): value for name, value in row.items()} for row in rows),
                {*([self._signer.public()] if self._signer.able() else ()), *trusted},
                [end for end in self._head.read() if not 0 < end.id < since],
                whole=since <= 1,
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


def trail_of(
    settings: Settings, engine: Engine, clock: Callable[[], int] = time.time_ns, *, makes_key: bool = True
) -> Trail:
    """This node's, signed with the key of its exports; only the server may make that."""
    signer = Signer(settings.data / "export.key", makes=makes_key)
    return Trail(engine, signer, settings.data / "trail.head", clock)


def _entry(row: Any) -> Entry:
    return Entry(**row._mapping)
