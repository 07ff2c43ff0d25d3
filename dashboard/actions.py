"""What operators may do, as data: what it is called, what it leads to, and how the control plane is asked.

Every action needs a reason. It is written to the trail before it is tried, and again with what came of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from alerts.lifecycle.lifecycle import BURNING, NotPossible, State
from dashboard.context import Parts, Visit
from dashboard.data import alert_titles, incidents
from dashboard.values import reasons, time_format
from dashboard.values.sentences import singular
from sidecar.control.client import ControlError, segment
from sidecar.settings import duration
from sidecar.timeunits import DAY, SECOND

SHORTEST: Final = 3
LONGEST: Final = 500
LOOKS: Final = 20
PAUSE: Final = 0.25
"""How often, and after how many seconds each, it is looked at what has become of a write that was just decided."""
SILENT: Final = 30 * DAY
"""The longest silence: one that nobody remembers hides what it should not."""


class NotDone(Exception):
    """Why an action was not done, in one line for the person who asked."""


@dataclass(frozen=True)
class Action:
    """`extra`: what is asked beside the reason (percent, hours, fields, force, until, or nothing). `leads_to` is said
    before, `{api}` being what people call the upstream."""

    label: str
    leads_to: str
    do: Callable[[Parts, Visit, str, str, str], str]
    extra: str = ""
    grave: bool = False
    reasonless: bool = False
    """Whether it may be done without saying why: it changes nothing for users, and haste is right."""
    called: Callable[[Parts, str], str] = lambda _parts, what: what
    """What it is done to, for people."""
    before: Callable[[Parts, str], str] = lambda _parts, _what: ""
    """How it is now, in a sentence; empty: there is nothing to tell. May raise ControlError, LookupError."""


def _endpoint(verb: str) -> Callable[[Parts, Visit, str, str, str], str]:
    def do(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
        body: dict[str, Any] = {"reason": reason}
        if verb == "route":
            body["percent"] = _number(extra, 0, 100, "percent")
        answer = parts.plane(who.who.user).post(f"/endpoints/{segment(what)}/{verb}", body)
        return f"{what}: {answer['answered_by']} answers" + (
            f"; {extra}% of callers go to the standby" if verb == "route" else ""
        )

    return do


def _endpoint_now(parts: Parts, what: str) -> str:
    """Who answers for it, its circuit, and whether the standby could."""
    state = next(each for each in parts.plane().get("/endpoints") if each["id"] == what)
    who = {"upstream": f"{parts.api} answers", "standby": "The standby answers"}.get(
        state["answered_by"], "Both answer"
    )
    circuit = reasons.circuit(state["circuit"], state["circuit_reason"] or "", parts.api)
    ready = "the standby is ready" if state["ready"] else f"the standby is not ready ({state['ready_reason']})"
    return f"{who}; its circuit is {circuit}; {ready}."


def _resource_now(parts: Parts, what: str) -> str:
    row = parts.plane().get("/resources")[what]
    doubts = f" Against it: {'; '.join(row['doubts'])}." if row["doubts"] else ""
    return f"{'The standby' if row['owner'] == 'standby' else parts.api} owns it; {row['pending']} writes wait.{doubts}"


def _write_now(parts: Parts, what: str) -> str:
    entry = parts.plane().get(f"/outbox/{segment(what)}")
    return f"It is {entry['state']}: {reasons.write(entry['reason'] or 'no reason is kept', parts.api)}."


def _conflict_now(parts: Parts, what: str) -> str:
    entry = parts.plane().get(f"/outbox/{segment(what.partition('@')[0])}")
    theirs = entry["theirs"] or {}
    shown = "; ".join(f"{name}: {theirs.get(name)}" for name in entry["payload"])
    return f"At {parts.api} now: {shown}."


def fields_of(parts: Parts, what: str) -> tuple[list[str], list[str]]:
    """The fields that a write changes, and those of them that nobody else changed meanwhile. Raises ControlError."""
    entry = parts.plane().get(f"/outbox/{segment(what.partition('@')[0])}")
    names, before, theirs = list(entry["payload"]), entry["before"] or {}, entry["theirs"] or {}
    return names, [name for name in names if name in before and before[name] == theirs.get(name)]


def _resource(verb: str) -> Callable[[Parts, Visit, str, str, str], str]:
    def do(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
        body = {"reason": reason, **({"force": extra == "force"} if verb == "promote" else {})}
        answer = parts.plane(who.who.user).post(f"/resources/{segment(what)}/{verb}", body)
        overruled = f", overruling: {'; '.join(answer['overruled'])}" if answer.get("overruled") else ""
        return f"{what}: the {answer['owner']} owns it{overruled}"

    return do


def _outbox(verb: str) -> Callable[[Parts, Visit, str, str, str], str]:
    def do(parts: Parts, who: Visit, what: str, reason: str, _extra: str) -> str:
        answer = parts.plane(who.who.user).post(f"/outbox/{segment(what)}/{verb}", {"reason": reason})
        return f"write {what}: {answer['state']}"

    return do


def _discard(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
    return _outbox("discard")(parts, who, what, reason, extra)


def _ours(parts: Parts, who: Visit, what: str, reason: str, _extra: str) -> str:
    entry = parts.plane().get(f"/outbox/{segment(what.partition('@')[0])}")
    return _merge(parts, who, what, reason, "\n".join(entry["payload"]))


def _merge(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
    """`what` is the entry's id, and the revision of it that was looked at; `extra` the fields that are ours."""
    ident, _, revision = what.partition("@")
    if not revision.isdecimal():
        raise NotDone("the page is out of date: load it again")
    fields = [name for name in extra.split("\n") if name]
    body = {"fields": fields, "revision": int(revision), "reason": reason}
    path = f"/outbox/{segment(ident)}"
    parts.plane(who.who.user).post(f"{path}/merge", body)
    return f"write {ident}: {_observed(parts, path)}"


def _observed(parts: Parts, path: str) -> str:
    """What has become of a write within a few seconds."""
    entry: Mapping[str, Any] = {}
    for _ in range(LOOKS):
        entry = parts.plane().get(path)
        if entry["state"] == "settled":
            return f"{parts.api} has it"
        if entry["state"] == "parked":
            return f"{reasons.write(entry['reason'] or '', parts.api)}, again"
        time.sleep(PAUSE)
    return f"not sent yet ({reasons.write(entry['reason'] or '', parts.api)})"


def _write(parts: Parts, what: str) -> str:
    """`note 5, by Dr Holt`."""
    ident = what.partition("@")[0]
    try:
        entry = parts.plane().get(f"/outbox/{segment(ident)}")
    except ControlError:
        return f"write {ident}"
    return f"{singular(entry['resource'])} {entry['record_id'] or ''}, by {entry['user'] or 'nobody known'}"


def _backfill(parts: Parts, who: Visit, _what: str, _reason: str, _extra: str) -> str:
    parts.plane(who.who.user).post("/backfill", {})
    return "backfill: asked for"


def _break_glass(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
    body = {"user": what, "hours": _number(extra, 0.1, 72, "hours"), "reason": reason}
    made = parts.plane(who.who.user).post("/break-glass", body)
    return f"break-glass for {what} until {time_format.stamp(int(made['until']), parts.zone)}"


def _break_glass_end(parts: Parts, who: Visit, what: str, reason: str, _extra: str) -> str:
    made = parts.plane(who.who.user).post(f"/break-glass/{segment(what)}/end", {"reason": reason})
    return f"break-glass of {made['user']} has ended"


def _grant(parts: Parts, what: str) -> str:
    """Whose it is."""
    try:
        grants = parts.plane("").get("/break-glass")["grants"]
    except ControlError:
        return what
    return next((str(each["user"]) for each in grants if each["id"] == what), what)


def _alert(parts: Parts, key: str) -> str:
    try:
        found = parts.alerts.find(key)
    except LookupError:
        return key
    return f"{found.severity}: {alert_titles.title(parts.promised, found.name, found.labels)}"


def _acknowledge(parts: Parts, who: Visit, what: str, reason: str, _extra: str) -> str:
    parts.alerts.acknowledge(what, _by(who), reason)
    return "acknowledged: no repeats until it resolves"


def _acknowledge_all(parts: Parts, who: Visit, _what: str, reason: str, _extra: str) -> str:
    firing = [alert for alert in parts.alerts.all() if alert.state is State.FIRING]
    done = 0
    for alert in firing:
        with suppress(LookupError, NotPossible):  # over by now, or somebody was quicker
            parts.alerts.acknowledge(alert.key, _by(who), reason)
            done += 1
    return f"{done} of {len(firing)} acknowledged"


def _acknowledge_incident(parts: Parts, who: Visit, what: str, reason: str, _extra: str) -> str:
    incident = incidents.holding([alert for alert in parts.alerts.all() if alert.state in BURNING], what)
    done = 0
    for alert in incident.open:
        with suppress(LookupError, NotPossible):
            parts.alerts.acknowledge(alert.key, _by(who), reason)
            done += 1
    return f"{done} of {len(incident.alerts)} alerts acknowledged: no repeats until they resolve"


def _silence(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
    until = _end(parts, extra)
    parts.alerts.silence(what, _by(who), reason, until)
    return f"silent until {time_format.day_and_time(until, parts.zone)} {time_format.zone_name(until, parts.zone)}"


def _unsilence(parts: Parts, who: Visit, what: str, _reason: str, _extra: str) -> str:
    parts.alerts.unsilence(what, _by(who))
    return "no longer silent"


def _by(who: Visit) -> str:
    return f"{who.who.user} (dashboard)"


def _end(parts: Parts, text: str) -> int:
    """`4h` from now, or a time in the dashboard's zone, in ns. Raises NotDone."""
    now = parts.clock()
    try:
        until = now + int(duration(text.strip()) * SECOND)
    except ValueError:
        try:
            until = time_format.parse(text, parts.zone)
        except ValueError:
            raise NotDone(f"until: expected 30m, 4h, 2d or a time such as 2026-11-25 08:00; found {text!r}") from None
    if not now < until <= now + SILENT:
        raise NotDone(f"until: expected an end within the next {SILENT // DAY} days; found {text!r}")
    return until


ACTIONS: Final[Mapping[str, Action]] = {
    "takeover": Action(
        "Take over",
        "The standby answers for it until it is handed back, from what it knows.",
        _endpoint("takeover"),
        before=_endpoint_now,
    ),
    "handback": Action(
        "Hand back",
        "{api} is asked again from the next request on; from then its circuit decides who answers.",
        _endpoint("handback"),
        before=_endpoint_now,
    ),
    "route": Action(
        "Route a share",
        "The standby answers that share of callers, always the same ones.",
        _endpoint("route"),
        "percent",
        before=_endpoint_now,
    ),
    "promote": Action(
        "Promote",
        "The standby becomes its owner: {api} is asked no more, and hears of no write until it is demoted.",
        _resource("promote"),
        "force",
        grave=True,
        before=_resource_now,
    ),
    "demote": Action(
        "Demote",
        "{api} becomes its owner again; what it has missed is sent to it.",
        _resource("demote"),
        grave=True,
        before=_resource_now,
    ),
    "retry": Action(
        "Try again",
        "It is looked for at {api} first, and sent only if it is not there.",
        _outbox("retry"),
        before=_write_now,
    ),
    "theirs": Action(
        "Keep theirs",
        "{api} stays as it is now, and the write is discarded: the person who made it must be told.",
        _discard,
        grave=True,
        called=_write,
    ),
    "ours": Action(
        "Put ours",
        "All of the write is sent over what {api} has now; if somebody changed that since, it is parked again.",
        _ours,
        called=_write,
        before=_conflict_now,
    ),
    "merge": Action(
        "Merge",
        "The chosen fields are sent, the others stay as {api} has them; if somebody changed the record since, it is "
        "parked again.",
        _merge,
        "fields",
        called=_write,
        before=_conflict_now,
    ),
    "discard": Action(
        "Discard",
        "The write will never be made. What it said is kept here; the person who made it must be told.",
        _outbox("discard"),
        grave=True,
        before=_write_now,
    ),
    "acknowledge": Action(
        "Acknowledge",
        "You take this alert. No repeats until it resolves; new alerts still notify.",
        _acknowledge,
        reasonless=True,
        called=_alert,
    ),
    "acknowledge-incident": Action(
        "Acknowledge",
        "You take this incident. No repeats until it resolves; new alerts still notify.",
        _acknowledge_incident,
        reasonless=True,
        called=_alert,
    ),
    "acknowledge-all": Action(
        "Acknowledge all",
        "You take every alert that is firing now. New alerts still notify.",
        _acknowledge_all,
        reasonless=True,
    ),
    "silence": Action(
        "Silence", "Nobody is notified of it until then, even if it fires again.", _silence, "until", called=_alert
    ),
    "unsilence": Action("End the silence", "It notifies again as soon as it fires.", _unsilence, called=_alert),
    "break-glass": Action(
        "Break-glass",
        "For those hours no access policy denies them anything; each access of theirs is flagged.",
        _break_glass,
        "hours",
        grave=True,
    ),
    "break-glass-end": Action(
        "End break-glass", "Access policies hold for them again, from now on.", _break_glass_end, called=_grant
    ),
    "backfill": Action("Fill the copy now", "{api} is asked, gently, for what the standby has not seen.", _backfill),
}


def perform(parts: Parts, who: Visit, kind: str, what: str, reason: str, extra: str) -> str:
    """Does it, and says what came of it. Raises NotDone. Both the try and its outcome are in the trail."""
    action = ACTIONS.get(kind)
    if action is None:
        raise NotDone(f"there is no action {kind!r}")
    reason = " ".join(reason.split())
    if not (action.reasonless and not reason) and not SHORTEST <= len(reason) <= LONGEST:
        raise NotDone(f"reason: expected {SHORTEST} to {LONGEST} characters; found {len(reason)}")
    named = action.called(parts, what)
    subject = f"{what}{f' ({named})' if named != what else ''} {extra}".strip()
    parts.trail.note(who.who, who.address, kind, subject, reason, "begun")
    try:
        said = action.do(parts, who, what, reason, extra)
    except (ControlError, NotDone, LookupError, ValueError) as error:
        parts.trail.note(who.who, who.address, kind, subject, reason, f"not done: {error}"[:300])
        raise NotDone(str(error)) from None
    except SQLAlchemyError as error:
        said = f"the alerts' database does not answer ({type(error).__name__}): whether it was done is not known"
        parts.trail.note(who.who, who.address, kind, subject, reason, said)
        raise NotDone(said) from None
    parts.trail.note(who.who, who.address, kind, subject, reason)
    return said


def _number(text: str, least: float, most: float, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise NotDone(f"{name}: expected a number from {least:g} to {most:g}; found {text!r}")
    return value
