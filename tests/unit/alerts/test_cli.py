"""Times as `slo` takes them: how long ago, or when."""

from __future__ import annotations

import click
import pytest

from alerts.cli import moment
from sidecar.timeunits import DAY, HOUR, SECOND

NOW = 1_795_521_600 * SECOND
"""2026-11-24 12:00 UTC."""


@pytest.mark.parametrize(
    ("said", "ago"),
    [
        ("1w", 7 * DAY), ("30d", 30 * DAY), ("90m", 3 * HOUR // 2), ("2026-11-24", 12 * HOUR),
        ("2026-11-24T07:00", 5 * HOUR), ("2026-11-24T07:00+01:00", 6 * HOUR),
    ],
)  # fmt: skip
def test_a_time_is_long_ago_or_a_date(said: str, ago: int) -> None:
    assert NOW - moment(said, NOW) == ago


@pytest.mark.parametrize("said", ["", "1 week", "yesterday", "2026-13-01"])
def test_what_is_no_time_is_said_to_be_none(said: str) -> None:
    with pytest.raises(click.UsageError, match="expected a time such as 30d"):
        moment(said, NOW)
