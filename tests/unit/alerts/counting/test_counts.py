"""What counts: every figure equals an independent reading of the events, however they came to the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alerts.counting.counts import ask, limits_of, tally
from alerts.counting.rollups import MONTH, Rollups
from alerts.lifecycle.lifecycle import Condition
from alerts.objectives import openslo
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import SOURCE, Evaluation, conditions, levels
from sidecar.contract import Contract
from sidecar.events.store import EventStore, Filter, SpansUnknown, StoreUnavailable
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND, parse_rfc3339
from tests.contracts.event_store import NOON
from tests.support.alerts.recorded import exchange, independent, mixture

ENDPOINTS = [endpoint.name for endpoint in Contract.load("hosp").endpoints.values()]
PROMISES = openslo.load("hosp", ENDPOINTS)
LIMITS = limits_of(PROMISES)
NOW = NOON // SECOND


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    yield store
    store.close()


class Asked:
    """The store, with a note of what it had to look at events for, and a switch that turns it off."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.since: list[int] = []
        self.away = False
        self.dark: list[tuple[int, int]] = []
        """Spans (ns) that cannot be told of."""

    def count(self, where: Filter, interval: int | None = None, by: Sequence[str] = ()) -> object:
        if self.away:
            raise StoreUnavailable("away")
        if met := [(a, b) for a, b in self.dark if (where.since or 0) < b and (where.until or b) > a]:
            raise SpansUnknown("a day is closed", met)
        if by:
            self.since.append(where.since or 0)
        return self._store.count(where, interval, by)


@pytest.mark.parametrize(
    "promise", PROMISES, ids=lambda p: f"{p.objective.slo}-{p.objective.view}-{p.objective.endpoint}"
)
def test_each_promise_equals_an_independent_count(promise: openslo.Promise, cubes: dict) -> None:
    counted = tally(cubes["cube"], promise)
    expected = independent(cubes["events"], promise)
    assert (counted.good, counted.total, counted.not_asked) == (
        expected["good"],
        expected["total"],
        expected["not_asked"],
    )
    assert {"test": counted.test, "outside_contract": counted.outside_contract} == expected["excluded"]


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "events.db")
    store.install()
    events = mixture(NOON, 320)
    store.append(events)
    (cube,) = ask(store, NOON, NOON + 320 * SECOND, LIMITS).values()
    yield {"cube": cube, "events": events}
    store.close()


def test_clients_that_left_and_what_the_standby_saved_are_seen(cubes: dict) -> None:
    counted = tally(cubes["cube"], PROMISES[0])
    assert (counted.client_left, counted.saved) == (40, 40)


def test_rollups_equal_the_events_as_time_goes_on(store: EventStore) -> None:
    """Over tiers and their borders; events that come late, even hours late, are counted at the next sweep."""
    asked = Asked(store)
    rollups = Rollups(asked, LIMITS, MONTH)  # type: ignore[arg-type]
    promise, number, held = PROMISES[0], 0, []
    for minute in range(0, 40 * 60, 7):
        now = NOW + 60 * minute
        batch = [exchange(number + n, now * SECOND - 5 * n * SECOND) for n in range(3)]
        late = [exchange(number + 3, (now - 10 * 60) * SECOND), exchange(number + 4, (now - 3600 * 5) * SECOND)]
        number += 5
        store.append([*batch, *late])
        held += [*batch, *late]
        rollups.refresh(now)
    rollups.refresh(now + 901)
    end = now + 901
    for span, width in ((300, 15), (3600, 15), (21600, 60), (86400, 60), (3 * 86400, 3600), (MONTH, 3600)):
        (total,) = (tally(cube, promise).total for cube in rollups.spans(end, [span]).values())
        times = [int(_seconds(each)) for each in held]
        assert sum(at >= end - span + width for at in times) <= total <= sum(at >= end - span for at in times), span
    everything = tally(rollups.spans(end, [MONTH])[MONTH], promise).total
    assert everything == len(held)


def _seconds(event: dict) -> int:
    return parse_rfc3339(event["@timestamp"]) // SECOND


def total(rollups: Rollups, now: int, span: int) -> int | None:
    cube = rollups.spans(now, [span])[span]
    return None if cube is None else tally(cube, PROMISES[0]).total


def fill(store: EventStore, hours: int) -> None:
    """An event every ten minutes for so many hours before NOON."""
    store.append([exchange(n, NOON - n * 600 * SECOND - 1) for n in range(hours * 6)])


def test_only_what_is_new_is_asked_for_also_after_a_restart(store: EventStore, tmp_path: Path) -> None:
    fill(store, 48)
    kept = tmp_path / "rollups.db"
    for again in (False, True):
        asked = Asked(store)
        rollups = Rollups(asked, (), MONTH, kept)  # type: ignore[arg-type]
        rollups.refresh(NOW)
        assert min(asked.since) == (NOON - 3600 * SECOND if again else NOON - 48 * 3600 * SECOND)
        assert [total(rollups, NOW, span) for span in (3600, 86400, MONTH)] == [6, 144, 288]
        asked.since.clear()
        rollups.refresh(NOW + 15)
        assert min(asked.since) >= (NOW - 180) * SECOND
        rollups.close()
    asked.away = True
    with pytest.raises(StoreUnavailable):
        rollups.refresh(NOW + 30)


def test_a_late_event_is_counted_at_the_next_look_and_only_its_block_again(store: EventStore, tmp_path: Path) -> None:
    fill(store, 48)
    asked = Asked(store)
    rollups = Rollups(asked, (), MONTH, tmp_path / "rollups.db")  # type: ignore[arg-type]
    rollups.refresh(NOW)
    for number, hours_ago in ((1, 20), (2, 400), (3, 0.5)):
        asked.since.clear()
        store.append([exchange(1000 + number, NOON - int(hours_ago * 3600) * SECOND + 1)])
        rollups.refresh(NOW + 15 * number)
        assert total(rollups, NOW + 15 * number, MONTH) == 288 + number
        old = {since for since in asked.since if since < NOON - 3600 * SECOND}
        assert len(old) == (hours_ago >= 1)


def test_dropped_days_are_no_longer_counted(store: EventStore, tmp_path: Path) -> None:
    fill(store, 48)
    rollups = Rollups(store, (), MONTH, tmp_path / "rollups.db")
    rollups.refresh(NOW)
    assert list(store.drop_before(NOON - 12 * 3600 * SECOND, 0))
    rollups.refresh(NOW + 15)
    assert total(rollups, NOW, MONTH) == 72


def test_what_is_not_counted_yet_is_unknown_and_the_newest_is_counted_first(store: EventStore) -> None:
    fill(store, 48)
    rollups = Rollups(store, (), MONTH)
    rollups.refresh(NOW, 0)
    assert (total(rollups, NOW, 3600), total(rollups, NOW, MONTH)) == (6, None)
    for step in range(48):
        rollups.refresh(NOW + step, 0)
    assert total(rollups, NOW + step, MONTH) == 288


@pytest.mark.parametrize("how", ["no database", "no folder", "full"])
def test_counts_that_cannot_be_kept_are_right_all_the_same(store: EventStore, tmp_path: Path, how: str) -> None:
    fill(store, 48)
    path = tmp_path / "away" / "rollups.db" if how == "no folder" else tmp_path / "rollups.db"
    if how == "no database":
        path.write_text("no database" * 100)
    rollups = Rollups(store, (), MONTH, path)
    if how == "full":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TRIGGER full BEFORE INSERT ON blocks BEGIN SELECT RAISE(FAIL, 'full'); END")
        connection.close()
    rollups.refresh(NOW)
    assert [total(rollups, NOW, span) for span in (3600, 86400, MONTH)] == [6, 144, 288]


def test_conditions_of_a_burning_hour(store: EventStore) -> None:
    failed = {"outcome": "failure", "status": 500, "upstream": ("failure",), "answered_by": "upstream"}
    events = [exchange(n, NOON - (3600 - n) * SECOND, **(failed if n % 2 else {})) for n in range(3600)]
    store.append(events)
    found, unknown, _ = conditions(store, PROMISES, levels(PROMISES), Rule(), NOW, lambda _: True)
    assert unknown == frozenset()
    users = [c for c in found if c.labels.get("slo") == "answered" and c.labels["view"] == "users"]
    (fast,) = (c for c in users if c.severity == "page")
    assert fast.notes["window"] == "3600s-300s", "one page, of the fastest window that holds"
    assert fast.notes["burn_long"] == "50"
    assert float(fast.notes["budget_left"]) == -49
    assert float(fast.notes["exhausted_at"]) == NOW
    hosp = [c for c in found if c.labels.get("slo") == "answered" and c.labels["view"] == "hosp"]
    assert {c.severity for c in hosp} == {"ticket"}
    assert all("running on the standby" in c.notes["reason"] for c in hosp)
    assert not [c for c in found if c.labels.get("slo") == "front-door" and c.labels["view"] == "users"]


def test_silence_and_a_store_that_is_away(store: EventStore) -> None:
    asked = Asked(store)
    evaluation = Evaluation(asked, PROMISES, levels(PROMISES), Rule())  # type: ignore[arg-type]
    store.append([exchange(1, NOON - 3500 * SECOND)])
    assert evaluation.step(NOW, lambda _: False) == ([], frozenset(), frozenset())
    (silent,), unknown, _ = evaluation.step(NOW + 300, lambda _: False)
    assert (silent.name, silent.severity, unknown) == ("NoTraffic", "ticket", frozenset())
    asked.away = True
    (missing,), unknown, _ = evaluation.step(NOW + 315, lambda _: False)
    assert (missing.name, unknown) == ("NoData", {"events"})


DARK = (NOON - 40 * 3600 * SECOND, NOON - 16 * 3600 * SECOND)
"""A day that is closed."""


def test_a_closed_day_is_unknown_and_the_hours_after_it_are_not(store: EventStore) -> None:
    fill(store, 48)
    asked = Asked(store)
    asked.dark = [DARK]
    rollups = Rollups(asked, (), MONTH)  # type: ignore[arg-type]
    rollups.refresh(NOW)
    assert [total(rollups, NOW, span) for span in (3600, 16 * 3600, 86400, MONTH)] == [6, 96, None, None]
    assert rollups.trouble == "a day is closed"
    with pytest.raises(SpansUnknown):
        rollups.wholes(NOW - 48 * 3600, NOW - 3600)
    asked.dark = []
    rollups.refresh(NOW + 1)
    assert ([total(rollups, NOW, span) for span in (86400, MONTH)], rollups.trouble) == ([144, 288], None)


def test_what_was_counted_before_a_day_was_closed_stays_true(store: EventStore, tmp_path: Path) -> None:
    fill(store, 48)
    asked = Asked(store)
    rollups = Rollups(asked, (), MONTH, tmp_path / "rollups.db")  # type: ignore[arg-type]
    rollups.refresh(NOW)
    asked.dark = [DARK]
    rollups.refresh(NOW + 15)
    assert total(rollups, NOW, MONTH) == 288
    again = Rollups(asked, (), MONTH, tmp_path / "rollups.db")  # type: ignore[arg-type]
    again.refresh(NOW + 30)
    assert total(again, NOW, MONTH) == 288
    assert len(again.wholes(NOW - 48 * 3600, NOW - 3600)) == 47


def test_a_day_that_is_closed_stops_only_what_reaches_it_and_is_told(store: EventStore) -> None:
    failed = {"outcome": "failure", "status": 500, "upstream": ("failure",), "answered_by": "upstream"}
    store.append([exchange(n, NOON - (3600 - n) * SECOND, **(failed if n % 2 else {})) for n in range(3600)])
    asked = Asked(store)
    asked.dark = [DARK]
    evaluation = Evaluation(asked, PROMISES, levels(PROMISES), Rule())  # type: ignore[arg-type]
    found, unknown, unasked = evaluation.step(NOW, lambda _: False)
    page = next(each for each in found if each.labels.get("slo") == "answered" and each.severity == "page")
    assert page.key not in unknown, "its windows are known: it starts, and it ends"
    ticket = Condition(name=page.name, severity="ticket", source=page.source, labels=page.labels)
    assert ticket.key in unknown, "three days reach behind it"
    assert ["a day is closed" in each.notes["reason"] for each in found if each.name == "NoData"] == [True]
    assert (unasked, SOURCE in unknown) == (frozenset(), False)


def test_the_newest_hours_in_the_dark_are_nothing_known_at_all(store: EventStore) -> None:
    asked = Asked(store)
    asked.dark = [(NOON - 3600 * SECOND, NOON + 3600 * SECOND)]
    evaluation = Evaluation(asked, PROMISES, levels(PROMISES), Rule())  # type: ignore[arg-type]
    (missing,), unknown, unasked = evaluation.step(NOW, lambda _: False)
    assert (missing.name, unknown, unasked) == ("NoData", {SOURCE}, {SOURCE})


def test_a_short_period_has_buckets_to_match(store: EventStore) -> None:
    """A demo's period of some hours: windows of seconds are told apart."""
    rollups = Rollups(store, (), 10 * 3600)
    store.append([exchange(n, NOON - n * SECOND) for n in range(1, 60)])
    rollups.refresh(NOW)
    found = rollups.spans(NOW, [5, 50])
    assert [tally(found[span], PROMISES[0]).total for span in (5, 50)] == [5, 50]
