"""One outage is one message; what flaps is damped; what is muted burns on; a clock that steps ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from alerts.delivery.grouping import Grouping
from alerts.delivery.queue import Queue, Route, Told
from alerts.lifecycle.inhibition import ONSET, parts
from alerts.lifecycle.lifecycle import (
    UNTIL_RESOLVED,
    Alert,
    Condition,
    Kind,
    NotPossible,
    State,
    acknowledge,
    silence,
    step,
    unsilence,
)
from alerts.lifecycle.silences import matchers
from alerts.lifecycle.steps import Steps
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.message import headline
from sidecar.settings import Settings
from sidecar.timeunits import HOUR, MINUTE, SECOND
from tests.support.alerts.clock import Clock

GROUPING = Grouping()
LABELS = {"slo": "answered", "objective": "success", "view": "users", "endpoint": "all"}
PAGE = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes={"reason": "r"})
TICKET = replace(PAGE, severity="ticket")
UPSTREAM = replace(PAGE, labels={**LABELS, "view": "hosp"})
ENDPOINT = replace(PAGE, labels={**LABELS, "slo": "endpoints", "endpoint": "GET /notes"})
OTHER = replace(PAGE, labels={**LABELS, "slo": "front-door"})
OUTAGE = (PAGE, TICKET, UPSTREAM, ENDPOINT)


class Desk:
    """State and queue of one channel, by a clock that is set."""

    def __init__(self, engine: Engine, keep: int = 0) -> None:
        self.clock = Clock(10**6 * SECOND)
        self.state, self.keep = Alerts(engine, self.clock), keep
        self.queue = Queue(engine, {"slack": Route()}, self.clock)
        self.messages: list[tuple[str, list[tuple[str, str]]]] = []

    def see(self, *holding: Condition, after: int = 15 * SECOND) -> None:
        self.clock.now += after
        self.state.apply(
            holding, unknown=set(), repeat=4 * HOUR, enqueue=self.queue.enqueue, group=GROUPING.key,
            keep=lambda _: self.keep,
        )  # fmt: skip
        for each in self.queue.due():
            told = [(alert["kind"], alert["severity"]) for alert in each.content["alerts"]]
            self.messages.append((each.content["status"], told))
            assert headline(each.content)
            self.queue.mark(each, Told.DONE, "200")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(open_alerts(Settings(data=tmp_path)))


def test_an_outage_that_hurts_users_is_one_message_and_its_end_one_more(desk: Desk) -> None:
    for _ in range(40):
        desk.see(*OUTAGE)
    assert [status for status, _ in desk.messages] == ["firing"]
    assert len(desk.messages[0][1]) == 4, "all is listed inside"
    for _ in range(4):
        desk.see()
    assert [status for status, _ in desk.messages] == ["firing", "resolved"]


def test_the_end_of_a_page_is_told_as_its_end_while_the_tickets_inside_it_burn_on(desk: Desk) -> None:
    desk.see(*OUTAGE)
    desk.see(*OUTAGE)
    for _ in range(4):
        desk.see(TICKET)
    assert desk.messages[1:] == [("resolved", [("resolved", "page")])], "a ticket's window is longer: the page is over"
    desk.see(TICKET, after=4 * HOUR)
    desk.see(TICKET)
    assert desk.messages[2:] == [("firing", [("firing", "ticket")])], "and what burns on for long is told by itself"


def test_what_users_get_is_told_also_where_it_comes_after_what_the_upstream_gives(desk: Desk) -> None:
    desk.see(UPSTREAM)
    desk.see(UPSTREAM, ENDPOINT, after=MINUTE)
    desk.see(UPSTREAM, ENDPOINT, after=MINUTE)
    desk.see(*OUTAGE, after=MINUTE)
    desk.see(*OUTAGE, after=MINUTE)
    assert [status for status, _ in desk.messages] == ["firing"] * 2, "users over what was told"


def test_a_looser_promise_that_burns_later_is_the_same_outage(desk: Desk) -> None:
    tight = replace(OTHER, notes={"reason": "r", "target": "0.99999"})
    loose = replace(PAGE, notes={"reason": "r", "target": "0.99"})
    for holding in ([tight], [tight], [tight, loose], [tight, loose], [tight, loose]):
        desk.see(*holding, after=4 * MINUTE)
    assert [status for status, _ in desk.messages] == ["firing"]
    desk.see(after=MINUTE)
    desk.see()
    assert [status for status, _ in desk.messages] == ["firing", "resolved"]


def test_what_was_slow_and_now_fails_is_told_anew(desk: Desk) -> None:
    slow = replace(PAGE, notes={"reason": "r", "target": "0.9999"})
    down = replace(OTHER, notes={"reason": "r", "target": "0.99999"})
    for holding in ([slow], [slow], [slow, down], [slow, down]):
        desk.see(*holding, after=4 * MINUTE)
    assert [status for status, _ in desk.messages] == ["firing", "firing"], "a tighter promise is a graver trouble"


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize(
    "down",
    [replace(OTHER, notes={"reason": "r", "target": "0.99"}), ENDPOINT, UPSTREAM],
    ids=["a looser promise", "one endpoint", "the upstream"],
)
def test_a_page_that_begins_long_after_another_is_news(desk: Desk, down: Condition, acknowledged: bool) -> None:
    """HOSP is slow for hours; then it answers every request with 500."""
    slow = replace(PAGE, notes={"reason": "r", "target": "0.9999"})
    desk.see(slow)
    desk.see(slow, after=MINUTE)
    if acknowledged:
        desk.state.acknowledge(PAGE.key, "Pell", "it is slow")
    desk.see(slow, after=3 * HOUR)
    desk.see(slow, down)
    desk.see(slow, down, after=5 * MINUTE)
    assert [status for status, _ in desk.messages] == ["firing", "firing"]


def test_a_page_that_begins_once_the_first_was_taken_is_told_and_what_was_told_with_it_is_not(desk: Desk) -> None:
    slow = replace(PAGE, notes={"reason": "r", "target": "0.9999"})
    loose = replace(OTHER, notes={"reason": "r", "target": "0.99"})
    desk.see(slow, ENDPOINT)
    desk.see(slow, ENDPOINT)
    desk.state.acknowledge(PAGE.key, "Pell", "on it")
    desk.see(slow, ENDPOINT, after=5 * MINUTE)
    desk.see(slow, ENDPOINT, after=5 * MINUTE)
    assert len(desk.messages) == 1, "it was inside what was taken"
    desk.see(slow, ENDPOINT, loose)
    desk.see(slow, ENDPOINT, loose, after=5 * MINUTE)
    assert len(desk.messages) == 2, "new alerts still notify"


def test_a_part_that_outlives_its_whole_is_told_by_itself(desk: Desk) -> None:
    desk.see(PAGE, ENDPOINT, TICKET)
    desk.see(PAGE, ENDPOINT, TICKET)
    desk.see(ENDPOINT, TICKET)
    desk.see(ENDPOINT, TICKET)
    assert ("firing", "page") in desk.messages[-1][1], "the endpoint's page, at once"
    assert len(desk.messages) == 2
    for _ in range(5):
        desk.see(TICKET, after=HOUR)
    assert desk.messages[-1] == ("firing", [("firing", "ticket")]), "a ticket only where it burns on for long"


def test_tickets_of_the_upstream_are_one(desk: Desk) -> None:
    covered = [replace(each, severity="ticket") for each in (UPSTREAM, replace(ENDPOINT, labels={**ENDPOINT.labels,
               "view": "hosp"}))]  # fmt: skip
    for _ in range(30):
        desk.see(*covered)
    assert [status for status, _ in desk.messages] == ["firing"]


def test_parts_end_in_what_is_told_and_other_alerts_are_nobodys_part() -> None:
    known, _ = step({}, [*OUTAGE, OTHER, replace(PAGE, name="DiskFilling", labels={})], SECOND, repeat=HOUR)
    found = parts(known)
    assert set(found) == {TICKET.key, UPSTREAM.key, ENDPOINT.key}
    assert set(found.values()) <= {PAGE.key, OTHER.key}


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_page_is_not_told_by_what_is_itself_a_part_of_something_older(desk: Desk, acknowledged: bool) -> None:
    """The tight promise burns, 50 minutes later a looser one, and 50 minutes later the loosest."""
    tight, looser, loosest = (
        replace(PAGE, labels={**LABELS, "slo": target}, notes={"reason": "r", "target": target})
        for target in ("0.9999", "0.999", "0.99")
    )
    desk.see(tight)
    desk.see(tight, after=MINUTE)
    desk.see(tight, looser, after=49 * MINUTE)
    if acknowledged:
        desk.state.acknowledge(tight.key, "Pell", "on it")
    assert len(desk.messages) == 1, "it began with the first"
    desk.see(tight, looser, loosest, after=50 * MINUTE)
    desk.see(tight, looser, loosest, after=MINUTE)
    assert [status for status, _ in desk.messages] == ["firing", "firing"]


def test_a_page_whose_whole_ends_is_told_although_another_that_was_taken_burns_on(desk: Desk) -> None:
    slow, looser = replace(PAGE, notes={"target": "0.9999"}), replace(OTHER, notes={"target": "0.999"})
    desk.see(slow)
    desk.see(slow, after=MINUTE)
    desk.state.acknowledge(slow.key, "Pell", "on it")
    desk.see(slow, looser, ENDPOINT)
    desk.see(slow, looser, ENDPOINT, after=MINUTE)
    assert len(desk.messages) == 2, "the endpoint's inside the looser promise's"
    desk.see(slow, ENDPOINT)
    desk.see(slow, ENDPOINT, after=MINUTE)
    assert ("firing", "page") in desk.messages[-1][1]
    assert len(desk.messages) == 3, "who took the first knows nothing of it"


BURNS = {
    f"{severity} {view} {endpoint} {target}": replace(
        PAGE,
        severity=severity,
        labels={**LABELS, "slo": target, "view": view, "endpoint": endpoint},
        notes={"reason": "r", "target": target},
    )
    for severity, view, endpoint, target in (
        ("page", "users", "all", "0.9999"),
        ("page", "users", "all", "0.999"),
        ("page", "users", "all", "0.99"),
        ("page", "users", "GET /notes", "0.99"),
        ("page", "hosp", "all", "0.99"),
        ("ticket", "users", "all", "0.9999"),
    )
}
LOOKS, APART = 8, 25 * MINUTE
ANSWERS: dict[str, Callable[[Alert, int], Alert]] = {
    "acknowledge": lambda alert, _: acknowledge(alert, "Pell", "on it"),
    "silence": lambda alert, now: silence(alert, "Pell", "known", now + 2 * APART, now),
    "unsilence": lambda alert, _: unsilence(alert),
}
BEGINNINGS = st.fixed_dictionaries(dict.fromkeys(BURNS, st.integers(0, LOOKS - 1)))
EVENTS = st.lists(
    st.tuples(st.integers(0, LOOKS - 1), st.sampled_from(["ends", *ANSWERS]), st.sampled_from(list(BURNS))), max_size=6
)


@given(BEGINNINGS, EVENTS)
def test_every_page_that_fires_is_told_itself_or_within_one_of_its_own_time_that_is(
    begins: dict[str, int], events: list[tuple[int, str, str]]
) -> None:
    """Whatever burns when, and whoever takes or silences what: else a page is told to nobody."""
    known: dict[str, Alert] = {}
    holding: set[str] = set()
    for look in range(LOOKS):
        before, now = known, HOUR + look * APART
        happens = [(what, name) for when, what, name in events if when == look]
        holding |= {name for name, begun in begins.items() if begun == look}
        holding -= {name for what, name in happens if what == "ends"}
        known, _ = step(before, [BURNS[name] for name in sorted(holding)], now, repeat=4 * HOUR, parts=parts)
        for page in (each for each in known.values() if each.state is State.FIRING and each.severity == "page"):
            whole = known[page.part_of or page.key]
            assert whole.state is State.ACKNOWLEDGED or (whole.state is State.FIRING and whole.told)
            assert not whole.part_of
            assert page.fired_at - whole.fired_at <= ONSET
            if whole.state is not State.FIRING:
                assert page.key in before, "it began when that was taken"
                assert before[page.key].part_of == whole.key, "it was told inside another"
        for what, name in happens:
            with suppress(KeyError, NotPossible):
                known[BURNS[name].key] = ANSWERS[what](known[BURNS[name].key], now)


def test_what_flaps_slower_than_it_is_kept_is_damped(tmp_path: Path) -> None:
    """A change every 7 minutes for two hours."""
    desk = Desk(open_alerts(Settings(data=tmp_path)), keep=5 * MINUTE)
    for minute in range(120):
        desk.see(*([OTHER] if minute // 7 % 2 == 0 else []), after=MINUTE)
    assert len(desk.messages) <= 4
    desk.see(after=HOUR)
    desk.see()
    assert desk.messages[-1][0] == "resolved"


def test_a_group_of_which_one_is_muted_is_not_told_as_resolved(desk: Desk) -> None:
    """alertmanager#5247."""
    desk.see(PAGE, OTHER)
    desk.see(PAGE, OTHER)
    desk.state.silence(PAGE.key, "Pell", "known", UNTIL_RESOLVED)
    desk.see(PAGE)
    desk.see(PAGE, after=6 * MINUTE)
    assert [status for status, _ in desk.messages] == ["firing", "firing"]
    assert ("muted", "page") in desk.messages[-1][1]
    desk.see()
    desk.see()
    assert desk.messages[-1][0] == "resolved"


def test_muted_until_it_is_resolved() -> None:
    known, _ = step({}, [PAGE], SECOND, repeat=HOUR)
    known = {PAGE.key: silence(known[PAGE.key], "Pell", "known", UNTIL_RESOLVED, SECOND)}
    known, notices = step(known, [PAGE], 9 * HOUR, repeat=HOUR)
    assert notices == []
    known, notices = step(known, [], 9 * HOUR + SECOND, repeat=HOUR)
    assert [each.kind for each in notices] == [Kind.RESOLVED]
    known, notices = step(known, [PAGE], 10 * HOUR, repeat=HOUR)
    assert [each.kind for each in notices] == [Kind.FIRING]


def test_a_silence_by_labels_holds_before_there_is_an_alert_and_ends(desk: Desk) -> None:
    number = desk.state.mute({"alertname": "ErrorBudgetBurn", "view": "users"}, "Pell", "works", desk.clock.now + HOUR)
    desk.see(PAGE)
    desk.see(PAGE)
    assert desk.messages == []
    assert [alert.state for alert in desk.state.all()] == [State.SILENCED]
    desk.see(PAGE, UPSTREAM)
    desk.see(PAGE, UPSTREAM)
    assert len(desk.messages) == 1, "others are told"
    assert desk.state.unmute(number).by == "Pell"
    desk.see(PAGE, UPSTREAM)
    desk.see(PAGE, UPSTREAM)
    assert len(desk.messages) == 2
    assert desk.state.silences() == []


def test_a_silence_by_labels_needs_labels_a_reason_and_an_end(desk: Desk) -> None:
    with pytest.raises(NotPossible, match="matcher"):
        matchers([])
    with pytest.raises(NotPossible, match="severity"):
        matchers(["severity"])
    assert matchers(['endpoint="GET /notes"', "severity=page"]) == {"endpoint": "GET /notes", "severity": "page"}
    with pytest.raises(NotPossible, match="reason"):
        desk.state.mute({"a": "b"}, "Pell", "", desk.clock.now + HOUR)
    with pytest.raises(NotPossible, match="until"):
        desk.state.mute({"a": "b"}, "Pell", "works", desk.clock.now)
    with pytest.raises(LookupError):
        desk.state.unmute(7)


def test_a_group_is_answered_with_one_key(desk: Desk) -> None:
    desk.see(*OUTAGE, OTHER)
    assert {alert.key for alert in desk.state.together(OTHER.key, GROUPING.key)} == {
        each.key for each in (*OUTAGE, OTHER)
    }  # fmt: skip


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_clock_that_steps_ends_repeats_and_delays_nothing(tmp_path: Path, by: int) -> None:
    desk = Desk(open_alerts(Settings(data=tmp_path)), keep=5 * MINUTE)
    steps = Steps()
    assert steps.seen(desk.clock.now, 0) == 0
    desk.see(OTHER)
    desk.see(OTHER)
    assert steps.seen(desk.clock.now, 30 * SECOND) == 0
    desk.clock.now += by
    assert steps.seen(desk.clock.now, 30 * SECOND) == by
    desk.state.shift(by)
    desk.queue.shift(by)
    desk.see()
    assert [alert.state for alert in desk.state.all()] == [State.FIRING], "it was seen a moment ago"
    assert len(desk.messages) == 1
    desk.see(after=6 * MINUTE)
    desk.see()
    assert [status for status, _ in desk.messages] == ["firing", "resolved"]


@pytest.mark.parametrize("by", [2 * HOUR, -2 * HOUR])
def test_a_clock_that_steps_makes_no_second_outage_of_one(desk: Desk, by: int) -> None:
    """What began a minute later begins an hour later by such a clock, and would be news."""
    loose = replace(OTHER, notes={"reason": "r", "target": "0.9"})
    tight = replace(PAGE, notes={"reason": "r", "target": "0.99"})
    desk.see(tight)
    desk.see(tight)
    desk.clock.now += by
    desk.state.shift(by)
    desk.queue.shift(by)
    desk.see(tight, loose, after=MINUTE)
    desk.see(tight, loose, after=MINUTE)
    assert [status for status, _ in desk.messages] == ["firing"]


@pytest.mark.parametrize("by", [2 * HOUR, -2 * HOUR])
@pytest.mark.parametrize("matched", [True, False])
def test_a_silence_of_an_hour_is_an_hour_though_the_clock_steps(desk: Desk, by: int, matched: bool) -> None:
    desk.see(OTHER)
    desk.see(OTHER)
    if matched:
        desk.state.mute({"slo": "front-door"}, "Pell", "works", desk.clock.now + HOUR)
    else:
        desk.state.silence(OTHER.key, "Pell", "works", desk.clock.now + HOUR)
    desk.see(OTHER, after=10 * MINUTE)
    desk.clock.now += by
    desk.state.shift(by)
    desk.see(OTHER, after=10 * MINUTE)
    assert [alert.state for alert in desk.state.all()] == [State.SILENCED]
    desk.see(OTHER, after=45 * MINUTE)
    assert [alert.state for alert in desk.state.all()] == [State.FIRING]


def test_a_silence_until_resolved_lasts_until_then_though_the_clock_steps(desk: Desk) -> None:
    desk.see(OTHER)
    desk.state.silence(OTHER.key, "Pell", "known", UNTIL_RESOLVED)
    desk.state.shift(HOUR)
    desk.see(OTHER)
    assert [alert.silenced_until for alert in desk.state.all()] == [UNTIL_RESOLVED]
    desk.see()
    assert [alert.silenced_until for alert in desk.state.all()] == [0]


def test_times_to_come_that_a_restart_finds_hold_up_nothing(tmp_path: Path) -> None:
    """The clock was set back while nobody ran."""
    desk = Desk(open_alerts(Settings(data=tmp_path)))
    desk.see(OTHER)
    desk.clock.now -= 900 * SECOND
    desk.see(OTHER)
    assert [status for status, _ in desk.messages] == ["firing"]
