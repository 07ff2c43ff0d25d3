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
from alerts.objectives.model import Counts, Finding, Objective, Window
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


@given(
    st.integers(0, 4 * 10**9), st.sampled_from("dwMQY"), st.integers(1, 5),
    st.datetimes(datetime(2000, 1, 1), datetime(2049, 12, 31)),
    st.sampled_from(["UTC", BERLIN, "America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe"]),
)  # fmt: skip
def test_every_moment_is_in_one_period_that_is_not_too_long(
    now: int, unit: str, many: int, start: datetime, zone: str
) -> None:
    calendar = Calendar(many, unit, start.replace(microsecond=0), zone)
    since, until = calendar.since(now), calendar.until(now)
    assert since <= now < until
    assert calendar.since(until) == until
    assert until - since <= calendar.longest


@pytest.mark.parametrize("unit", ["d", "w", "M"])
@pytest.mark.parametrize("hour", ["02:00", "02:30", "03:00"])
@pytest.mark.parametrize("changes", ["2026-03-29", "2026-10-25"])
def test_a_period_that_begins_while_clocks_are_set_begins_once(unit: str, hour: str, changes: str) -> None:
    """In spring 02:30 is left out, in autumn it comes twice."""
    calendar = Calendar(1, unit, datetime.fromisoformat(f"{changes} {hour}"), BERLIN)
    begins = set()
    for now in range(at(f"{changes} 00:00"), at(f"{changes} 06:00"), 300):
        since, until = calendar.since(now), calendar.until(now)
        assert since <= now < until
        assert until - since <= calendar.longest
        begins |= {since, until}
    assert len(begins) == 3


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


@pytest.mark.parametrize(
    ("unit", "ends"),
    [("M", "2026-02-01"), ("M", "2026-03-01"), ("M", "2028-03-01"), ("M", "2026-04-01"), ("Q", "2026-04-01"),
     ("Y", "2029-01-01"), ("d", "2026-03-30"), ("w", "2026-10-26")],
)  # fmt: skip
def test_a_period_has_its_own_length(unit: str, ends: str) -> None:
    """In its last second a promise that was just broken is told as broken, and one that was just kept as kept; of what
    is left after its first second all burns until its end."""
    calendar = Calendar(1, unit, datetime(2024, 1, 1), BERLIN)
    of = Objective("a", "x", Fraction(99, 100), calendar.period, "users", calendar=calendar)
    level, whole = Window("page", Fraction(14), 3600, 300), calendar.until(at(ends) - 1) - calendar.since(at(ends) - 1)
    last, first = at(ends) - 1, at(ends) - whole + 1

    def told(now: int, good: int) -> Finding:
        spans = {3600: Counts(800, 1000), 300: Counts(80, 100), of.reach(now): Counts(good, 100_000)}
        found = burning(Measure(of, spans), level, Rule(), now, lambda _: False)
        assert found is not None
        return found

    assert told(last, 99_000).budget_left == Fraction(1, whole)
    broken = told(last, 98_990).budget_left
    assert broken is not None
    assert broken < 0
    begun = told(first, 99_000)
    assert begun.budget_left == 1 - Fraction(1, whole)
    assert begun.exhausted_at == first + begun.budget_left * whole / 20


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
