"""Events as the sidecar makes them, many and believable, for tests, screenshots and measurements of the dashboard."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sidecar.events.store import EventStore, Filter
from sidecar.timeunits import to_rfc3339

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
PEOPLE = ["Dr Holt", "Dr Okafor", "Nurse Abara", "Nurse Lindqvist", "Reception Mill Lane", "Dr Sato", "Dr Ní Bhriain"]
TITLES = ["Round", "Vaccination", "Limping", "Dental check", "After surgery", "Phone call"]
AGENTS = ["Mozilla/5.0 (Windows NT 10.0) Firefox/140.0", "Mozilla/5.0 (iPhone) Safari/604.1", "WardApp/3.2"]


def event(at: int, dice: random.Random, **given: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """One event and its bodies, drawn as staff would make them; what is given stays."""
    action, endpoint, method, path, kind, query = _drawn(dice, given)
    patient = given.get("patient", str(dice.randint(1, 400)))
    path, query = path.replace("{p}", patient), query.replace("{p}", patient)
    ill = dice.random()
    outcome, status, answered = ("success", 201 if action == "create" else 200, "upstream")
    if ill < 0.035:
        answered = "standby"
    elif ill < 0.0365:
        outcome, status, answered = ("failure", 503, "understudy")
    status, outcome = given.get("status", status), given.get("outcome", outcome)
    upstream = given.get("upstream", "success" if answered == "upstream" else "failure")
    answered = given.get("answered_by", answered)
    ident = _id(at, dice)
    duration = int(min(dice.lognormvariate(0, 1) * 0.25, 2.5 + dice.random() * 0.501) * SECOND)
    user = given.get("user", dice.choice(PEOPLE))
    document: dict[str, Any] = {
        "@timestamp": to_rfc3339(at),
        "event": {
            "id": ident,
            "kind": "event",
            "category": ["api"],
            "type": ["access"],
            "action": action,
            "outcome": outcome,
            "duration": duration,
            "start": to_rfc3339(at),
            "end": to_rfc3339(at + duration),
            "sequence": 1,
            "hash": hashlib.sha256(ident.encode()).hexdigest(),
        },
        "http": {
            "request": {"id": f"r-{ident[:8]}", "method": method, "bytes": 0},
            "response": {"status_code": status, "bytes": 300, "mime_type": "application/json"},
        },
        "url": {"path": given.get("path", path)},
        "source": {"ip": given.get("address", dice.choice(["10.20.0.7", "10.20.0.8", "10.30.4.21"]))},
        "user_agent": {"original": given.get("agent", dice.choice(AGENTS))},
        "trace": {"id": hashlib.md5(ident.encode(), usedforsecurity=False).hexdigest()},
        "service": {"name": "understudy", "node": {"name": "ward"}},
        "understudy": {
            "endpoint": endpoint,
            "endpoint_id": f"{kind}.{action}",
            "answered_by": answered,
            "attempts": [{"start": to_rfc3339(at), "duration": duration, "outcome": "success", "status": 200}],
            "circuit": "closed",
            "verdict": given.get("verdict", "allow"),
            "findings": [],
            "client": "user",
            "identity": "claimed" if status == 401 else "verified",
            "purpose": "user",
            "outcome": outcome,
            "upstream_outcome": upstream,
        },
    }
    if query:
        document["url"]["query"] = given.get("query", query)
    if user:
        document["user"] = {"name": user}
    if kind:
        document["understudy"]["resource"] = {"type": kind}
        if action in ("read", "update", "call"):
            document["understudy"]["resource"]["id"] = path.split("/")[2]
    if kind == "patients" or "patient_id" in query or kind == "notes":
        document["understudy"]["patient"] = {"id": patient}
    if action == "list" and not query:
        document["understudy"].pop("patient", None)
    return document, _bodies(document, given.get("body") or _said(action, kind, patient, dice), given.get("answer"))


def _drawn(dice: random.Random, given: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    note = dice.randint(1, 2000)
    kinds = {
        "notes": ("list", "GET /notes", "GET", "/notes", "notes", "patient_id={p}"),
        "patient": ("read", "GET /patients/{id}", "GET", "/patients/{p}", "patients", ""),
        "note": ("read", "GET /notes/{id}", "GET", f"/notes/{note}", "notes", ""),
        "patients": ("list", "GET /patients", "GET", "/patients", "patients", ""),
        "create": ("create", "POST /notes", "POST", "/notes", "notes", ""),
        "update": ("update", "PATCH /notes/{id}", "PATCH", f"/notes/{note}", "notes", ""),
        "screen": ("call", "POST /patients/{id}/screen", "POST", "/patients/{p}/screen", "patients", ""),
        "me": ("read", "GET /staffs/me", "GET", "/staffs/me", "staffs", ""),
    }
    weights = (30, 25, 8, 5, 10, 5, 7, 10)
    return kinds[given.get("kind") or dice.choices(list(kinds), weights)[0]]


def _said(action: str, kind: str, patient: str, dice: random.Random) -> Any:
    if kind == "notes" and action in ("create", "update"):
        hour = dice.randint(8, 18)
        return {
            "title": dice.choice(TITLES),
            "body": f"Seen at {hour}:{dice.randint(0, 59):02d}.",
            "patient_id": int(patient),
        }
    return {"images": ["AOTL"]} if action == "call" else None


def _bodies(document: dict[str, Any], said: Any, answer: Any) -> dict[str, Any] | None:
    if said is None and answer is None:
        return None
    found = {"request": said, "response": answer}
    return {
        "@timestamp": document["@timestamp"],
        "event": {"id": document["event"]["id"]},
        "understudy": {"endpoint": document["understudy"]["endpoint"]},
        "http": {side: {"body": {"content": json.dumps(body)}} for side, body in found.items() if body is not None},
    }


def _id(at: int, dice: random.Random) -> str:
    digits = f"{at // 1_000_000:012x}7{dice.getrandbits(76):019x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-8{digits[17:20]}-{digits[20:32]}"


def times(since: int, until: int, count: int, dice: random.Random) -> Iterator[int]:
    """So many times, oldest first, most of them in working hours."""
    hours = list(range(since, until, HOUR))
    weights = [10 if 7 <= datetime.fromtimestamp(at // SECOND, UTC).hour < 19 else 1 for at in hours]
    many = Counter(dice.choices(hours, weights, k=count))
    for at in hours:
        yield from sorted(dice.randrange(at, min(at + HOUR, until)) for _ in range(many[at]))


def everything() -> Filter:
    return Filter()


def fill(
    store: EventStore, since: int, until: int, count: int, seed: int = 1, batch: int = 2000, people: int = 0,
    patients: int = 400,
) -> None:  # fmt: skip
    """Puts so many events into an installed store. `people`: how many more there are than those with names."""
    dice = random.Random(seed)
    everyone = [*PEOPLE, *(f"Nurse {number:03d}" for number in range(people))]
    events, bodies = [], []
    for at in times(since, until, count, dice):
        document, body = event(at, dice, user=dice.choice(everyone), patient=str(dice.randint(1, patients)))
        events.append(document)
        bodies += [body] if body else []
        if len(events) == batch:
            store.append(events, bodies)
            events, bodies = [], []
    store.append(events, bodies)
