"""Every date and time by one function, in any zone: from UTC−11 to UTC+14, over the changes of summer time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dashboard.values import time_format
from sidecar.timeunits import DAY, HOUR, SECOND

ZONES = (
    "Pacific/Niue", "America/Los_Angeles", "America/St_Johns", "UTC", "Europe/London", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Kiritimati",
)  # fmt: skip
YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize("name", ZONES)
def test_every_hour_of_a_year_lies_in_the_day_it_is_shown_with(name: str) -> None:
    zone = ZoneInfo(name)
    for hour in range(0, 366 * 24):
        at = YEAR + hour * HOUR
        first, last = time_format.midnight(at, zone), time_format.midnight(at, zone, 1)
        assert first <= at < last
        assert time_format.day(first, zone) == time_format.day(at, zone) == time_format.day(last - SECOND, zone)
        assert time_format.day(last, zone) != time_format.day(at, zone)
        assert last - first in {DAY, DAY - HOUR, DAY + HOUR, DAY - HOUR // 2, DAY + HOUR // 2}


@pytest.mark.parametrize("name", ZONES)
def test_what_a_field_of_date_and_time_holds_means_the_same_time(name: str) -> None:
    zone = ZoneInfo(name)
    for hour in range(0, 366 * 24, 7):
        at = YEAR + hour * HOUR
        back = time_format.parse(time_format.field_value(at, zone), zone)
        assert back == at or back == at - HOUR or back == at - HOUR // 2  # the hour that a clock shows twice


def test_a_late_evening_in_the_west_is_not_the_next_day() -> None:
    at = int(datetime(2026, 7, 2, 3, 30, tzinfo=UTC).timestamp()) * SECOND
    assert time_format.stamp(at, ZoneInfo("America/Los_Angeles")) == "Wed 1 Jul 2026, 20:30:00 PDT (UTC-07:00)"
    assert time_format.stamp(at, ZoneInfo("Pacific/Niue")) == "Wed 1 Jul 2026, 16:30:00 -11 (UTC-11:00)"
    assert time_format.stamp(at, ZoneInfo("Pacific/Kiritimati")) == "Thu 2 Jul 2026, 17:30:00 +14 (UTC+14:00)"


def test_nobody_else_writes_dates() -> None:
    """A format of dates in another module is a second way to be a day off."""
    patterns = re.compile(r":%[A-Za-z-]|strftime|\.isoformat\(")
    allowed = {"time_format.py", "charts.py", "exports.py", "filters.py"}  # charts: hover texts of plotly; UTC stamps
    found = {
        path.name for path in Path("dashboard").rglob("*.py") if patterns.search(path.read_text())
    } - allowed  # fmt: skip
    assert found == set()
