# pure
"""Recorded exchanges as what happened at the upstream, moment by moment: a call began, or it ended so.

Of a call that may have taken effect and was not answered, the end is when it can have none any more. Where several
nodes have recorded, whose clocks differ a little, a write is taken to have lasted longer at both ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import heappop, heappush
from typing import Any, Final

import orjson

from sidecar.events.redact import REDACTED
from sidecar.exchange import Outcome, Purpose
from sidecar.http.determining import total_shown
from sidecar.http.messages import Request, Response
from sidecar.timeunits import SECOND, parse_rfc3339

Recorded = tuple[Mapping[str, Any], Mapping[str, Any] | None]
SKEW: Final = 5 * SECOND
"""ns by which nodes' clocks may differ."""
LATEST: Final = 120 * SECOND
"""ns by which what was recorded of one day may reach into the next."""
WRITES: Final = ("create", "update", "delete")


class Lack(StrEnum):
    """Why an answer that was recorded tells nothing of what there is."""

    NOT_SAID = "it was not recorded whether they show all that there is"
    NO_BODY = "no body was kept"
    CUT = "the body was cut short (BODY_CAP), or cannot be read"
    REDACTED = "a part of the body was redacted"
    LOCKED = "there is no key to open the body"


@dataclass(frozen=True)
class Call:
    """An exchange as far as the upstream took part. Times in ns since the epoch.

    `response` has an empty body where its own cannot be used (`lack`). `outcome`: of a write, what became of it.
    """

    id: str
    endpoint_id: str
    writes: bool
    user: str | None
    request: Request
    response: Response
    outcome: Outcome
    began: int
    ended: int
    shows: bool
    lack: Lack | None
    node: str


@dataclass(frozen=True)
class Moment:
    """A call begins, or ends."""

    call: Call
    begins: bool


def call(event: Mapping[str, Any], bodies: Mapping[str, Any] | None, late_effect: int) -> Call | None:
    """What an exchange was to the upstream; None: nothing that can be learned from. `late_effect`: ns after which a
    call that was given up can have no effect any more."""
    said, action = event["understudy"], event["event"]["action"]
    writes = action in WRITES
    outcome = _outcome(event) if writes else Outcome.SUCCESS if said["answered_by"] == "upstream" else None
    if outcome is None or REDACTED in event["url"]["path"] + event["url"].get("query", ""):
        return None
    began, ended = _times(event)
    body, lack = _body(bodies, "response")
    sent, unsent = _body(bodies, "request")
    if REDACTED.encode() in sent:
        sent, unsent = b"", Lack.REDACTED
    status = int(event["http"].get("response", {}).get("status_code", 0))
    if writes and (outcome is not Outcome.SUCCESS or unsent is not None) and status >= 300:
        body = b""  # what it was refused for says nothing where it is not known what was sent
    shown = said.get("shows")
    if not writes and shown is None:
        lack = Lack.NOT_SAID
    query = event["url"].get("query", "")
    return Call(
        id=event["event"]["id"],
        endpoint_id=said["endpoint_id"],
        writes=writes,
        user=event.get("user", {}).get("name"),
        request=Request(
            event["http"]["request"]["method"], event["url"]["path"] + (f"?{query}" if query else ""), [], sent
        ),
        response=Response(status, _fields(event, shown), body),
        outcome=outcome,
        began=began,
        ended=ended + (late_effect if outcome is Outcome.UNKNOWN else 0),
        shows=shown is not None,
        lack=lack,
        node=event.get("service", {}).get("node", {}).get("name", ""),
    )


def moments(days: Iterable[tuple[int, Sequence[Recorded]]], late_effect: int) -> Iterator[Moment]:
    """In the order of time. `days`: what began before each of these times (ns) and after the one before, in any order,
    each exchange once or more often.

    Of what happened at once, beginnings come first: a read that began in the moment in which a write ended overlaps it.
    """
    waiting: list[tuple[int, bool, str, Moment]] = []
    nodes: set[str] = set()
    for until, recorded in days:
        calls = {each.id: each for each in (call(*one, late_effect) for one in recorded) if each is not None}
        nodes.update(each.node for each in calls.values())
        for each in calls.values():
            if each.writes and len(nodes) > 1:
                each = replace(each, began=each.began - SKEW, ended=each.ended + SKEW)
            heappush(waiting, (each.began, False, each.id, Moment(each, begins=True)))
            heappush(waiting, (each.ended, True, each.id, Moment(each, begins=False)))
        while waiting and waiting[0][0] < until - LATEST:
            yield heappop(waiting)[3]
    while waiting:
        yield heappop(waiting)[3]


def _outcome(event: Mapping[str, Any]) -> Outcome | None:
    """What became of a write; None: nothing of it reached the upstream."""
    said, status = event["understudy"], int(event["http"].get("response", {}).get("status_code", 0))
    if said["purpose"] == Purpose.COPY:
        return Outcome.UNKNOWN
    if said["answered_by"] == "upstream" and 200 <= status < 500:
        return Outcome.SUCCESS
    if said.get("reason") == "promoted" and said["answered_by"] == "standby" and 200 <= status < 300:
        return Outcome.SUCCESS  # the standby owned the resource: what it said was so
    attempts = said["attempts"]
    return Outcome.UNKNOWN if any(attempt["outcome"] != Outcome.FAILURE for attempt in attempts) else None


def _times(event: Mapping[str, Any]) -> tuple[int, int]:
    """When the upstream was first asked, and when it answered last or was given up."""
    attempts = event["understudy"]["attempts"]
    starts = [parse_rfc3339(attempt["start"]) for attempt in attempts]
    if not starts:
        return parse_rfc3339(event["event"]["start"]), parse_rfc3339(event["event"]["end"])
    ends = [start + int(attempt["duration"]) for start, attempt in zip(starts, attempts, strict=True)]
    return min(starts), max(ends)


def _body(bodies: Mapping[str, Any] | None, side: str) -> tuple[bytes, Lack | None]:
    """A recorded body that can be relied on, or why there is none."""
    held = (bodies or {}).get("http", {}).get(side, {}).get("body", {})
    content = held.get("content")
    if content is None:
        return b"", Lack.LOCKED if "locked" in held else Lack.NO_BODY
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return b"", Lack.CUT
    return content.encode(), None


def _fields(event: Mapping[str, Any], shown: str | None) -> list[tuple[str, str]]:
    """The fields of the answer that say what it is."""
    media = event["http"].get("response", {}).get("mime_type")
    counted = total_shown(shown) if shown is not None else None
    fields = [("content-type", media)] if media else []
    return fields if counted is None else [*fields, ("x-total-count", str(counted))]
