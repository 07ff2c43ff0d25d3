"""What the overview counts equals an independent reading of each event; what is unknown is never good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from alerts.objectives.calendar import Calendar
from dashboard.data import alert_titles, timeline
from dashboard.data.objectives import Busy, Promised
from dashboard.data.slo_figures import Counted, Rate
from dashboard.data.timeline import Moment
from dashboard.values import tones
from dashboard.widgets import objectives_card
from sidecar.contract import Contract
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from tests.support.alerts.recorded import independent, mixture
from tests.support.dashboard.alarms import Clock

SECOND = 10**9
NOON = 1_795_521_600  # 2026-11-24 12:00 UTC
CONTRACT = Contract.load("hosp")


@pytest.fixture(scope="module")
def promised() -> Promised:
    return replace(Promised.load(Settings(), CONTRACT), kept=None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    yield store
    store.close()


def test_both_views_equal_an_independent_count(store: EmbeddedStore, promised: Promised) -> None:
    events = mixture((NOON - 4000) * SECOND, 1600)
    store.append(events)
    counted = Counted(store, promised, None, lambda: NOON)
    whole = [each for each in promised.promises if not each.each]
    for promise, tally in zip(whole, counted.over(whole, 86400), strict=True):
        said = independent(events, promise)
        assert (tally.good, tally.total, tally.not_asked) == (said["good"], said["total"], said["not_asked"])
        assert (tally.test, tally.outside_contract) == tuple(said["excluded"].values())
    for standing in counted.standings(whole):
        said = independent(events, standing.promise)
        assert (standing.tally.good, standing.tally.total) == (said["good"], said["total"])
        first, last = standing.burn_down[0], standing.burn_down[-1]
        assert standing.left is not None
        assert (first[1], last) == (1.0, (NOON * SECOND, pytest.approx(float(standing.left))))
        lefts = [left for _, left in standing.burn_down]
        assert lefts == sorted(lefts, reverse=True), "a budget is never given back within its period"


def test_a_budget_by_the_calendar_begins_with_the_month(store: EmbeddedStore, promised: Promised) -> None:
    monthly = Calendar(1, "M", datetime(2026, 1, 1), "UTC")
    begins = monthly.since(NOON)
    after = mixture(begins * SECOND, 800)
    before = mixture((begins - 7200) * SECOND, 800)
    store.append([each | {"event": each["event"] | {"id": f"{each['event']['id']}-before"}} for each in before] + after)
    promises = tuple(
        replace(each, objective=replace(each.objective, calendar=monthly))
        for each in promised.promises
        if not each.each
    )
    counted = Counted(store, replace(promised, promises=promises), None, lambda: NOON)
    for standing in counted.standings(promises):
        said = independent(after, standing.promise)
        assert (standing.tally.good, standing.tally.total) == (said["good"], said["total"])
        assert standing.left is not None
        bad, allowed = said["total"] - said["good"], (1 - standing.promise.objective.target) * said["total"]
        so_far = Fraction(NOON - begins, 30 * 86400)
        assert standing.left == 1 - bad * so_far / allowed
        assert standing.burn_down[0] == (begins * SECOND, 1.0)
        assert standing.burn_down[-1][1] == pytest.approx(float(standing.left))


def test_traffic_adds_up_in_every_bucket(store: EmbeddedStore, promised: Promised) -> None:
    events = mixture((NOON - 3000) * SECOND, 1600)
    store.append(events)
    counted = Counted(store, promised, None, lambda: NOON)
    for seconds, interval in ((3600, 60), (86400, 900), (7 * 86400, 21600)):
        slices = counted.traffic(seconds, interval)
        starts = [part.start // SECOND for part in slices]
        assert starts == list(range((NOON - seconds) // interval * interval, NOON, interval))
        ours = [each["understudy"] | {"ended": each["event"]["outcome"]} for each in events]
        people = [
            each for each in ours
            if (each["client"], each["purpose"]) == ("user", "user")
            and each["endpoint"] != "other" and each["outcome"] != "client_aborted"
        ]  # fmt: skip
        assert sum(part.total for part in slices) == len(people)
        assert sum(part.failed for part in slices) == sum(each["ended"] == "failure" for each in people)
        assert sum(part.uncertain for part in slices) == sum(each["ended"] == "unknown" for each in people)
    assert counted.recent(300).total == 0


def test_what_nobody_asked_is_unknown_and_not_good(store: EmbeddedStore, promised: Promised) -> None:
    counted = Counted(store, promised, None, lambda: NOON)
    for standing in counted.standings(promised.headline):
        assert (standing.share, standing.left, standing.burn_down) == (None, None, [])
        assert {rate.exceeded for rate in standing.rates} == {None}
        assert objectives_card.budget(standing.left)[0] == tones.UNKNOWN
    assert counted.recent(300).ratio is None


def test_a_rate_is_only_fine_where_both_windows_are_known(promised: Promised) -> None:
    window = promised.levels[30 * 86400][0]
    above, below = window.factor + 1, window.factor
    known = {(above, above): True, (above, below): False, (below, None): None, (None, above): None}
    assert {pair: Rate(window, *pair).exceeded for pair in known} == known


def test_one_backtest_at_a_time(store: EmbeddedStore, promised: Promised) -> None:
    class Asked:
        """A store that is asked for another backtest while it counts."""

        def count(self, *_: Any) -> list[Any]:
            with pytest.raises(Busy):
                promised.replay(store, 0, SECOND)
            return []

    assert promised.replay(Asked(), NOON * SECOND, (NOON + 60) * SECOND) == []  # type: ignore[arg-type]
    assert promised.replay(store, NOON * SECOND, (NOON + 60) * SECOND) == []


def change(at: int, endpoint: str, before: str, after: str, **more: str) -> dict[str, Any]:
    return {"at": at, "endpoint": endpoint, "before": before, "after": after, **more}


def test_takeovers_have_their_ends() -> None:
    made = [
        change(10, "notes.list", "closed", "open", reason="5 of 8 failed"),
        change(12, "notes.list", "open", "half_open"),
        change(13, "notes.list", "half_open", "open"),
        change(20, "notes.list", "half_open", "closed"),
        change(30, "patients.read", "auto", "standby", by="Sam", reason="slow"),
    ]
    assert timeline.takeovers(reversed(made), "HOSP") == [
        Moment(10, "takeover", "notes.list", "the standby took over automatically: 5 of 8 failed", 20),
        Moment(30, "takeover", "patients.read", "the standby took over by Sam: slow"),
    ]


def test_alerts_have_their_ends() -> None:
    def line(ident: int, at: int, key: str, state: str, severity: str = "page") -> dict[str, Any]:
        return {"id": ident, "at": at, "key": key, "state": state, "severity": severity}

    made = [
        line(1, 10, "a", "pending"), line(2, 10, "a", "firing"), line(3, 11, "b", "silenced", "ticket"),
        line(4, 15, "a", "acknowledged"), line(5, 20, "a", "resolved"), line(6, 30, "a", "firing"),
    ]  # fmt: skip
    found = timeline.alerts(reversed(made), lambda each: str(each["key"]))
    assert sorted((each.what, each.at, each.until, each.grave) for each in found) == [
        ("a", 10, 20, True), ("a", 30, None, True), ("b", 11, None, False)
    ]  # fmt: skip


def test_what_begins_together_is_told_together() -> None:
    def took(at: int, what: str) -> Moment:
        return Moment(at * SECOND, "takeover", what, "the standby took over", at * SECOND + 1)

    marks = timeline.marks(
        [{"at": 5 * SECOND, "text": "release", "by": "Sam"}, {"at": 6, "text": "release", "by": "Sam"}]
    )
    groups = timeline.grouped([took(5, "a"), took(60, "b"), took(900, "c"), *marks])
    assert [[str(each.what) for each in (group.first, *group.others)] for group in groups] == [
        ["c"], ["b", "a"], [""], [""]
    ]  # fmt: skip


def test_an_alert_is_called_by_its_promise(promised: Promised) -> None:
    labels = {"slo": "screening", "view": "users", "endpoint": "POST /patients/{id}/screen"}
    assert alert_titles.title(promised, "ErrorBudgetBurn", labels) == (
        "Screenings are answered successfully, POST /patients/{id}/screen: what users get"
    )
    assert alert_titles.title(promised, "OutboxGrowing", {"resource": "notes"}) == "Outbox growing: notes"
    assert alert_titles.windows("21600s-1800s") == "6 h and 30 min"
    clock = Clock(7)
    waiting = {"state": "waiting", "tries": 2, "due_at": 9 * SECOND}
    assert alert_titles.told(waiting, clock()) == (tones.WARN, "not delivered yet; next try in 8 s")
