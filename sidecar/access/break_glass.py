"""Break-glass: a person may, for some hours and for a reason, do what access policies would deny; all of it is flagged.

Promises: `under` touches memory only; what was opened and ended elsewhere `refresh` takes over. Opening and ending
are written to the audit trail, also an end that comes by itself. A revoked person stays out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Engine, String, Table, Text, insert, select, update

from sidecar.http.identifiers import uuid7
from sidecar.storage.database import GLANCE, metadata
from sidecar.timeunits import DAY, HOUR, to_rfc3339

LONGEST: Final = 3 * DAY
"""An emergency of three days is one no more: whoever needs longer opens it again, and says why."""
SHOWN: Final = 200
grants: Final = Table(
    "break_glass",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("user", String(200), nullable=False, index=True),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ended", BigInteger),
    Column("ended_by", Text),
)
"""`ended`: when its end was written to the trail; null: it goes on, or its end is still to be written."""
Record = Callable[[str, "Grant", str, str], Any]
"""Writes (action, grant, by, reason) to the audit trail. Raises RecordingFailed, OSError: then it must not be done."""


@dataclass(frozen=True)
class Grant:
    """Times in nanoseconds since the epoch."""

    id: str
    user: str
    since: int
    until: int
    by: str
    reason: str
    ended: int | None = None
    ended_by: str | None = None

    def about(self) -> dict[str, str]:
        """What the trail says of it beside who and why."""
        return {"break_glass": self.id, "until": to_rfc3339(self.until)}


class BreakGlass:
    """One per process."""

    def __init__(self, engine: Engine, clock: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._glance = engine.execution_options(**GLANCE)
        self._clock = clock
        self._open: dict[str, Grant] = {}

    def under(self, user: str | None) -> str | None:
        """The grant under which a user acts now; the database's failure shortens none and lengthens none."""
        grant = self._open.get(user) if user is not None and self._open else None
        return grant.id if grant is not None and grant.since <= self._clock() < grant.until else None

    def refresh(self) -> None:
        """Raises SQLAlchemyError."""
        query = select(grants).where(grants.c.ended.is_(None), grants.c.until > self._clock()).order_by(grants.c.until)
        with self._glance.connect() as connection:
            self._open = {row.user: Grant(**row._mapping) for row in connection.execute(query)}

    def told(self) -> list[dict[str, Any]]:
        """The latest first; `open` says whether it holds now."""
        with self._glance.connect() as connection:
            rows = connection.execute(select(grants).order_by(grants.c.since.desc()).limit(SHOWN)).all()
        now = self._clock()
        return [{**row._mapping, "open": row.ended is None and row.until > now} for row in rows]

    def begin(self, user: str, hours: float, by: str, reason: str, record: Record) -> Grant:
        """From now on. Raises ValueError, and what `record` raises."""
        if not 0 < hours * HOUR <= LONGEST:
            raise ValueError(f"hours: expected more than 0 and at most {LONGEST // HOUR}; found {hours:g}")
        now = self._clock()
        grant = Grant(uuid7(now), user, now, now + int(hours * HOUR), by, reason)
        record("break_glass", grant, by, reason)
        with self._engine.begin() as connection:
            connection.execute(insert(grants).values(asdict(grant)))
        self.refresh()
        return grant

    def end(self, ident: str, by: str, reason: str, record: Record) -> Grant:
        """Before its time. Raises LookupError where no such grant is open, and what `record` raises."""
        with self._glance.connect() as connection:
            row = connection.execute(select(grants).where(grants.c.id == ident)).one_or_none()
        if row is None or row.ended is not None or row.until <= self._clock():
            raise LookupError(ident)
        grant = Grant(**row._mapping)
        record("break_glass_end", grant, by, reason)
        self._write_end(grant, by)
        self.refresh()
        return grant

    def end_expired(self, record: Record) -> None:
        """Writes down the ends that came by themselves. Of several who do so at once, one does."""
        late = grants.c.ended.is_(None), grants.c.until <= self._clock()
        with self._glance.connect() as connection:
            rows = connection.execute(select(grants).where(*late)).all()
        for row in rows:
            grant = Grant(**row._mapping)
            if self._write_end(grant, ""):
                try:
                    record("break_glass_end", grant, "understudy", "its time was over")
                except Exception:
                    self._reopen(grant)
                    raise

    def _write_end(self, grant: Grant, by: str) -> bool:
        open_ = (grants.c.id == grant.id) & grants.c.ended.is_(None)
        with self._engine.begin() as connection:
            values = {"ended": min(self._clock(), grant.until), "ended_by": by}
            return connection.execute(update(grants).where(open_).values(values)).rowcount > 0

    def _reopen(self, grant: Grant) -> None:
        """Its end is still to be written down; its time is over all the same."""
        with self._engine.begin() as connection:
            connection.execute(update(grants).where(grants.c.id == grant.id).values(ended=None, ended_by=None))
