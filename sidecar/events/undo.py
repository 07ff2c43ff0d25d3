"""What somebody's writes touched, from the recorded exchanges, and how each would be put back. Reads the store only.

Before is what the standby knew when the write came, which was recorded with it; else what the last earlier answer shows
of the record. After is in the write's own answer. Where that cannot be told (a body was not kept, a write between was
unclear) it is unknown, and nothing is proposed. A write of which nobody knows whether it took effect is listed so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from sidecar.contract import Action, Contract, Resource
from sidecar.events.store import Event, EventStore, Filter, pages
from sidecar.timeunits import parse_rfc3339

PAGE: Final = 500
DEEPEST: Final = 40
"""Pages that are read backwards for what a record held before."""
WRITES: Final = (Action.CREATE.value, Action.UPDATE.value, Action.DELETE.value)
UNKNOWN: Final = "unknown"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One write that took effect, or may have (`outcome`: success, or unknown).

    `before` and `after` are None where unknown, or where there was no record.
    """

    event: str
    at: str
    user: str
    action: str
    resource: str
    record: str | None
    patient: str | None
    before: Record | None
    after: Record | None
    outcome: str

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))

    def mentions(self, text: str) -> bool:
        """Whether the text occurs in what it left."""
        return any(isinstance(value, str) and text in value for value in (self.after or {}).values())


@dataclass(frozen=True)
class Step:
    """A request that puts a change back, and the fields that it leaves, since somebody has changed them again."""

    method: str
    target: str
    body: Record | None
    left: tuple[str, ...] = ()


class Left(Exception):
    """A change cannot be put back; the message says why, for a person."""


def affected(contract: Contract, store: EventStore, user: str | None, since: int, until: int) -> Iterator[Change]:
    """The writes of a user (None: of all) that took effect, or may have, in since ≤ t < until (wall ns), newest first.

    Raises StoreUnavailable.
    """
    terms: dict[str, list[str]] = {"event.action": list(WRITES), "understudy.purpose": ["user"]}
    if user is not None:
        terms["user.name"] = [user]
    for event, bodies in _events(store, Filter(since=since, until=until, terms=terms)):
        resource = contract.resources.get(event["understudy"].get("resource", {}).get("type", ""))
        if resource is not None and (_status(event) < 400 or event["event"]["outcome"] == "unknown"):
            yield _change(store, resource, event, bodies)


def changed_since(store: EventStore, change: Change) -> list[tuple[str, str]]:
    """Who has written to the record since, and when: (user, ISO 8601), oldest first. Raises StoreUnavailable."""
    if change.record is None:
        return []
    terms = {
        "event.action": list(WRITES), "understudy.purpose": ["user"],
        "understudy.resource.type": [change.resource], "understudy.resource.id": [change.record],
    }  # fmt: skip
    where = Filter(since=parse_rfc3339(change.at) + 1, terms=terms)
    found = [
        event for event, _ in _events(store, where) if _status(event) < 400 and event["event"]["id"] != change.event
    ]
    return [(event.get("user", {}).get("name", "nobody"), event["@timestamp"]) for event in reversed(found)]


def step_back(contract: Contract, change: Change, now: Record | None) -> Step | None:
    """How the change is put back, the record being as it is `now` (None: it is gone). None: there is nothing to do.

    What somebody has changed again since is left as it is. A deleted record comes back with another id. Raises Left.
    """
    if change.outcome == UNKNOWN:
        raise Left("nobody knows whether it took effect")
    resource = contract.resources[change.resource]
    if change.action == Action.DELETE:
        return _made_again(contract, resource, change, now)
    if change.record is None or not resource.path:
        raise Left("the record's id is not known")
    target = resource.path.replace("{}", change.record)
    if now is None:
        if change.action == Action.CREATE:
            return None
        raise Left("the record is gone")
    if change.after is None:
        raise Left("what it was changed to is not known")
    if change.action == Action.CREATE:
        if _writable(resource, now) != _writable(resource, change.after):
            raise Left("somebody has worked on it since")
        return Step("DELETE", target, None)
    if change.before is None:
        raise Left("what was there before is not known")
    was, became, still = (_writable(resource, record) for record in (change.before, change.after, now))
    altered = {name: value for name, value in was.items() if became.get(name) != value and still.get(name) != value}
    mine = {name: value for name, value in altered.items() if still.get(name) == became.get(name)}
    if altered and not mine:
        raise Left("somebody has worked on it since")
    return Step("PATCH", target, mine, tuple(sorted(altered.keys() - mine.keys()))) if mine else None


def is_done(contract: Contract, change: Change, step: Step, now: Record | None) -> bool:
    """Whether the record is as the step was to leave it."""
    if step.method == "DELETE":
        return now is None
    resource = contract.resources[change.resource]
    return now is not None and _writable(resource, now).items() >= _writable(resource, step.body or {}).items()


def _made_again(contract: Contract, resource: Resource, change: Change, now: Record | None) -> Step:
    creating = contract.endpoint_for(change.resource, Action.CREATE)
    if change.before is None or creating is None:
        raise Left("what was there before is not known")
    if now is not None:
        raise Left("the record is there again")
    return Step("POST", creating.template, _writable(resource, change.before))


def _change(store: EventStore, resource: Resource, event: Event, bodies: Event | None) -> Change:
    said, action = event["understudy"], event["event"]["action"]
    answer = _body(bodies, "response")
    after = answer if isinstance(answer, dict) and action != Action.DELETE else None
    record = said["resource"].get("id")
    if record is None and after is not None and after.get(resource.id_field) is not None:
        record = str(after[resource.id_field])
    before = _body(bodies, "before")
    if before is None and action != Action.CREATE and record is not None:
        before = _before(store, resource, record, event)
    subject = said.get("patient", {}).get("id") or (str((before or {}).get(resource.subject_field or "", "")) or None)
    unclear = event["event"]["outcome"] == UNKNOWN or _status(event) >= 400
    return Change(
        event["event"]["id"], event["@timestamp"], event.get("user", {}).get("name", "nobody"), action, resource.name,
        record, subject, before, None if unclear else after, UNKNOWN if unclear else "success",
    )  # fmt: skip


def _before(store: EventStore, resource: Resource, record: str, event: Event) -> Record | None:
    until = parse_rfc3339(event["@timestamp"])
    where = Filter(until=until, terms={"understudy.resource.type": [resource.name]})
    for earlier, bodies in _events(store, where, DEEPEST):
        if parse_rfc3339(earlier["event"]["end"]) > until:
            continue  # it overlapped: nobody can say which came first
        shown = _find(resource, _body(bodies, "response"), record)
        if shown is not None:
            return shown
        about_it = earlier["understudy"]["resource"].get("id") == record and not 400 <= _status(earlier) < 500
        writes = earlier["event"]["action"] in (Action.UPDATE, Action.DELETE)
        lost = _status(earlier) < 300 and "response" in earlier["understudy"].get("body", {})
        if about_it and (writes or lost):
            return None  # what it showed, or left, cannot be told: what was before that says nothing
    return None


def _find(resource: Resource, answer: Any, record: str) -> Record | None:
    rows = answer if isinstance(answer, list) else [answer]
    return next((row for row in rows if isinstance(row, dict) and str(row.get(resource.id_field)) == record), None)


def _events(store: EventStore, where: Filter, most: int | None = None) -> Iterator[tuple[Event, Event | None]]:
    """Each with its bodies, of at most so many pages."""
    for page in islice(pages(store, where, PAGE), most):
        bodies = store.bodies([event["event"]["id"] for event in page.events])
        for event in page.events:
            yield event, bodies.get(event["event"]["id"])


def _status(event: Event) -> int:
    status: int = event["http"].get("response", {}).get("status_code", 500)
    return status


def _writable(resource: Resource, record: Record) -> dict[str, Any]:
    return {name: record[name] for name in sorted(resource.writable) if name in record and name not in resource.secrets}


def _body(bodies: Event | None, side: str) -> Any:
    content = (bodies or {}).get("http", {}).get(side, {}).get("body", {}).get("content")
    try:
        return orjson.loads(content) if isinstance(content, str) else None
    except orjson.JSONDecodeError:
        return None
