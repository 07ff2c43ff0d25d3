"""Alerts of one cause are one incident, and it says what users cannot do."""

from __future__ import annotations

from typing import Any

from alerts.lifecycle.lifecycle import Alert, State
from dashboard.data import incidents
from dashboard.data.timeline import Moment
from sidecar.contract import Contract
from sidecar.timeunits import MINUTE

NOTES = "POST /notes"


def alert(key: str, fired: int, name: str = "ErrorBudgetBurn", severity: str = "page", **more: Any) -> Alert:
    labels = more.pop("labels", {"slo": "answered", "view": "users", "endpoint": NOTES})
    given = {"notes": {}, "state": State.FIRING, "since": 0, "source": "store", **more}
    return Alert(key=key, name=name, severity=severity, labels=labels, fired_at=fired, **given)


def test_what_burns_together_is_one_and_other_causes_are_their_own() -> None:
    hosp = {"slo": "answered", "view": "hosp", "endpoint": "all"}
    burning = [
        alert("a", 10 * MINUTE, labels=hosp),
        alert("b", 12 * MINUTE),
        alert("c", 20 * MINUTE, "OutboxGrowing", "ticket", labels={}),
        alert("d", 12 * MINUTE, "WriteParked", "ticket", labels={}),
        alert("e", 300 * MINUTE),
    ]
    found = incidents.grouped(burning)
    assert [{each.key for each in incident.alerts} for incident in found] == [{"e"}, {"a", "b", "c"}, {"d"}]
    whole = incidents.holding(burning, "c")
    assert whole.key == "a"
    assert whole.since == 10 * MINUTE
    assert whole.page
    assert whole.hurt == [NOTES]
    assert [each.key for each in whole.alerts] == ["b", "a", "c"]


def test_what_somebody_works_on_comes_after_what_nobody_has_taken() -> None:
    taken = alert("a", 10 * MINUTE, state=State.ACKNOWLEDGED)
    other = alert("b", 5 * MINUTE, "WriteParked", "ticket", labels={})
    assert [each.key for each in incidents.grouped([taken, other])] == ["b", "a"]


def test_it_says_what_users_cannot_do() -> None:
    contract = Contract.load("hosp")
    said = incidents.cannot(contract, [NOTES, "GET /patients", "POST /patients/{id}/screen", "GET /strange"])
    assert said == ["add notes", "list patients", "have images screened", "use GET /strange"]


def test_what_changed_in_the_hour_before() -> None:
    moments = [
        Moment(1 * MINUTE, "mark", "", "release"),
        Moment(90 * MINUTE, "mark", "", "another release"),
        Moment(95 * MINUTE, "takeover", "notes.list", "the standby took over automatically"),
        Moment(95 * MINUTE, "alert", "x", "page"),
        Moment(101 * MINUTE, "mark", "", "too late"),
    ]
    assert [each.said for each in incidents.changed(moments, 100 * MINUTE)] == [
        "the standby took over automatically",
        "another release",
    ]


def test_the_least_budget_counts_and_none_is_not_known() -> None:
    one = alert("a", MINUTE, notes={"budget_left": "0.4"})
    other = alert("b", MINUTE, notes={"budget_left": "-1.5"})
    assert incidents.grouped([one, other])[0].budget == -1.5
    assert incidents.grouped([alert("c", MINUTE)])[0].budget is None
