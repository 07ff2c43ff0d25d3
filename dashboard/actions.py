"""What operators may do, as data: what it is called, what it leads to, and how the control plane is asked.

Every action needs a reason. It is written to the trail before it is tried, and again with what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dashboard.parts import Parts, Visit
from sidecar.client import ControlError, segment

SHORTEST: Final = 3
LONGEST: Final = 500


class NotDone(Exception):
    """Why an action was not done, in one line for the person who asked."""


@dataclass(frozen=True)
class Action:
    """`extra`: what is asked beside the reason (percent, force, hours, or nothing). `leads_to` is said before."""

    label: str
    leads_to: str
    do: Callable[[Parts, Visit, str, str, str], str]
    extra: str = ""
    grave: bool = False


def _endpoint(verb: str) -> Callable[[Parts, Visit, str, str, str], str]:
    def do(parts: Parts, who: Visit, what: str, reason: str, extra: str) -> str:
        body: dict[str, Any] = {"reason": reason}
        if verb == "route":
            body["percent"] = _number(extra, 0, 100, "percent")
        answer = parts.plane(who.who.user).post(f"/endpoints/{segment(what)}/{verb}", body)
        return f"{what}: {answer['answered_by']} answers" + (f", {extra}% of callers" if verb == "route" else "")

    return do


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


def _backfill(parts: Parts, who: Visit, _what: str, _reason: str, _extra: str) -> str:
    parts.plane(who.who.user).post("/backfill", {})
    return "backfill: asked for"


ACTIONS: Final[Mapping[str, Action]] = {
    "takeover": Action(
        "Take over", "The standby answers for it until it is handed back, from what it knows.", _endpoint("takeover")
    ),
    "handback": Action("Hand back", "HOSP answers for it again, from the next request on.", _endpoint("handback")),
    "route": Action(
        "Route a share",
        "The standby answers that share of callers, always the same ones.",
        _endpoint("route"),
        "percent",
    ),
    "promote": Action(
        "Promote",
        "The standby becomes its owner: HOSP is asked no more, and hears of no write until it is demoted.",
        _resource("promote"),
        "force",
        grave=True,
    ),
    "demote": Action(
        "Demote", "HOSP becomes its owner again; what it has missed is sent to it.", _resource("demote"), grave=True
    ),
    "retry": Action("Try again", "It is looked for at HOSP first, and sent only if it is not there.", _outbox("retry")),
    "discard": Action(
        "Discard",
        "The write will never be made. What it said is kept here; the person who made it must be told.",
        _outbox("discard"),
        grave=True,
    ),
    "backfill": Action("Fill the copy now", "HOSP is asked, gently, for what the standby has not seen.", _backfill),
}


def perform(parts: Parts, who: Visit, kind: str, what: str, reason: str, extra: str) -> str:
    """Does it, and says what came of it. Raises NotDone. Both the try and its outcome are in the trail."""
    action = ACTIONS.get(kind)
    if action is None:
        raise NotDone(f"there is no action {kind!r}")
    reason = " ".join(reason.split())
    if not SHORTEST <= len(reason) <= LONGEST:
        raise NotDone(f"reason: expected {SHORTEST} to {LONGEST} characters; found {len(reason)}")
    subject = f"{what} {extra}".strip()
    parts.trail.note(who.who, who.address, kind, subject, reason, "begun")
    try:
        said = action.do(parts, who, what, reason, extra)
    except (ControlError, NotDone, LookupError, ValueError) as error:
        parts.trail.note(who.who, who.address, kind, subject, reason, f"not done: {error}"[:300])
        raise NotDone(str(error)) from None
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
