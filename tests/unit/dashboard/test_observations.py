"""What is observed after an action is asked anew of the control plane: as expected, not so, not yet, or not known."""

from __future__ import annotations

import pytest

from dashboard.actions import ACTIONS, NotKnown, perform
from dashboard.auth.sessions import Session
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.observations import Seen, called_write, waited_for
from tests.support.dashboard.alarms import burning
from tests.support.dashboard.plane import Plane

OPERATOR = Visit(Session("id", "Sam", Role.OPERATOR, "csrf", True), "10.0.0.1", "/endpoints")
ENDPOINT = {
    "id": "notes.list", "mode": "auto", "percent": 0, "answered_by": "upstream", "circuit": "closed",
    "circuit_reason": "", "ready": True, "ready_reason": "",
}  # fmt: skip


def seen(parts: Parts, kind: str, what: str, extra: str = "") -> Seen:
    look = ACTIONS[kind].then
    return waited_for(lambda: look(parts, what, extra), looks=3, pause=0.01)


def test_a_takeover_is_seen_once_the_standby_answers(parts: Parts, plane: Plane) -> None:
    taken = {**ENDPOINT, "mode": "standby", "answered_by": "standby"}
    plane.told["/endpoints"] = [[ENDPOINT], [taken]]
    assert seen(parts, "takeover", "notes.list") == Seen(
        True, "The standby answers; its circuit is healthy; the standby is ready."
    )
    plane.told["/endpoints"] = [[ENDPOINT]]
    assert seen(parts, "takeover", "notes.list") == Seen(
        None, "HOSP answers; its circuit is healthy; the standby is ready."
    )


def test_a_share_is_told_as_the_sidecar_has_it(parts: Parts, plane: Plane) -> None:
    plane.told["/endpoints"] = [[{**ENDPOINT, "percent": 25, "answered_by": "both"}]]
    found = seen(parts, "route", "notes.list", "25")
    assert (found.as_expected, found.said.partition(";")[0]) == (
        True, "The standby answers 25% of callers, HOSP the others",
    )  # fmt: skip
    assert seen(parts, "route", "notes.list", "50").as_expected is None


@pytest.mark.parametrize(
    ("state", "as_expected", "said"),
    [
        ("settled", True, "HOSP has it."),
        ("parked", False, "Someone changed this record at HOSP meanwhile, again: it is parked."),
        ("pending", None, "Not sent yet"),
    ],
)
def test_a_write_that_was_decided_is_looked_for(
    parts: Parts, plane: Plane, state: str, as_expected: bool | None, said: str
) -> None:
    reason = "conflict: someone changed this record at HOSP meanwhile" if state == "parked" else "pending"
    plane.told["/outbox/w1"] = [{"state": state, "reason": reason}]
    for kind in ("retry", "ours", "merge"):
        found = seen(parts, kind, "w1" if kind == "retry" else "w1@3")
        assert found.as_expected is as_expected
        assert found.said.startswith(said)


@pytest.mark.parametrize(
    ("record", "user", "called"), [("5", "Dr Holt", "note 5, by Dr Holt"), (None, None, "note , by nobody known")]
)
def test_a_write_is_called_by_its_record_and_author(
    parts: Parts, plane: Plane, record: str | None, user: str | None, called: str
) -> None:
    plane.told["/outbox/w1"] = [{"resource": "notes", "record_id": record, "user": user}]
    assert called_write(parts, "w1@3") == called


def test_a_write_that_nobody_tells_about_is_called_by_its_id(parts: Parts, plane: Plane) -> None:
    plane.close()
    assert called_write(parts, "w1@3") == "write w1"


def test_what_cannot_be_asked_is_not_known(parts: Parts, plane: Plane) -> None:
    plane.told["/endpoints"] = [[]]
    found = seen(parts, "handback", "notes.list")
    assert (found.as_expected, found.said) == (None, "Not known: the sidecar has no such endpoint any more.")
    plane.close()
    assert seen(parts, "handback", "notes.list").said.startswith("Not known: the sidecar's control plane ")


def test_an_answer_that_did_not_come_leaves_it_open_whether_it_was_done(parts: Parts, plane: Plane) -> None:
    plane.broken = True
    with pytest.raises(NotKnown, match="broke off"):
        perform(parts, OPERATOR, "takeover", "notes.list", "HOSP is slow", "")
    assert parts.trail.latest()[0].outcome.startswith("not known: ")


def test_break_glass_is_seen_open_and_over(parts: Parts, plane: Plane) -> None:
    grant = {"id": "g1", "user": "Dr Holt", "open": True, "until": 1_800_000_000 * 10**9}
    plane.told["/break-glass"] = [{"grants": [grant]}]
    found = seen(parts, "break-glass", "Dr Holt", "2")
    assert (found.as_expected, found.said) == (True, "Open until Fri 15 Jan 2027, 08:00:00 UTC.")
    assert seen(parts, "break-glass", "Dr Sato", "2").as_expected is None
    assert seen(parts, "break-glass-end", "g1") == Seen(None, "It is open.")
    plane.told["/break-glass"] = [{"grants": [{**grant, "open": False}]}]
    assert seen(parts, "break-glass-end", "g1").as_expected is True


def test_a_resource_is_seen_with_who_owns_it(parts: Parts, plane: Plane) -> None:
    row = {"owner": "upstream", "pending": 1, "doubts": ["not all notes are known"]}
    plane.told["/resources"] = [{"notes": row}]
    assert seen(parts, "demote", "notes") == Seen(
        True, "HOSP owns it; 1 write waits. Against it: not all notes are known."
    )
    plane.told["/resources"] = [{"notes": {**row, "owner": "standby"}}]
    assert seen(parts, "promote", "notes") == Seen(True, "The standby owns it; 1 write waits.")


def test_an_alert_is_seen_as_the_database_has_it(parts: Parts) -> None:
    alert = burning("users", "page")
    parts.alerts.apply([alert], unknown=frozenset(), repeat=10**12, enqueue=lambda *_: None)
    assert seen(parts, "acknowledge", alert.key) == Seen(False, "Firing, unacknowledged.")
    perform(parts, OPERATOR, "acknowledge", alert.key, "on it", "")
    assert seen(parts, "acknowledge", alert.key) == Seen(True, "Acknowledged by Sam (dashboard).")
    assert seen(parts, "acknowledge-incident", alert.key).as_expected is True
    assert seen(parts, "acknowledge-all", "").as_expected is True
    perform(parts, OPERATOR, "silence", alert.key, "known", "2h")
    assert seen(parts, "silence", alert.key, "2h").said.startswith("Silent until ")
    perform(parts, OPERATOR, "unsilence", alert.key, "over", "")
    assert seen(parts, "unsilence", alert.key).as_expected is True
