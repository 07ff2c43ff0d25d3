"""The weekly review: what was found in a week that is over, and who has looked at it, when, with what verdict.

Findings are written down when somebody first opens the week after its end: what is signed off later is what was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from dashboard.data.findings import Finding, Found
from dashboard.data.tables import reviews
from dashboard.values import time_format
from dashboard.values.filters import View, utc

WHOLE: Final = "week"
"""The key of the week itself: signed off last, also where nothing was found."""
VERDICTS: Final = {
    "explained": "Explained: it was rightful",
    "followed": "Followed up with the person",
    "reported": "Reported further",
}
NOTE: Final = 2000


class NotSigned(ValueError):
    """Why a sign-off was not taken, for the person who gave it."""


@dataclass(frozen=True)
class Item:
    """A finding of a week, or the week itself. `week` is the date of its Monday."""

    week: str
    key: str
    kind: str
    said: str
    weight: int
    view: str
    found_at: int
    signed_by: str | None = None
    signed_at: int | None = None
    verdict: str | None = None
    note: str | None = None


def monday(at: int, zone: ZoneInfo) -> date:
    """Of the week that a time is in."""
    day = time_format.local(at, zone).date()
    return day - timedelta(days=day.weekday())


def span(week: date, zone: ZoneInfo) -> tuple[int, int]:
    """From its Monday's midnight to the next one's, in ns."""
    first, last = (time_format.parse(str(week + timedelta(days=days)), zone) for days in (0, 7))
    return first, last


def view(week: date, zone: ZoneInfo) -> View:
    since, until = span(week, zone)
    return View(period="between", start=utc(since), end=utc(until))


class Reviews:
    """The weeks in DATABASE."""

    def __init__(self, engine: Engine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._clock = clock

    def of(self, week: date, find: Callable[[], Found]) -> list[Item]:
        """The week's items, the gravest first and the week itself last. `find`: what is found in it, where nobody has
        looked yet; what it raises is raised."""
        if not (known := self._read(str(week))):
            self._write_down(str(week), find())
            known = self._read(str(week))
        return known

    def written(self, week: date) -> bool:
        """Whether somebody has opened it."""
        return bool(self._read(str(week)))

    def waiting(self, weeks: Sequence[date]) -> list[date]:
        """Those that are not signed off, in their order."""
        names = [str(week) for week in weeks]
        query = select(reviews.c.week).where(
            reviews.c.key == WHOLE, reviews.c.signed_by.is_not(None), reviews.c.week.in_(names)
        )
        with self._reader.connect() as connection:
            done = set(connection.execute(query).scalars())
        return [week for week in weeks if str(week) not in done]

    def sign(self, week: str, key: str, by: str, verdict: str, note: str) -> Item:
        """Once; nobody signs off what was found about them, and the week comes last. Raises NotSigned."""
        note, items = note.strip(), self._read(week)
        found = next((item for item in items if item.key == key), None)
        if found is None:
            raise NotSigned("there is no such finding in that week")
        if key != WHOLE and verdict not in VERDICTS:
            raise NotSigned("choose what came of it")
        if not 3 <= len(note) <= NOTE and key != WHOLE:
            raise NotSigned(f"note: expected 3 to {NOTE} characters; found {len(note)}")
        if re.search(rf"(?<!\w){re.escape(by)}(?!\w)", found.said, re.IGNORECASE):
            raise NotSigned("it is about you: somebody else must sign it off")
        if key == WHOLE and (left := sum(item.signed_by is None for item in items if item.key != WHOLE)):
            raise NotSigned(f"{left} of its findings are not signed off yet")
        values = {"signed_by": by, "signed_at": self._clock(), "verdict": verdict or None, "note": note or None}
        where = (reviews.c.week == week) & (reviews.c.key == key) & reviews.c.signed_by.is_(None)
        with self._engine.begin() as connection:
            if not connection.execute(update(reviews).where(where).values(values)).rowcount:
                raise NotSigned("somebody has signed it off already")
        return found

    def _read(self, week: str) -> list[Item]:
        with self._reader.connect() as connection:
            rows = connection.execute(select(reviews).where(reviews.c.week == week)).all()
        items = [Item(**row._mapping) for row in rows]
        return sorted(items, key=lambda item: (item.key == WHOLE, -item.weight, item.kind, item.said))

    def _write_down(self, week: str, made: Found) -> None:
        now, found = self._clock(), made.findings
        many = f"{len(found)} finding{'' if len(found) == 1 else 's'}"
        if made.read < made.writes:
            many += f"; read were the newest {made.read:,} of its {made.writes:,} writes"
        items = [Item(week, _key(each), each.kind, each.said, each.weight, each.view.query(), now) for each in found]
        items.append(Item(week, WHOLE, "Week", many, 0, "", now))
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(reviews), [asdict(item) for item in items])
        except IntegrityError:  # somebody else opened it at the same moment
            return


def _key(finding: Finding) -> str:
    return sha256(f"{finding.kind}\n{finding.said}\n{finding.view.query()}".encode()).hexdigest()[:32]


def weeks(now: int, zone: ZoneInfo, count: int) -> list[date]:
    """The last so many weeks that are over, the latest first."""
    this = monday(now, zone)
    return [this - timedelta(weeks=number) for number in range(1, count + 1)]


def parse_week(text: str, now: int, zone: ZoneInfo) -> date:
    """A Monday of a week that is over. Raises ValueError."""
    try:
        week = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"week: expected the date of a Monday; found {text!r}") from None
    if week.weekday() or week >= monday(now, zone):
        raise ValueError(f"week: expected the Monday of a week that is over; found {text!r}")
    return week
