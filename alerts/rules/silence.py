"""When it is news that nobody asks anything. Pure.

Not before a first request was ever seen, not before it was watched for as long, and only in hours in which people work.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sidecar.settings.parsers import Quiet

ALWAYS: Final = Quiet(3600)
DAY: Final = 24 * 60
"""Minutes."""


def expected(quiet: Quiet | None, zone: str, now: int) -> bool:
    """Whether somebody ought to have asked within the last so many seconds before `now` (Unix seconds)."""
    if quiet is None:
        return False
    if quiet.hours is None:
        return True
    first, last = (datetime.fromtimestamp(at, ZoneInfo(zone)) for at in (now - quiet.seconds, now))
    start, end = quiet.hours
    open_for = (end - start) % DAY
    if not open_for:
        return True
    since_open = (first.hour * 60 + first.minute - start) % DAY
    return since_open < open_for and since_open * 60 + (last - first).total_seconds() <= open_for * 60
