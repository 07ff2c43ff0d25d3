"""One outage is one message; what flaps is damped; what is muted burns on; a clock that steps ends nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alerts.delivery.grouping import Grouping
from alerts.delivery.queue import Queue, Route, Told
from alerts.lifecycle.inhibition import parts
from alerts.lifecycle.lifecycle import UNTIL_RESOLVED, Condition, Kind, NotPossible, State, silence, step
from alerts.lifecycle.silences import matchers
from alerts.lifecycle.steps import Steps
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.message import headline
from sidecar.settings import Settings
from sidecar.timeunits import HOUR, MINUTE, SECOND

GROUPING = Grouping()
LABELS = {"slo": "answered", "objective": "success", "view": "users", "endpoint": "all"}
PAGE = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes={"reason": "r"})
TICKET = replace(PAGE, severity="ticket")
UPSTREAM = replace(PAGE, labels={**LABELS, "view": "hosp"})
ENDPOINT = replace(PAGE, labels={**LABELS, "slo": "endpoints", "endpoint": "GET /notes"})
OTHER = replace(PAGE, labels={**LABELS, "slo": "front-door"})
OUTAGE = (PAGE, TICKET, UPSTREAM, ENDPOINT)


class Clock:
    now = 10**6 * SECOND

    def __call__(self) -> int:
        return self.now


class Desk:
    """State and queue of one channel, by a clock that is set."""

    def __init__(self, engine: Engine, keep: int = 0) -> None:
        self.clock = Clock()
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


def test_times_to_come_that_a_restart_finds_hold_up_nothing(tmp_path: Path) -> None:
    """The clock was set back while nobody ran."""
    desk = Desk(open_alerts(Settings(data=tmp_path)))
    desk.see(OTHER)
    desk.clock.now -= 900 * SECOND
    desk.see(OTHER)
    assert [status for status, _ in desk.messages] == ["firing"]
