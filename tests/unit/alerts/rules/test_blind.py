"""While the store lacks the newest events nothing ends, and the sidecars' own counters page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from alerts.objectives.openslo import load
from alerts.rules import blind, conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.conditions import Rule as Beyond
from alerts.rules.conditions.metrics import parse
from alerts.rules.counters import NAMES, Counters
from alerts.rules.cycle import Objectives, Watch
from alerts.rules.doubt import BEHIND, LOST
from alerts.rules.evaluation import SOURCE, Evaluation, _condition, levels
from alerts.rules.outlook import Outlook
from sidecar.contract import Contract
from sidecar.control.client import ControlError
from sidecar.events.store import Bucket, Filter, StoreUnavailable
from sidecar.settings.parsers import Quiet
from sidecar.timeunits import SECOND

CONTRACT = Contract.load("hosp")
PROMISES = load("hosp", [endpoint.name for endpoint in CONTRACT.endpoints.values()])
LEVELS = levels(PROMISES)
NOW = 1_773_144_000
LABELS = 'client="user",endpoint="GET /notes"'
GOT = f'understudy_requests_total{{{LABELS},method="GET"'
TOOK = f'{LABELS},outcome="success",upstream="success"'


def text(good: int, bad: int, behind: float = 0.4) -> str:
    """What a sidecar's /metrics says of so many requests."""
    return "\n".join(
        [
            f'{GOT},code="200",outcome="success",answered_by="upstream"}} {good}',
            f'{GOT},code="503",outcome="failure",answered_by="understudy"}} {bad}',
            f'understudy_upstream_requests_total{{{LABELS},outcome="success"}} {good}',
            f'understudy_upstream_requests_total{{{LABELS},outcome="failure"}} {bad}',
            f"understudy_request_duration_seconds_count{{{TOOK}}} {good}",
            f'understudy_request_duration_seconds_bucket{{{TOOK},le="3.0"}} {good}',
            f"{BEHIND} {behind}",
        ]
    )


class Sidecar:
    """A control plane that says what it is told to; None: it does not answer."""

    metrics: str | None = text(0, 0)
    rows: Any = ()
    nodes: Any = None
    """None: what it says of its rows."""

    def get(self, path: str) -> Any:
        if self.metrics is None:
            raise ControlError("away")
        return self.nodes if path == "/nodes" and self.nodes is not None else self.rows

    def text(self, path: str) -> str:
        if self.metrics is None:
            raise ControlError("away")
        return self.metrics


class Store:
    """One that answers searches and holds nothing."""

    away = False
    broken = False
    heard = 0
    """When, in Unix seconds, the upstream answered one user well; 0: never."""

    def count(self, where: Filter, interval: int | None, by: Sequence[str] = ()) -> list[Bucket]:
        if self.away:
            raise StoreUnavailable("away")
        if self.broken:
            raise KeyError("unmapped")
        at = self.heard * SECOND
        if not at or not (where.since or 0) <= at < (where.until or at + 1):
            return []
        said = {"understudy.purpose": "user", "understudy.client": "user", "understudy.endpoint": "GET /notes",
                "event.outcome": "success", "understudy.answered_by": "upstream",
                "understudy.upstream_outcome": "success", "http.response.status_code": "200"}  # fmt: skip
        return [Bucket(at - at % (interval or at), tuple(said.get(name, "") for name in by), 1)]


class Looked:
    def __init__(self, quiet: Quiet | None = None) -> None:
        self.sidecar, self.store, self.at, self.off = Sidecar(), Store(), 0, 0
        evaluation = Evaluation(self.store, PROMISES, LEVELS, Rule())  # type: ignore[arg-type]
        objectives = Objectives(promises=PROMISES, levels=LEVELS, evaluation=evaluation, quiet=quiet)
        steady: Callable[[], float] = lambda: float(self.at)  # noqa: E731
        self._watch = Watch(objectives, (RULE, ATTACKED), self.store, self.sidecar, CONTRACT, 60, steady)  # type: ignore[arg-type]

    def after(self, seconds: int, metrics: str | None) -> Outlook:
        self.at += seconds
        self.sidecar.metrics = metrics
        return self._watch(NOW + self.at + self.off)


def burning(seen: Outlook) -> set[tuple[str, str]]:
    pages = (each for each in seen.holding if each.name == "ErrorBudgetBurn" and each.severity == "page")
    return {(each.labels["slo"], each.labels["view"]) for each in pages}


def named(seen: Outlook) -> set[str]:
    return {each.name for each in seen.holding}


RULE = Beyond(
    alert="WriteParked", severity="ticket", hold=0, keep=0, said="{value}", metric="understudy_outbox_parked",
    above=0, absent="fine",
)  # fmt: skip


ATTACKED = next(rule for rule in conditions.load() if rule.failed_sign_ins)
"""Asks the event store too."""


def test_a_store_that_is_up_to_date_is_believed() -> None:
    looked = Looked()
    looked.after(15, text(100, 0))
    seen = looked.after(15, text(200, 0))
    assert (named(seen), seen.unknown, seen.unasked) == (set(), frozenset(), frozenset())


def test_a_store_that_is_behind_ends_nothing_and_a_new_outage_pages() -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    quiet = looked.after(15, text(1500, 0, behind=40))
    assert SOURCE in quiet.unknown, "the newest windows are not known"
    assert SOURCE not in quiet.unasked, "which stops no heart: it is an alert of its own"
    assert named(quiet) == {"NoData"}
    failing = looked.after(15, text(1500, 400, behind=55))
    assert ("front-door", "users") in burning(failing)
    assert ("in-time", "users") in burning(failing)
    assert SOURCE in failing.unknown


def test_users_that_are_well_page_nobody_while_the_store_is_behind() -> None:
    looked = Looked()
    for n in range(1, 50):
        seen = looked.after(15, text(500 * n, 0, behind=15 * n + 40))
        assert burning(seen) == set()


def test_a_store_that_is_away_pages_by_counters_too_and_stops_the_heart() -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    looked.store.away = True
    seen = looked.after(15, text(1000, 300))
    assert burning(seen)
    assert SOURCE in seen.unasked


def test_a_sidecar_that_is_away_ends_nothing() -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    seen = looked.after(15, None)
    assert SOURCE in seen.unknown


def test_a_store_that_answers_nonsense_is_told_and_the_rest_goes_on() -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    looked.store.broken = True
    seen = looked.after(15, text(1000, 300) + "\nunderstudy_outbox_parked 2")
    assert {"EvaluationFailed", "WriteParked"} <= named(seen)
    assert burning(seen), "the counters page for it"
    assert SOURCE in seen.unasked


@pytest.mark.parametrize("rows", [{"detail": "no"}, [{"detail": "no"}], [7], None])
def test_a_control_plane_that_answers_nonsense_ends_nothing(rows: Any) -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    looked.sidecar.rows = rows
    looked.store.away = True
    seen = looked.after(15, text(1000, 300))
    assert SOURCE in seen.unknown
    assert {"NoData"} <= named(seen)


def test_one_that_has_just_begun_takes_what_was_before_for_good() -> None:
    counters, level = Counters(21600), LEVELS[PROMISES[0].objective.period]
    answered = [each for each in PROMISES if each.objective.slo == "answered" and each.objective.view == "users"]
    counters.add(0, parse(text(0, 0), NAMES, {3.0}))
    for at in range(15, 1000, 15):
        counters.add(at, parse(text(0, 50 * at), NAMES, {3.0}))
        found = blind.pages(answered, level, Rule(), counters, at, NOW + at, lambda _: False)
        if found:
            break
    assert 500 < at < 540, "as soon as one that had watched an hour: 14.4% of it"


def test_counters_that_begin_again_are_no_fall() -> None:
    counters = Counters(3600)
    of = next(each for each in PROMISES if each.objective.slo == "answered" and each.objective.view == "users")
    for at, (good, bad) in enumerate([(5, 5), (10, 6), (2, 1), (4, 1)]):
        counters.add(at * 15, parse(text(good, bad), NAMES, {3.0}))
    assert counters.counts(of, 3600, 45) == (2, 11)
    assert counters.counts(of, 16, 45) == (1, 5)


def test_what_was_slow_is_bad_where_that_is_promised() -> None:
    counters = Counters(3600)
    of = next(each for each in PROMISES if each.objective.slo == "in-time" and each.objective.view == "users")
    counters.add(0, parse(text(0, 0), NAMES, {3.0}))
    slow = text(10, 1).replace('le="3.0"} 10', 'le="3.0"} 8')
    counters.add(15, parse(slow, NAMES, {3.0}))
    assert counters.counts(of, 3600, 15) == (3, 11)


def test_nobody_asks() -> None:
    """First start: it is no news that nobody asked before we looked."""
    looked = Looked(Quiet(3600))
    for _ in range(10):
        assert "NoTraffic" not in named(looked.after(1000, text(0, 0)))


def test_what_could_not_be_recorded_is_no_good_news() -> None:
    """A sidecar whose disk is full: the store has all that there is, and lacks what users got."""
    looked, lost = Looked(), f"\n{LOST} "
    looked.after(15, text(1000, 0) + lost + "7")
    assert SOURCE not in looked.after(15, text(1100, 0) + lost + "7").unknown, "what was before is none of ours"
    seen = looked.after(15, text(1100, 300) + lost + "307")
    assert burning(seen)
    assert SOURCE in seen.unknown
    for _ in range(6):
        seen = looked.after(300, text(1100, 300) + lost + "307")
        still = SOURCE in seen.unknown
    assert not still, "half an hour later no window reaches there"


@pytest.mark.parametrize("by", [3600, -3600])
def test_around_a_step_of_the_clock_counters_are_believed_and_no_store(by: int) -> None:
    """Set back, an hour comes twice, and the store's figures of it are those of both."""
    looked = Looked(Quiet(3600))
    for n in range(75):
        looked.after(60, text(1000 + 40 * n, 0))
    looked.off = by
    seen = looked.after(15, text(4000, 0))
    assert (bool(seen.unknown), named(seen)) == (True, {"NoData"})
    failing = looked.after(15, text(4000, 500))
    assert burning(failing)
    paging = {each.key for each in failing.holding if each.severity == "page"}
    assert paging
    for n in range(1, 60):
        failing = looked.after(15, text(4000 + 50 * n, 500 + n))
        assert paging & (failing.unknown | {each.key for each in failing.holding}) == paging, "they fail still"
    for n in range(65):
        seen = looked.after(30, text(7000 + 20 * n, 560))
    assert not paging & (seen.unknown | {each.key for each in seen.holding}), "counters know that it is over"


@pytest.mark.parametrize(("by", "doubted"), [(3600, 1800), (-3600, 5400)])
def test_the_store_is_believed_again_when_the_time_around_the_step_is_over(by: int, doubted: int) -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    looked.off = by
    looked.after(15, text(1010, 0))
    looked.at += doubted - 60
    assert looked.after(15, text(4000, 0)).unknown
    assert not looked.after(60, text(4000, 0)).unknown


def test_a_clock_that_steps_ahead_has_not_seen_nobody_ask() -> None:
    looked = Looked(Quiet(3600))
    for n in range(75):
        looked.after(60, text(1000 + 4 * n, 0))
    looked.off = 7200
    for _ in range(10):
        assert "NoTraffic" not in named(looked.after(300, text(1300, 0)))


def test_small_steps_of_the_clock_are_none() -> None:
    looked = Looked()
    looked.after(15, text(1000, 0))
    looked.off = 20
    assert SOURCE not in looked.after(15, text(1010, 0)).unknown


def rows(by: str, owned: bool = False) -> list[dict[str, Any]]:
    """What a control plane says of endpoints that are all answered so."""
    return [
        {"name": each.name, "ready": True, "ready_reason": "", "answered_by": by, "owned": owned}
        for each in CONTRACT.endpoints.values()
    ]


def open_tickets(seen: Outlook) -> set[str]:
    """Of which endpoints a ticket for the upstream would not end."""
    return {
        promise.objective.endpoint or "all"
        for promise in PROMISES if _condition(promise.objective, "ticket").key in seen.unknown
        if promise.objective.view == "hosp"
    }  # fmt: skip


def test_of_an_upstream_that_is_not_asked_nothing_is_over() -> None:
    looked = Looked()
    looked.after(15, text(100, 0))
    looked.sidecar.nodes, looked.sidecar.rows = (), rows("standby")
    seen = looked.after(15, text(100, 0))
    assert open_tickets(seen) == {"all", *(each.name for each in CONTRACT.endpoints.values())}
    assert seen.unasked == frozenset(), "which is no trouble, and stops no heart"
    users = {_condition(each.objective, "ticket").key for each in PROMISES if each.objective.view == "users"}
    pages = {_condition(each.objective, "page").key for each in PROMISES}
    assert not (users | pages) & seen.unknown, "what users get is known: nobody asked"
    for answered in (rows("upstream"), rows("both"), rows("standby", owned=True)):
        looked.sidecar.rows = answered
        assert open_tickets(looked.after(15, text(100, 0))) == set()


def test_one_endpoint_that_is_not_asked_holds_its_own_ticket_and_that_of_all_where_nothing_else_is_heard() -> None:
    looked = Looked()
    looked.sidecar.nodes = ()
    looked.sidecar.rows = [*rows("standby")[:1], *rows("upstream")[1:]]
    rarely = looked.sidecar.rows[0]["name"]
    assert open_tickets(looked.after(15, text(100, 0))) == {rarely, "all"}
    looked.store.heard = NOW + 20
    assert open_tickets(looked.after(60, text(100, 0))) == {rarely}
    assert rarely != "GET /notes"


def test_what_an_upstream_answers_while_its_circuit_is_tried_counts() -> None:
    looked = Looked()
    looked.sidecar.nodes = ()
    looked.sidecar.rows = rows("standby")
    looked.store.heard = NOW + 20
    tickets = open_tickets(looked.after(60, text(100, 0)))
    assert "GET /notes" not in tickets
    assert "all" not in tickets


@pytest.mark.parametrize("by", [3600, -3600])
def test_a_step_of_the_clock_has_not_seen_an_hour_in_which_nobody_asked(by: int) -> None:
    """Nobody asks, and that is news after an hour: by the clock that never steps, from when it stepped."""
    looked = Looked(Quiet(3600))
    looked.store.heard = NOW - 7000
    for _ in range(130):
        seen = looked.after(30, text(1000, 0))
    assert "NoTraffic" in named(seen), "as it is without a step"
    looked.off = by
    told = [(looked.at, "NoTraffic" in named(looked.after(300, text(1000, 0)))) for _ in range(40)]
    began = next(at for at, is_told in told if is_told)
    assert began - 130 * 30 >= 3600
