"""Many patients in a day: against the person's own days, and against colleagues' where they have none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

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
    for count, name in zip((107, 110, 107, 109, 119), ("Holt", "Okafor", "Abara", "Lindqvist", "Sato"), strict=True):
        opened(store, f"Dr {name}", 0, count)
    opened(store, "Nurse Tan", 0, 312)
    opened(store, "Dr Zorn", 0, 150)
    assert found(store).keys() == {"Nurse Tan"}


@pytest.mark.parametrize(("today", "unusual"), [(150, False), (230, True)])
def test_who_always_has_many_is_held_against_their_busiest_day(store: EmbeddedStore, today: int, unusual: bool) -> None:
    for days, count in enumerate((120, 140, 110, 130, 125, 0, 135), 1):
        opened(store, "Dr Holt", days, count)
    opened(store, "Dr Holt", 0, today)
    assert bool(found(store)) is unusual
