"""Local days: whole whatever the zone, counted once, and again when something was added to them."""

from __future__ import annotations

import random
from zoneinfo import ZoneInfo

import pytest

from dashboard.data.days import days
from dashboard.data.event_queries import KEEP, Queries
from dashboard.values import time_format
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import DAY, HOUR, MINUTE
from tests.support.dashboard import seed
from tests.support.dashboard.watched import Watched


def put(store: EmbeddedStore, zone: ZoneInfo, *given: tuple[str, str, str]) -> None:
    dice = random.Random(3)
    made = [
        seed.event(time_format.parse(at, zone), dice, kind="patient", user=user, patient=patient)
        for at, user, patient in given
    ]
    store.append([event for event, _ in made])


@pytest.mark.parametrize("name", ["UTC", "Europe/London", "Asia/Kathmandu", "Pacific/Pago_Pago", "Pacific/Kiritimati"])
def test_a_day_is_the_local_one_also_where_its_clock_is_changed(store: Watched, name: str) -> None:
    zone = ZoneInfo(name)
    put(
        store, zone,
        ("2026-10-24 23:59", "Dr Holt", "1"),
        ("2026-10-25 00:00", "Dr Holt", "1"), ("2026-10-25 00:05", "Dr Holt", "1"),
        ("2026-10-25 23:59", "Dr Holt", "2"),
        ("2026-10-26 00:00", "Nurse Tan", "3"),
    )  # fmt: skip
    since, until = time_format.parse("2026-10-20 12:00", zone), time_format.parse("2026-10-26 12:00", zone)
    found = days(Queries(store), since, until, zone)
    assert [(time_format.day(day.start, zone), dict(day.patients)) for day in found] == [
        ("Sat 24 Oct 2026", {"Dr Holt": 1}),
        ("Sun 25 Oct 2026", {"Dr Holt": 2}),
        ("Mon 26 Oct 2026", {"Nurse Tan": 1}),
    ]
    assert [sum(day.hours[user].values()) for day in found for user in day.hours] == [1, 3, 1]


def test_a_day_is_counted_again_only_when_something_was_added_to_it(store: Watched) -> None:
    zone, now = ZoneInfo("UTC"), [0.0]
    queries = Queries(store, lambda: now[0])
    put(store, zone, ("2026-11-02 10:00", "Dr Holt", "1"), ("2026-11-03 10:00", "Dr Holt", "2"))
    since = time_format.parse("2026-11-02", zone)

    def again() -> list[dict[str, int]]:
        store.asked.clear()
        now[0] += 3600
        return [dict(day.patients) for day in days(queries, since, since + 3 * DAY, zone)]

    assert again() == [{"Dr Holt": 1}, {"Dr Holt": 1}]
    assert {began for began, _ in store.asked} == {since, since + DAY}
    assert again() == [{"Dr Holt": 1}, {"Dr Holt": 1}]
    assert store.asked == []
    put(store, zone, ("2026-11-02 11:00", "Dr Holt", "7"))
    assert again() == [{"Dr Holt": 2}, {"Dr Holt": 1}]
    assert {began for began, _ in store.asked} == {since}


def test_a_count_from_before_an_event_does_not_stay_with_the_day(store: Watched) -> None:
    """Its events are counted anew, while the count of its hours from before the event is still kept for other pages."""
    zone, now = ZoneInfo("UTC"), [0.0]
    queries = Queries(store, lambda: now[0])
    since = time_format.parse("2026-11-02", zone)
    put(store, zone, ("2026-11-02 10:00", "Dr Holt", "1"))
    days(queries, since, since + DAY, zone)
    put(store, zone, ("2026-11-02 11:00", "Dr Holt", "7"))
    for later, span in ((KEEP / 2, 2 * DAY), (3600.0, DAY)):
        now[0] += later
        (day,) = days(queries, since, since + span, zone)
        assert (day.patients, sum(day.hours["Dr Holt"].values())) == ({"Dr Holt": 2}, 2)


def test_of_a_time_without_events_there_are_no_days(store: Watched) -> None:
    assert list(days(Queries(store), 5 * DAY + HOUR, 9 * DAY + MINUTE, ZoneInfo("UTC"))) == []
