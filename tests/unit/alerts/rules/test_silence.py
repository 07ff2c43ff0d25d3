"""Nobody asks anything: news by day, for those who are asked for it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerts.rules.silence import expected
from sidecar.settings.parsers import Quiet, quiet


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("setting", "now", "news"),
    [
        ("off", "2026-03-10T12:00", False),
        ("1h", "2026-03-10T03:00", True),
        ("1h 07:00-19:00", "2026-03-10T12:00", True),
        ("1h 07:00-19:00", "2026-03-10T03:00", False),
        ("1h 07:00-19:00", "2026-03-10T07:30", False),
        ("1h 07:00-19:00", "2026-03-10T08:00", True),
        ("1h 07:00-19:00", "2026-03-10T19:01", False),
        ("1h 22:00-06:00", "2026-03-10T00:30", True),
        ("1h 22:00-06:00", "2026-03-10T22:30", False),
        ("1h 00:00-24:00", "2026-03-10T00:30", True),
    ],
)
def test_it_is_news_when_all_of_the_silence_lies_in_the_hours(setting: str, now: str, news: bool) -> None:
    assert expected(quiet(setting), "UTC", at(now)) is news


def test_hours_are_those_of_the_time_zone() -> None:
    assert expected(Quiet(3600, (420, 1140)), "America/New_York", at("2026-03-10T22:30"))
    assert not expected(Quiet(3600, (420, 1140)), "America/New_York", at("2026-03-10T09:00"))


@pytest.mark.parametrize("wrong", ["", "on", "1h 7-19", "1h 07:00", "1h 07:00-07:00", "0s", "1h 07:00-25:00", "1h a b"])
def test_what_is_no_such_setting_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="off, or a duration"):
        quiet(wrong)
