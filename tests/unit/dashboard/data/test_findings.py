"""Many patients in a day: against the person's own days, and against colleagues' where they have none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.data import findings
from dashboard.data.event_queries import Queries
from dashboard.values import time_format
from dashboard.values.filters import View
from sidecar.contract import Contract
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import MINUTE
from tests.support.dashboard import seed

UTC = ZoneInfo("UTC")
NOW = time_format.parse("2026-11-25 20:00", UTC)
HOSP = Contract.load("hosp")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    yield store
    store.close()


def opened(store: EmbeddedStore, user: str, days_ago: int, patients: int) -> None:
    """So many patients in one day's working hours."""
    morning, dice = time_format.midnight(NOW, UTC, -days_ago) + 8 * 60 * MINUTE, random.Random(f"{user} {days_ago}")
    made = [
        seed.event(morning + n * MINUTE // 2, dice, kind="patient", user=user, patient=str(n)) for n in range(patients)
    ]
    store.append([event for event, _ in made])


def found(store: EmbeddedStore) -> dict[str, str]:
    made = findings.find(Queries(store), HOSP, View(period="today"), NOW, UTC).findings
    return {each.said.partition(" opened ")[0]: each.said for each in made if each.kind == "Many patients"}


def test_who_is_new_is_held_against_colleagues_and_comes_first(store: EmbeddedStore) -> None:
    for name in ("Dr Holt", "Dr Sato", "Nurse Abara"):
        opened(store, name, 0, 40)
    opened(store, "Nurse Tan", 0, 312)
    assert found(store) == {
        "Nurse Tan": "Nurse Tan opened 312 patients on Wed 25 Nov 2026: they are new here, 40 on a colleague's busiest"
    }
    made = findings.find(Queries(store), HOSP, View(period="today"), NOW, UTC).findings
    assert made[0].said.startswith("Nurse Tan opened 312")
    assert Queries(store).total(made[0].view.filter(NOW, UTC)) == 312


def test_among_busy_colleagues_the_newcomer_is_held_against_the_busiest(store: EmbeddedStore) -> None:
    for patients, name in zip((107, 110, 107, 109, 119), ("Holt", "Okafor", "Abara", "Lindqvist", "Sato"), strict=True):
        opened(store, f"Dr {name}", 0, patients)
    opened(store, "Nurse Tan", 0, 312)
    opened(store, "Dr Zorn", 0, 150)
    assert found(store).keys() == {"Nurse Tan"}


@pytest.mark.parametrize(("today", "unusual"), [(150, False), (230, True)])
def test_who_always_has_many_is_held_against_their_busiest_day(store: EmbeddedStore, today: int, unusual: bool) -> None:
    for days, patients in enumerate((120, 140, 110, 130, 125, 0, 135), 1):
        opened(store, "Dr Holt", days, patients)
    opened(store, "Dr Holt", 0, today)
    assert bool(found(store)) is unusual


ZONES = ("UTC", "Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Pago_Pago", "Pacific/Kiritimati")
MADE = count()
"""Each example's store has a file of its own."""


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    day=st.sampled_from(("2026-10-24", "2026-10-25", "2026-11-01", "2026-03-28", "2026-04-04", "2026-11-24")),
    before=st.integers(0, 312),
    step=st.integers(1, 4 * MINUTE),
)
def test_a_shift_is_one_whenever_it_begins(tmp_path: Path, zone: ZoneInfo, day: str, before: int, step: int) -> None:
    """Each colleague had 100 in a day, so that neither half of her 312 need be many. `before`: so many of them before
    midnight; `step`: ns between two."""
    start = time_format.parse(day, zone) - before * step
    now = start + 312 * step
    store = EmbeddedStore(tmp_path / f"{next(MADE)}.db")
    store.install()
    dice = random.Random(before)
    for name, patients in (("Nurse Tan", 312), ("Dr Holt", 100), ("Dr Sato", 100)):
        made = [seed.event(start + n * step, dice, kind="patient", user=name, patient=str(n)) for n in range(patients)]
        store.append([event for event, _ in made])
    queries = Queries(store)
    result = findings.find(queries, HOSP, View(period="7d"), now, zone).findings
    (told,) = [each for each in result if each.kind == "Many patients"]
    assert told.said.startswith(f"Nurse Tan opened {told.count} patients ")
    assert len(queries.by(told.view.filter(now, zone), "understudy.patient.id")) == told.count >= 150
    store.close()


def test_a_night_says_from_when_and_a_day_that_stands_out_is_told_once(store: EmbeddedStore) -> None:
    for name in ("Dr Holt", "Dr Sato"):
        opened(store, name, 0, 100)
    opened(store, "Nurse Abara", 0, 312)
    night, dice = time_format.parse("2026-11-24 20:00", UTC), random.Random(7)
    made = [
        seed.event(night + n * 2 * MINUTE, dice, kind="patient", user="Nurse Tan", patient=str(n)) for n in range(312)
    ]
    store.append([event for event, _ in made])
    result = findings.find(Queries(store), HOSP, View(period="today"), NOW, UTC).findings
    assert [each.said for each in result if each.kind == "Many patients"] == [
        "Nurse Abara opened 312 patients on Wed 25 Nov 2026: they are new here, 100 on a colleague's busiest",
        "Nurse Tan opened 312 patients in the 24 hours to Wed 25 Nov 2026, 07:00:00 UTC: they are new here, "
        "100 on a colleague's busiest",
    ]


def test_the_same_patients_before_and_after_midnight_are_the_same(store: EmbeddedStore) -> None:
    for name in ("Dr Holt", "Dr Sato"):
        opened(store, name, 0, 20)
    night, dice = time_format.parse("2026-11-24 20:00", UTC), random.Random(7)
    made = [
        seed.event(night + n * MINUTE, dice, kind="patient", user="Nurse Tan", patient=str(n % 50)) for n in range(600)
    ]
    store.append([event for event, _ in made])
    assert found(store) == {}
