"""How that is to which something is done, before and after: asked anew of the sidecar and the alerts, never assumed.

What was observed is as expected, or not, or not yet: who pressed a button is told which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from alerts.lifecycle.lifecycle import BURNING, Alert, State
from dashboard.context import Parts
from dashboard.data import alert_titles, incidents
from dashboard.values import reasons, time_format
from dashboard.values.sentences import singular
from sidecar.control.client import ControlError, segment

LOOKS: Final = 20
PAUSE: Final = 0.25
"""How often, and after how many seconds each, it is looked at what has become of what was just decided."""


@dataclass(frozen=True)
class Seen:
    """`as_expected`: None: not yet, or nobody knows."""

    as_expected: bool | None
    said: str


UNTOLD: Final = (ControlError, LookupError, SQLAlchemyError)
"""What whoever looks may be told in place of an answer: the sidecar or the alerts' database is away, or it is gone."""
Look = Callable[[Parts, str, str], Seen]
"""Of what it was done to, and what was given beside the reason. Raises UNTOLD."""


def waited_for(look: Callable[[], Seen], looks: int = LOOKS, pause: float = PAUSE) -> Seen:
    """What is seen within a few seconds."""
    seen = Seen(None, "Not known.")
    for number in range(looks):
        if number:
            time.sleep(pause)
        try:
            seen = look()
        except UNTOLD as error:
            return Seen(None, f"Not known: {error}.")
        if seen.as_expected is not None:
            break
    return seen


def endpoint(parts: Parts, what: str) -> str:
    """Who answers for it, its circuit, and whether the standby could."""
    return _said_of_endpoint(parts, _endpoint(parts, what))


def _endpoint(parts: Parts, what: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = [each for each in parts.plane().get("/endpoints") if each["id"] == what]
    if not found:
        raise LookupError("the sidecar has no such endpoint any more")
    return found[0]


def _said_of_endpoint(parts: Parts, state: Mapping[str, Any]) -> str:
    who = {"upstream": f"{parts.api} answers", "standby": "The standby answers"}.get(
        state["answered_by"], f"The standby answers {state['percent']:g}% of callers, {parts.api} the others"
    )
    circuit = reasons.circuit(state["circuit"], state["circuit_reason"] or "", parts.api)
    why = reasons.unready(state["ready_reason"], parts.api)
    ready = "the standby is ready" if state["ready"] else f"the standby is not ready ({why})"
    return f"{who}; its circuit is {circuit}; {ready}."


def called_endpoint(parts: Parts, what: str) -> str:
    """`GET /patients/{id}`, as every page names it."""
    endpoint = parts.contract.endpoints.get(what)
    return endpoint.name if endpoint else what


def endpoint_is(expected: Callable[[Mapping[str, Any], str], bool]) -> Look:
    def look(parts: Parts, what: str, extra: str) -> Seen:
        state = _endpoint(parts, what)
        return Seen(expected(state, extra) or None, _said_of_endpoint(parts, state))

    return look


def resource(parts: Parts, what: str) -> str:
    return _said_of_resource(parts, parts.plane().get("/resources")[what])


def _said_of_resource(parts: Parts, row: Mapping[str, Any]) -> str:
    doubts = f" Against it: {'; '.join(row['doubts'])}." if row["doubts"] and row["owner"] != "standby" else ""
    waits = f"{row['pending']} {'write waits' if row['pending'] == 1 else 'writes wait'}"
    return f"{'The standby' if row['owner'] == 'standby' else parts.api} owns it; {waits}.{doubts}"


def resource_of(owner: str) -> Look:
    def look(parts: Parts, what: str, _extra: str) -> Seen:
        row = parts.plane().get("/resources")[what]
        return Seen(row["owner"] == owner or None, _said_of_resource(parts, row))

    return look


def _entry(parts: Parts, what: str) -> Mapping[str, Any]:
    """`what`: its id; of a conflict with the revision that was looked at."""
    found: Mapping[str, Any] = parts.plane().get(f"/outbox/{segment(what.partition('@')[0])}")
    return found


def write(parts: Parts, what: str) -> str:
    entry = _entry(parts, what)
    return f"It is {entry['state']}: {reasons.write(entry['reason'] or 'no reason is kept', parts.api)}."


def conflict(parts: Parts, what: str) -> str:
    entry = _entry(parts, what)
    theirs = entry["theirs"] or {}
    shown = "; ".join(f"{name}: {theirs.get(name)}" for name in entry["payload"])
    return f"At {parts.api} now: {shown}."


def fields_of(parts: Parts, what: str) -> tuple[list[str], list[str]]:
    """The fields that a write changes, and those of them that nobody else changed meanwhile. Raises ControlError."""
    entry = _entry(parts, what)
    names, before, theirs = list(entry["payload"]), entry["before"] or {}, entry["theirs"] or {}
    return names, [name for name in names if name in before and before[name] == theirs.get(name)]


def called_write(parts: Parts, what: str) -> str:
    """`note 5, by Dr Holt`."""
    try:
        entry = _entry(parts, what)
    except UNTOLD:
        return f"write {what.partition('@')[0]}"
    return f"{singular(entry['resource'])} {entry['record_id'] or ''}, by {entry['user'] or 'nobody known'}"


def write_sent(parts: Parts, what: str, _extra: str) -> Seen:
    entry = _entry(parts, what)
    why = reasons.write(entry["reason"] or "", parts.api)
    if entry["state"] == "settled":
        return Seen(True, f"{parts.api} has it.")
    if entry["state"] == "parked":
        return Seen(False, f"{why}, again: it is parked.")
    return Seen(None, f"Not sent yet ({why}); it is tried again by itself.")


def write_discarded(parts: Parts, what: str, _extra: str) -> Seen:
    entry = _entry(parts, what)
    return Seen(entry["state"] == "discarded", f"It is {entry['state']}; “Discarded writes” keeps what it said.")


def called_alert(parts: Parts, key: str) -> str:
    try:
        found = parts.alerts.find(key)
    except UNTOLD:
        return key
    return f"{found.severity}: {alert_titles.title(parts.promised, found.name, found.labels)}"


def alert(parts: Parts, key: str) -> str:
    return _said_of_alert(parts, parts.alerts.find(key))


def _said_of_alert(parts: Parts, found: Alert) -> str:
    if found.silenced_until > parts.clock():
        return f"Silent until {time_format.stamp(found.silenced_until, parts.zone)}, by {found.silenced_by}."
    if found.state is State.ACKNOWLEDGED:
        return f"Acknowledged by {found.acknowledged_by}."
    return "Firing, unacknowledged." if found.state is State.FIRING else f"{found.state.capitalize()}."


def alert_is(expected: Callable[[Alert, int], bool]) -> Look:
    def look(parts: Parts, key: str, _extra: str) -> Seen:
        found = parts.alerts.find(key)
        return Seen(expected(found, parts.clock()), _said_of_alert(parts, found))

    return look


def incident_taken(parts: Parts, key: str, _extra: str) -> Seen:
    burning = [each for each in parts.alerts.all() if each.state in BURNING]
    left = len(incidents.holding(burning, key).open)
    return Seen(not left, "Every alert of it is acknowledged." if not left else f"{left} of its alerts fire anew.")


def all_taken(parts: Parts, _what: str, _extra: str) -> Seen:
    left = sum(each.state is State.FIRING for each in parts.alerts.all())
    return Seen(not left, "No alert is unacknowledged." if not left else f"{left} alerts are unacknowledged.")


def _grants(parts: Parts) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = parts.plane("").get("/break-glass")["grants"]
    return found


def called_grant(parts: Parts, what: str) -> str:
    """Whose it is."""
    try:
        return next((str(each["user"]) for each in _grants(parts) if each["id"] == what), what)
    except UNTOLD:
        return what


def glass_open(parts: Parts, what: str, _extra: str) -> Seen:
    open_ = [each for each in _grants(parts) if each["open"] and each["user"] == what]
    if not open_:
        return Seen(None, "It is not open.")
    until = max(int(each["until"]) for each in open_)
    return Seen(True, f"Open until {time_format.stamp(until, parts.zone)}.")


def glass_over(parts: Parts, what: str, _extra: str) -> Seen:
    found = next((each for each in _grants(parts) if each["id"] == what), None)
    over = found is not None and not found["open"]
    return Seen(over or None, "It is over: policies hold for them." if over else "It is open.")


def backfill(parts: Parts, _what: str, _extra: str) -> Seen:
    found = parts.plane().get("/backfill")
    running = bool(found.get("running"))
    return Seen(
        running or None, "It runs." if running else f"It does not run: {found.get('state', 'nothing is told')}."
    )
