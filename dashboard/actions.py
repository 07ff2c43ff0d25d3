"""What operators may do, as data: what it is called, what it leads to, and how the control plane is asked.

Every action needs a reason. It is written to the trail before it is tried, and again with what came of it: without the
first nothing is done; without the second who pressed the button is told all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from alerts.lifecycle.lifecycle import BURNING, NotPossible, State
from dashboard import observations as observed
from dashboard.context import Parts, Visit
from dashboard.data import incidents
from dashboard.observations import Look, Seen
from dashboard.values import time_format
from sidecar.control.client import ControlError, segment
from sidecar.settings import duration
from sidecar.timeunits import DAY, SECOND

log = logging.getLogger(__name__)
SHORTEST: Final = 3
LONGEST: Final = 500
SILENT: Final = 30 * DAY
"""The longest silence: one that nobody remembers hides what it should not."""


class NotDone(Exception):
    """Why an action was not done, in one line for the person who asked."""


class NotKnown(NotDone):
    """It may have been done, or not: nobody can say from what came back."""


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
    """How it is now, in a sentence; empty: there is nothing to tell. May raise what a Look does."""
    then: Look = field(kw_only=True)
    """What has become of it."""


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


def _resource(verb: str) -> Callable[[Parts, Visit, str, str, str], str]:
    def do(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
        body = {"reason": reason, **({"force": extra == "force"} if verb == "promote" else {})}
        answer = parts.plane(who.who.user).post(f"/resources/{segment(what)}/{verb}", body)
        overruled = f", despite failed checks: {'; '.join(answer['overruled'])}" if answer.get("overruled") else ""
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
    answer = parts.plane(who.who.user).post(f"/outbox/{segment(ident)}/merge", body)
    return f"write {ident}: {answer['state']}"


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
        called=observed.called_endpoint,
        before=observed.endpoint,
        then=observed.endpoint_is(lambda state, _: state["mode"] == state["answered_by"] == "standby"),
    ),
    "handback": Action(
        "Hand back",
        "{api} is asked again from the next request on; from then its circuit decides who answers.",
        _endpoint("handback"),
        called=observed.called_endpoint,
        before=observed.endpoint,
        then=observed.endpoint_is(lambda state, _: state["mode"] == "auto"),
    ),
    "route": Action(
        "Route a share",
        "The standby answers that share of callers, always the same ones.",
        _endpoint("route"),
        "percent",
        called=observed.called_endpoint,
        before=observed.endpoint,
        then=observed.endpoint_is(lambda state, percent: state["percent"] == float(percent)),
    ),
    "promote": Action(
        "Promote",
        "The standby becomes its owner: {api} is asked no more, and hears of no write until it is demoted.",
        _resource("promote"),
        "force",
        grave=True,
        before=observed.resource,
        then=observed.resource_of("standby"),
    ),
    "demote": Action(
        "Demote",
        "{api} becomes its owner again; what it has missed is sent to it.",
        _resource("demote"),
        grave=True,
        before=observed.resource,
        then=observed.resource_of("upstream"),
    ),
    "retry": Action(
        "Try again",
        "It is looked for at {api} first, and sent only if it is not there.",
        _outbox("retry"),
        before=observed.write,
        then=observed.write_sent,
    ),
    "theirs": Action(
        "Keep theirs",
        "{api} stays as it is now, and the write is discarded: the person who made it must be told.",
        _discard,
        grave=True,
        called=observed.called_write,
        before=observed.conflict,
        then=observed.write_discarded,
    ),
    "ours": Action(
        "Put ours",
        "All of the write is sent over what {api} has now; if somebody changed that since, it is parked again.",
        _ours,
        called=observed.called_write,
        before=observed.conflict,
        then=observed.write_sent,
    ),
    "merge": Action(
        "Merge",
        "The chosen fields are sent, the others stay as {api} has them; if somebody changed the record since, it is "
        "parked again.",
        _merge,
        "fields",
        called=observed.called_write,
        before=observed.conflict,
        then=observed.write_sent,
    ),
    "discard": Action(
        "Discard",
        "The write will never be made. What it said is kept here; the person who made it must be told.",
        _outbox("discard"),
        grave=True,
        before=observed.write,
        then=observed.write_discarded,
    ),
    "acknowledge": Action(
        "Acknowledge with a reason",
        "You take this alert. No repeats until it resolves; new alerts still notify.",
        _acknowledge,
        reasonless=True,
        called=observed.called_alert,
        before=observed.alert,
        then=observed.alert_is(lambda alert, _: alert.state is not State.FIRING),
    ),
    "acknowledge-incident": Action(
        "Acknowledge",
        "You take this incident. No repeats until it resolves; new alerts still notify.",
        _acknowledge_incident,
        reasonless=True,
        called=observed.called_alert,
        then=observed.incident_taken,
    ),
    "acknowledge-all": Action(
        "Acknowledge all",
        "You take every alert that is firing now. New alerts still notify.",
        _acknowledge_all,
        reasonless=True,
        then=observed.all_taken,
    ),
    "silence": Action(
        "Silence",
        "Nobody is notified of it until then, even if it fires again.",
        _silence,
        "until",
        called=observed.called_alert,
        before=observed.alert,
        then=observed.alert_is(lambda alert, now: alert.silenced_until > now),
    ),
    "unsilence": Action(
        "End the silence",
        "It notifies again as soon as it fires.",
        _unsilence,
        called=observed.called_alert,
        before=observed.alert,
        then=observed.alert_is(lambda alert, now: alert.silenced_until <= now),
    ),
    "break-glass": Action(
        "Break-glass",
        "For those hours no access policy denies them anything; each access of theirs is flagged.",
        _break_glass,
        "hours",
        grave=True,
        then=observed.glass_open,
    ),
    "break-glass-end": Action(
        "End break-glass",
        "Access policies hold for them again, from now on.",
        _break_glass_end,
        called=observed.called_grant,
        then=observed.glass_over,
    ),
    "backfill": Action(
        "Fill the copy now",
        "{api} is asked, gently, for what the standby has not seen.",
        _backfill,
        then=observed.backfill,
    ),
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

    def ended(outcome: str) -> None:
        try:
            parts.trail.note(who.who, who.address, kind, subject, reason, outcome[:300])
        except (OSError, SQLAlchemyError):
            fields = {"event.action": "trail_lacks_outcome", "understudy.what": f"{kind} {subject}: {outcome}"}
            log.exception("what came of an action could not be written to the trail", extra={"fields": fields})

    try:
        said = action.do(parts, who, what, reason, extra)
    except ControlError as error:
        ended(f"not known: {error}" if error.unknown else f"not done: {error}")
        raise (NotKnown if error.unknown else NotDone)(str(error)) from None
    except (NotDone, LookupError, ValueError) as error:
        ended(f"not done: {error}")
        raise NotDone(str(error)) from None
    except SQLAlchemyError as error:
        said = f"the alerts' database does not answer ({type(error).__name__}): whether it was done is not known"
        ended(said)
        raise NotKnown(said) from None
    ended("done")
    return said


def seen(parts: Parts, kind: str, what: str, extra: str) -> Seen:
    """What has become of it within a few seconds."""
    look = ACTIONS[kind].then
    return observed.waited_for(lambda: look(parts, what, extra))


def _number(text: str, least: float, most: float, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise NotDone(f"{name}: expected a number from {least:g} to {most:g}; found {text!r}")
    return value
