"""What operators do about alerts carries who and why, and is in the trail before it is tried, and after."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from alerts.lifecycle import tables as alert_tables
from alerts.lifecycle.lifecycle import State
from dashboard.actions import NotDone, NotKnown, perform
from dashboard.auth.sessions import Session
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data import tables
from dashboard.widgets.action_dialog import dialog, outcome
from tests.support.dashboard.alarms import burning

HOUR = 3600 * 10**9
OPERATOR = Visit(Session("id", "Sam", Role.OPERATOR, "csrf", True), "10.0.0.1", "/alerts")
PAGE, TICKET = burning("users", "page"), burning("hosp", "ticket")


@pytest.fixture
def parts(parts: Parts) -> Parts:
    parts.alerts.apply([PAGE, TICKET], unknown=frozenset(), repeat=HOUR, enqueue=lambda *_: None)
    return parts


def trail(parts: Parts) -> list[tuple[str, str, str, str]]:
    return [(line.user, line.action, line.reason, line.outcome) for line in reversed(parts.trail.latest())]


def test_an_acknowledgement_says_who_and_why(parts: Parts) -> None:
    said = perform(parts, OPERATOR, "acknowledge", PAGE.key, "on  it", "")
    found = parts.alerts.find(PAGE.key)
    assert (found.state, found.acknowledged_by, found.reason) == (State.ACKNOWLEDGED, "Sam (dashboard)", "on it")
    assert "no repeats" in said
    assert trail(parts) == [("Sam", "acknowledge", "on it", "begun"), ("Sam", "acknowledge", "on it", "done")]
    assert "Screenings are answered successfully" in parts.trail.latest()[0].subject


def test_all_are_acknowledged_at_once(parts: Parts) -> None:
    perform(parts, OPERATOR, "acknowledge", PAGE.key, "on it", "")
    assert perform(parts, OPERATOR, "acknowledge-all", "", "an outage", "") == "1 of 1 acknowledged"
    assert {alert.state for alert in parts.alerts.all()} == {State.ACKNOWLEDGED}


def test_a_silence_has_an_end_and_a_reason(parts: Parts) -> None:
    began = time.time_ns()
    assert "silent until" in perform(parts, OPERATOR, "silence", PAGE.key, "known", "2h")
    found = parts.alerts.find(PAGE.key)
    assert (found.state, found.silenced_by, found.reason) == (State.SILENCED, "Sam (dashboard)", "known")
    assert 2 * HOUR <= found.silenced_until - began < 2 * HOUR + HOUR
    perform(parts, OPERATOR, "unsilence", PAGE.key, "over", "")
    assert parts.alerts.find(PAGE.key).state is State.FIRING


@pytest.mark.parametrize(
    ("kind", "what", "reason", "extra", "why"),
    [
        ("silence", PAGE.key, "known", "soon", "until: expected 30m, 4h, 2d or a time"),
        ("silence", PAGE.key, "known", "2001-01-01", "an end within the next 30 days"),
        ("silence", PAGE.key, "known", "31d", "an end within the next 30 days"),
        ("acknowledge", "f" * 16, "known", "", "no alert has the key"),
        ("unsilence", PAGE.key, "known", "", "is not silenced"),
    ],
)
def test_what_cannot_be_done_is_told_and_in_the_trail(
    parts: Parts, kind: str, what: str, reason: str, extra: str, why: str
) -> None:
    before = parts.alerts.all()
    with pytest.raises(NotDone, match=why):
        perform(parts, OPERATOR, kind, what, reason, extra)
    begun, ended = trail(parts)
    assert (begun[1:], ended[3].startswith("not done: ")) == ((kind, reason, "begun"), True)
    assert parts.alerts.all() == before


def test_without_a_reason_nothing_is_even_tried(parts: Parts) -> None:
    with pytest.raises(NotDone, match="reason: expected 3 to 500 characters"):
        perform(parts, OPERATOR, "silence", PAGE.key, " ", "2h")
    assert trail(parts) == []


def test_an_incident_is_taken_without_a_reason(parts: Parts) -> None:
    said = perform(parts, OPERATOR, "acknowledge-incident", PAGE.key, "", "")
    assert said.endswith("alerts acknowledged: no repeats until they resolve")
    assert {alert.state for alert in parts.alerts.all()} == {State.ACKNOWLEDGED}
    assert parts.alerts.find(PAGE.key).acknowledged_by == "Sam (dashboard)"
    with pytest.raises(NotDone, match="no incident has the alert"):
        perform(parts, OPERATOR, "acknowledge-incident", "f" * 16, "", "")


def test_where_the_trail_cannot_be_written_nothing_is_tried(parts: Parts) -> None:
    tables.metadata.drop_all(parts.engine)
    with pytest.raises(Exception, match="dashboard_trail"):
        perform(parts, OPERATOR, "acknowledge", PAGE.key, "on it", "")
    assert parts.alerts.find(PAGE.key).state is State.FIRING


@pytest.mark.parametrize("kind", ["acknowledge", "acknowledge-incident", "silence", "unsilence"])
def test_while_the_alerts_database_is_away_that_it_is_not_known_is_shown_and_in_the_trail(
    parts: Parts, kind: str
) -> None:
    alert_tables.metadata.drop_all(parts.alerts_engine)
    assert PAGE.key in str(dialog(parts, kind, PAGE.key))
    with pytest.raises(NotKnown, match="whether it was done is not known") as told:
        perform(parts, OPERATOR, kind, PAGE.key, "on it", "2h")
    shown = str(outcome(parts, kind, PAGE.key, "", "2h", str(told.value)))
    assert "It is not known whether it was done" in shown
    assert PAGE.key in shown
    assert [line[3][:35] for line in trail(parts)] == ["begun", "the alerts' database does not answer"[:35]]


def test_what_came_of_it_is_told_where_the_trail_takes_no_more(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    with parts.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER full BEFORE INSERT ON dashboard_trail WHEN NEW.outcome <> 'begun'"
                " BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
        )
    assert "no repeats" in perform(parts, OPERATOR, "acknowledge", PAGE.key, "on it", "")
    with pytest.raises(NotDone, match="no alert has the key"):
        perform(parts, OPERATOR, "acknowledge", "f" * 16, "on it", "")
    assert [line[3] for line in trail(parts)] == ["begun", "begun"]
    assert "could not be written to the trail" in caplog.text
