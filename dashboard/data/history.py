"""What a record was before an event: the latest words of it that were recorded earlier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dashboard.data.event_queries import Queries
from dashboard.values.sentences import at, content
from sidecar.events.store import Event, Filter
from sidecar.timeunits import parse_rfc3339

LOOKED_AT: Final = 50
"""Earlier events of the record that are read at most."""


@dataclass(frozen=True)
class Before:
    """`record`: its fields as far as they are known. `who` was the last who `wrote` or was shown it, `at` ns."""

    record: Mapping[str, Any]
    who: str
    at: int
    event_id: str
    wrote: bool


def same_record(kind: str, record: str) -> dict[str, list[str]]:
    return {"understudy.resource.type": [kind], "understudy.resource.id": [record]}


def before(queries: Queries, event: Event) -> Before | None:
    """None: nothing was recorded. A field that was sent later than the record was shown counts. StoreUnavailable."""
    kind, record = at(event, "understudy.resource.type"), at(event, "understudy.resource.id")
    if not kind or not record:
        return None
    where = Filter(until=parse_rfc3339(event["@timestamp"]), terms=same_record(kind, str(record)))
    rows = queries.rows(where, LOOKED_AT)
    known: dict[str, Any] = {}
    newest: Event | None = None
    for each in rows.events:
        if at(each, "event.outcome") != "success":
            continue
        bodies = rows.bodies.get(each["event"]["id"])
        whole, sent = content(bodies, "response"), content(bodies, "request")
        for found in (whole, sent):
            if isinstance(found, dict):
                newest = newest or each
                known = {**found, **known}
        if isinstance(whole, dict):
            break
    if newest is None:
        return None
    wrote = at(newest, "event.action") in ("create", "update")
    moment = parse_rfc3339(newest["@timestamp"])
    return Before(known, str(at(newest, "user.name") or "Somebody"), moment, newest["event"]["id"], wrote)
