"""One event as a sentence that a practice manager understands: who did what to which record, and how it ended. Pure.

Nothing here is HTML: names, titles and paths are text, and stay text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sidecar.events.store import Event

_VERBS: Final = {
    "read": "looked at",
    "list": "looked at",
    "create": "added",
    "update": "changed",
    "delete": "deleted",
}
_TRIED: Final = {
    "read": "tried to look at",
    "list": "tried to look at",
    "create": "tried to add",
    "update": "tried to change",
    "delete": "tried to delete",
}
_DEEDS: Final = {
    "break_glass": "opened break-glass",
    "break_glass_end": "ended break-glass",
    "revoke": "revoked the credentials",
    "restore": "restored the credentials",
    "hold": "laid a hold",
    "release": "released a hold",
    "erase": "erased bodies",
    "rotate_key": "changed the sign key",
    "trust_clock": "trusted the clock",
}
_REFUSALS: Final = {
    400: "refused: the request was not understood",
    401: "refused: wrong name or password",
    403: "refused: not allowed",
    404: "there is no such record",
    409: "refused: it conflicts with another change",
    413: "refused: too large",
    422: "refused: something in it was not accepted",
    499: "the person left before the answer",
}
_OURS: Final = {"standby": "the standby", "understudy": "Understudy"}
_PURPOSES: Final = {"replay": "Understudy, for", "backfill": "Understudy's backfill", "parity": "Understudy's check"}


@dataclass(frozen=True)
class Sentence:
    """`good`: True worked, False did not, None uncertain. `subject` names the record; `ending` says how it went."""

    who: str
    did: str
    subject: str
    ending: str
    answered: str
    good: bool | None

    def __str__(self) -> str:
        return " ".join(word for word in (self.who, self.did, self.subject) if word)


def sentence(event: Event, bodies: Event | None, api: str) -> Sentence:
    """`bodies`: what was recorded of the exchange's bodies, for the title. `api`: what people call the upstream."""
    action = str(at(event, "event.action") or "other")
    good, ending = _ending(event, api)
    status = at(event, "http.response.status_code")
    if status == 401:
        who = at(event, "user.name")
        did = "could not sign in, asking for" if who else "asked without signing in for"
        return Sentence(who or "Somebody", did, _subject(event, bodies, action), ending, _answered(event, api), good)
    verbs = _VERBS if good else _TRIED
    subject = _subject(event, bodies, action)
    if at(event, "understudy.purpose") == "audit":
        return Sentence(_who(event), *_deed(event, action), ending, _answered(event, api), good)
    if action == "call":
        return Sentence(_who(event), *_call(event, bodies, bool(good)), ending, _answered(event, api), good)
    did = verbs.get(action, "asked for" if good else "tried to ask for")
    return Sentence(_who(event), did, subject, ending, _answered(event, api), good)


def _who(event: Event) -> str:
    name = str(at(event, "user.name") or "Somebody who did not sign in")
    purpose = at(event, "understudy.purpose")
    if purpose == "replay":
        return f"{_PURPOSES['replay']} {name},"
    return _PURPOSES.get(str(purpose), name)


def _deed(event: Event, action: str) -> tuple[str, str]:
    """What somebody did to Understudy itself, and to whom."""
    whom = at(event, "understudy.deed.user")
    patient = at(event, "understudy.patient.id")
    about = [f"for {whom}" if whom else "", f"on Patient {patient}" if patient is not None else ""]
    return _DEEDS.get(action, f"did “{action}”"), " ".join(word for word in about if word)


def _call(event: Event, bodies: Event | None, good: bool) -> tuple[str, str]:
    patient = at(event, "understudy.patient.id") or at(event, "understudy.resource.id")
    path = str(at(event, "url.path") or "")
    if path.endswith("/screen") and patient:
        asked = content(bodies, "request")
        images = asked.get("images") if isinstance(asked, dict) else None
        many = f"{len(images)} image{'s' if len(images) != 1 else ''}" if isinstance(images, list) else "images"
        return ("had" if good else "tried to have", f"{many} of Patient {patient} screened")
    return ("asked for" if good else "tried to ask for", f"{at(event, 'understudy.endpoint') or path}")


def _subject(event: Event, bodies: Event | None, action: str) -> str:
    kind, ident = at(event, "understudy.resource.type"), at(event, "understudy.resource.id")
    patient = at(event, "understudy.patient.id")
    path = str(at(event, "url.path") or "")
    if not kind or action == "other":
        return f"{at(event, 'http.request.method')} {path}"
    if path.endswith("/me"):
        return "their own staff record"
    if action == "list":
        return f"the {kind} of Patient {patient}" if patient and kind != "patients" else f"the list of {kind}"
    title = _title(bodies)
    if kind == "patients":
        number = ident or patient
        return f"Patient {number}" + (f" “{title}”" if title else "") if number else f"a patient “{title or '?'}”"
    name = f"“{title}”" if title else str(ident or "")
    article = "a" if action == "create" and not title else "the"
    words = f"{article} {singular(str(kind))} {name}".rstrip()
    if not patient:
        return words
    return f"{words} {'to' if action == 'create' else 'of'} Patient {patient}"


def _title(bodies: Event | None) -> str | None:
    for side in ("request", "response"):
        found = content(bodies, side)
        if isinstance(found, dict):
            for key in ("title", "name"):
                if isinstance(found.get(key), str) and found[key].strip():
                    return str(found[key])[:120]
    return None


def _ending(event: Event, api: str) -> tuple[bool | None, str]:
    status, outcome = at(event, "http.response.status_code"), at(event, "event.outcome")
    if at(event, "understudy.purpose") == "audit" and outcome == "success":
        return True, "done"
    if status in _REFUSALS:
        return (None if status == 499 else False), _REFUSALS[status]
    if outcome == "failure":
        return False, f"failed (error {status})" if status and status >= 500 else "failed: the answer was not usable"
    if outcome == "unknown" or status is None:
        return None, "not certain how it ended"
    if status >= 400:
        return False, f"refused ({status})"
    return True, f"accepted, waiting to reach {api}" if status == 202 else "worked"


def _answered(event: Event, api: str) -> str:
    answerer = str(at(event, "understudy.answered_by"))
    return api if answerer == "upstream" else _OURS.get(answerer, "nobody")


def singular(kind: str) -> str:
    """notes → note, staffs → staff, allergies → allergy."""
    return f"{kind[:-3]}y" if kind.endswith("ies") else kind.removesuffix("s")


def content(bodies: Event | None, side: str) -> Any:
    """A recorded body as JSON; None where there is none, or it was cut short."""
    text = at(bodies, f"http.{side}.body.content") if bodies else None
    if not isinstance(text, str):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def at(event: Event | None, path: str) -> Any:
    """The value of a field such as user.name, or None."""
    value: Any = event
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
