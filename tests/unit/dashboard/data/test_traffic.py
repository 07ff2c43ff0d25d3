"""Each endpoint's requests: the same by the counts that are kept as by asking the store, and as each event says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.data.event_queries import Queries
from dashboard.data.objectives import Promised
from dashboard.data.slo_figures import Counted
from dashboard.data.traffic import traffic
from sidecar.contract import Contract
from sidecar.events.store import Event
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.timeunits import SECOND
from tests.support.alerts.recorded import mixture

NOON = 1_795_521_600  # 2026-11-24 12:00 UTC
WEEK = 7 * 86400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    yield store
    store.close()


def people(events: list[Event]) -> list[Event]:
    ours = [each["understudy"] for each in events]
    return [each for each, mine in zip(events, ours, strict=True) if mine["client"] == mine["purpose"] == "user"]


@pytest.mark.parametrize("ready", [False, True], ids=["asked of the store", "by the counts that are kept"])
@pytest.mark.parametrize("seconds", [3600, WEEK])
def test_requests_are_told_by_how_they_ended(store: EmbeddedStore, ready: bool, seconds: int) -> None:
    events = mixture((NOON - 4000) * SECOND, 1600)
    store.append(events)
    promised = replace(Promised.load(Settings(), Contract.load("hosp")), kept=None)
    counted = Counted(store, promised, None, lambda: NOON)
    if ready:
        counted.everything()
    assert counted.ready is ready
    found = traffic(Queries(store), counted, seconds, NOON * SECOND)
    expected: dict[str, Counter[str]] = {}
    for each in people(events[400:] if seconds == 3600 else events):
        mine = expected.setdefault(each["understudy"]["endpoint"], Counter())
        mine["total"] += 1
        mine[each["event"]["outcome"]] += 1
        mine[f"HOSP {each['understudy'].get('upstream_outcome', '')}"] += 1
    assert found.keys() == expected.keys()
    for name, mine in expected.items():
        told = found[name]
        assert (told.total, told.failed, told.uncertain) == (mine["total"], mine["failure"], mine["unknown"])
        assert {f"HOSP {key}": count for key, count in told.upstream.items()} == {
            key: count for key, count in mine.items() if key.startswith("HOSP ")
        }
        assert sum(told.kinds.values()) == mine["failure"]
        assert set(told.percentiles) == {50.0, 95.0, 99.0}
