"""Calendar-aligned windows: a budget that begins anew on a date, of the zone's clocks."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.objectives.calendar import DAY, Calendar
from alerts.objectives.model import Counts, Objective, Window
from alerts.objectives.openslo import load
from alerts.rules.burn_rules import Measure, Rule, burning
from alerts.rules.evaluation import Evaluation, levels
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.alerts.recorded import exchange
from tests.unit.alerts.test_openslo_files import ENDPOINTS, SERVICE, SLO, written

BERLIN = "Europe/Berlin"
MONTHLY = """timeWindow:
    - duration: 1M
      isRolling: false
      calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}"""


def at(said: str, zone: str = BERLIN) -> int:
    return int(datetime.fromisoformat(said).replace(tzinfo=ZoneInfo(zone)).timestamp())


@pytest.mark.parametrize(
    ("many", "unit", "start", "now", "since", "until"),
    [
        (1, "M", "2026-01-01", "2026-03-29 12:00", "2026-03-01", "2026-04-01"),
        (1, "M", "2026-01-01", "2026-03-01 00:00", "2026-03-01", "2026-04-01"),
        (1, "M", "2026-01-01", "2025-12-31 23:59:59", "2025-12-01", "2026-01-01"),
        (1, "M", "2026-01-31", "2026-02-28 12:00", "2026-02-28", "2026-03-31"),
        (1, "M", "2026-01-15 06:00", "2026-02-15 05:59", "2026-01-15 06:00", "2026-02-15 06:00"),
        (1, "Q", "2026-01-01", "2026-11-27", "2026-10-01", "2027-01-01"),
        (1, "Y", "2024-02-29", "2026-11-27", "2026-02-28", "2027-02-28"),
        (1, "w", "2026-01-05", "2026-11-27", "2026-11-23", "2026-11-30"),
        (2, "d", "2026-03-28", "2026-03-29 23:00", "2026-03-28", "2026-03-30"),
    ],
)
def test_periods_begin_on_dates(many: int, unit: str, start: str, now: str, since: str, until: str) -> None:
    calendar = Calendar(many, unit, datetime.fromisoformat(start), BERLIN)
    assert (calendar.since(at(now)), calendar.until(at(now))) == (at(since), at(until))


@given(st.integers(0, 4 * 10**9), st.sampled_from("dwMQY"), st.integers(1, 5), st.datetimes(datetime(2000, 1, 1)))
def test_every_moment_is_in_one_period_that_is_not_too_long(now: int, unit: str, many: int, start: datetime) -> None:
    calendar = Calendar(many, unit, start.replace(year=2000 + start.year % 50, microsecond=0), "UTC")
    since, until = calendar.since(now), calendar.until(now)
    assert since <= now < until
    assert calendar.since(until) == until
    assert until - since <= calendar.longest


def test_a_month_that_is_half_over_has_the_half_of_its_budget_and_none_is_gone_after_its_end() -> None:
    calendar = Calendar(1, "M", datetime(2026, 1, 1), "UTC")
    of = Objective("a", "x", Fraction(99, 100), calendar.period, "users", calendar=calendar)
    now, level = at("2026-06-16", "UTC"), Window("page", Fraction(14), 3600, 300)
    assert (of.period, of.reach(now)) == (30 * DAY, 15 * DAY)
    spans = {3600: Counts(800, 1000), 300: Counts(80, 100), of.reach(now): Counts(99_500, 100_000)}
    told = burning(Measure(of, spans), level, Rule(), now, lambda _: False)
    assert told is not None
    assert told.budget_left == Fraction(3, 4), "half of what half a month allows"
    assert told.exhausted_at == now + Fraction(3, 4) * 30 * DAY / 20
    late = at("2026-06-30 12:00", "UTC")
    spans[of.reach(late)] = Counts(99_500, 100_000)
    told = burning(Measure(of, spans), level, Rule(), late, lambda _: False)
    assert told is not None
    assert told.exhausted_at is None, "before that there is a new budget"


def test_what_was_before_the_month_is_forgiven(tmp_path: Path) -> None:
    """By a file, and by events in a store."""
    slo = SLO.replace("timeWindow: [{duration: 30d, isRolling: true}]", MONTHLY) % ("a", "upstream", "target: 0.99")
    promises = load(written(tmp_path, SERVICE, slo), ENDPOINTS)
    begins = at("2026-03-01")
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    bad = [exchange(n, (begins - 7200 + n) * SECOND, outcome="failure", status=503) for n in range(100)]
    store.append([*bad, *(exchange(1000 + n, (begins + n) * SECOND) for n in range(100))])
    evaluation = Evaluation(store, promises, levels(promises), Rule(), None)
    for now, bad_ones in ((begins - 3600, 100), (begins + 3600, 0)):
        [users, _] = evaluation.measures(now)[30 * DAY]
        counted = users.spans[users.objective.reach(now)]
        assert counted is not None
        assert counted.bad == bad_ones
    store.close()
