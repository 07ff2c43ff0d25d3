"""What a user's writes touched, from the recorded exchanges, and how each would be put back. Reads the store only.

Before and after are what the upstream itself showed: after, in the write's own answer; before, in the last earlier
answer that shows the record. Where that cannot be told (a body was not kept, a write between was unclear) it is
unknown, and nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sidecar.contract import Action, Contract, Resource
from sidecar.record.event import nanoseconds
from sidecar.record.stores import Event, EventStore, Filter

PAGE: Final = 500
DEEPEST: Final = 40
"""Pages that are read backwards for what a record held before."""
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One write that succeeded. `before` and `after` are None where unknown, or where there was or is no record."""

    event: str
    at: str
    user: str
    action: str
    resource: str
    record: str | None
    patient: str | None
    before: Record | None
    after: Record | None

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Step:
    """A request that puts a change back."""

    method: str
    target: str
    body: Record | None


def affected(contract: Contract, store: EventStore, user: str, since: int, until: int) -> Iterator[Change]:
    """The user's writes that succeeded in since ≤ t < until (wall ns), newest first. Raises StoreUnavailable."""
    actions = [Action.CREATE.value, Action.UPDATE.value, Action.DELETE.value]
    terms = {"user.name": [user], "event.action": actions, "understudy.purpose": ["user"]}
    for event, bodies in _events(store, Filter(since=since, until=until, terms=terms)):
        status = event["http"].get("response", {}).get("status_code", 500)
        resource = contract.resources.get(event["understudy"].get("resource", {}).get("type", ""))
        if status < 400 and resource is not None:
            yield _change(store, resource, event, bodies)


def step_back(contract: Contract, change: Change) -> Step | None:
    """How the change is put back; None: nobody can tell. A deleted record comes back with another id."""
    resource = contract.resources[change.resource]
    if change.action == Action.DELETE:
        creating = contract.endpoint_for(change.resource, Action.CREATE)
        if change.before is None or creating is None:
            return None
        return Step("POST", creating.template, _writable(resource, change.before))
    if change.record is None or not resource.path:
        return None
    target = resource.path.replace("{}", change.record)
    if change.action == Action.CREATE:
        return Step("DELETE", target, None)
    if change.before is None or change.after is None:
        return None
    was = _writable(resource, change.before)
    altered = {name: value for name, value in was.items() if change.after.get(name) != value}
    return Step("PATCH", target, altered) if altered else None


def is_untouched(contract: Contract, change: Change, now: Record | None) -> bool:
    """Whether the record is still as the change left it: else somebody has worked on it since."""
    if change.action == Action.DELETE:
        return now is None
    if now is None or change.after is None:
        return False
    resource = contract.resources[change.resource]
    return _writable(resource, now) == _writable(resource, change.after)


def _change(store: EventStore, resource: Resource, event: Event, bodies: Event | None) -> Change:
    said, action = event["understudy"], event["event"]["action"]
    answer = _body(bodies, "response")
    after = answer if isinstance(answer, dict) and action != Action.DELETE else None
    record = said["resource"].get("id")
    if record is None and after is not None and after.get(resource.id_field) is not None:
        record = str(after[resource.id_field])
    before = None
    if action != Action.CREATE and record is not None:
        before = _before(store, resource, record, event)
    subject = said.get("patient", {}).get("id") or (str((before or {}).get(resource.subject_field or "", "")) or None)
    return Change(
        event["event"]["id"], event["@timestamp"], event["user"]["name"], action, resource.name, record,
        subject, before, after,
    )  # fmt: skip


def _before(store: EventStore, resource: Resource, record: str, event: Event) -> Record | None:
    until = nanoseconds(event["@timestamp"])
    where = Filter(until=until, terms={"understudy.resource.type": [resource.name]})
    for earlier, bodies in _events(store, where, DEEPEST):
        if nanoseconds(earlier["event"]["end"]) > until:
            continue  # it overlapped: nobody can say which came first
        shown = _find(resource, _body(bodies, "response"), record)
        if shown is not None:
            return shown
        writes = earlier["event"]["action"] in (Action.UPDATE, Action.DELETE)
        status = earlier["http"].get("response", {}).get("status_code", 500)
        if writes and earlier["understudy"]["resource"].get("id") == record and not 400 <= status < 500:
            return None
    return None


def _find(resource: Resource, answer: Any, record: str) -> Record | None:
    rows = answer if isinstance(answer, list) else [answer]
    return next((row for row in rows if isinstance(row, dict) and str(row.get(resource.id_field)) == record), None)


def _events(store: EventStore, where: Filter, pages: int = 1_000_000) -> Iterator[tuple[Event, Event | None]]:
    cursor = None
    for _ in range(pages):
        page = store.search(where, PAGE, cursor)
        bodies = store.bodies([event["event"]["id"] for event in page.events])
        for event in page.events:
            yield event, bodies.get(event["event"]["id"])
        cursor = page.cursor
        if cursor is None:
            return


def _writable(resource: Resource, record: Record) -> dict[str, Any]:
    return {name: record[name] for name in sorted(resource.writable) if name in record and name not in resource.secrets}


def _body(bodies: Event | None, side: str) -> Any:
    content = (bodies or {}).get("http", {}).get(side, {}).get("body", {}).get("content")
    try:
        return orjson.loads(content) if isinstance(content, str) else None
    except orjson.JSONDecodeError:
        return None
