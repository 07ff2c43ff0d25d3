# pure
"""Periods that begin on dates, such as each month's first: the calendar-aligned windows of OpenSLO.

Times are Unix seconds; dates are those of a time zone, so that a month begins at its midnight and is as long as it is.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY: Final = 86400
MONTHS: Final = {"M": 1, "Q": 3, "Y": 12}
DAYS: Final = {"d": 1, "w": 7}
WORDS: Final = {"M": "month", "Q": "quarter", "Y": "year", "d": "day", "w": "week"}


@dataclass(frozen=True)
class Calendar:
    """`many` of a unit (d, w, M, Q, Y) a period, of which one begins at `start`, a time of the zone's clocks."""

    many: int
    unit: str
    start: datetime
    zone: str = "UTC"

    @property
    def named(self) -> str:
        """`each month`, `each 2 weeks`."""
        return f"each {WORDS[self.unit]}" if self.many == 1 else f"each {self.many} {WORDS[self.unit]}s"

    @property
    def period(self) -> int:
        """Its usual length: of a month 30 days."""
        if self.unit in MONTHS:
            return 365 * MONTHS[self.unit] * self.many // 12 * DAY
        return DAYS[self.unit] * self.many * DAY

    @property
    def longest(self) -> int:
        """No period is longer; clocks that are put back add an hour."""
        days = 31 * MONTHS[self.unit] if self.unit in MONTHS else DAYS[self.unit]
        return days * self.many * DAY + 3600

    def since(self, now: int) -> int:
        """When the period began that holds this moment."""
        return self._begins(self._number(now))

    def until(self, now: int) -> int:
        """When the next one begins."""
        return self._begins(self._number(now) + 1)

    def _number(self, now: int) -> int:
        """Which period it is, from that of `start` on."""
        at = datetime.fromtimestamp(now, ZoneInfo(self.zone)).replace(tzinfo=None)
        if self.unit in DAYS:
            return (at - self.start) // timedelta(days=DAYS[self.unit] * self.many)
        months = (at.year - self.start.year) * 12 + at.month - self.start.month
        number = months // (MONTHS[self.unit] * self.many)
        return number if self._begins(number) <= now else number - 1

    def _begins(self, number: int) -> int:
        if self.unit in DAYS:
            at = self.start + timedelta(days=number * DAYS[self.unit] * self.many)
        else:
            month = self.start.month - 1 + number * MONTHS[self.unit] * self.many
            year, month = self.start.year + month // 12, month % 12 + 1
            at = self.start.replace(year=year, month=month, day=min(self.start.day, monthrange(year, month)[1]))
        return int(at.replace(tzinfo=ZoneInfo(self.zone)).timestamp())
