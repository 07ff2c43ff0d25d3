"""What on-call asks first about a burning budget: who fails and how, what changed, and whether users are covered.

Texts for people, made of what the event store and the control plane say. What cannot be asked is said to be unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from alerts.counting.counts import OTHER
from alerts.lifecycle.lifecycle import Condition
from alerts.message import at
from alerts.rules.control_plane import Row
from sidecar.control.client import Control, ControlError
from sidecar.events.store import Bucket, EventStore, Filter, StoreUnavailable
from sidecar.timeunits import SECOND

LONGEST: Final = 3600
"""Seconds that are looked back at the most."""
SAMPLE: Final = 50
"""Of the upstream's latest failures; their kinds are not counted by the store."""
SHOWN: Final = 6
UNKNOWN: Final = "unknown: the sidecar does not answer"
SLOW: Final = 3 * SECOND
CLIENT_LEFT: Final = "499"
"""Among what did not succeed; an upstream's own 499 is an answer."""
_FAILED: Final = ["failure", "unknown"]
_USERS: Final = {"understudy.purpose": ["user"], "understudy.client": ["user"]}


class Context:
    """Notes for conditions: `failing`, `changed`, `covered`."""

    def __init__(self, store: EventStore, control: Control) -> None:
        self._store = store
        self._control = control

    def explain(self, found: Iterable[Condition], endpoints: Sequence[Row] | None, now: int) -> list[Condition]:
        """The conditions, burning ones with their notes. `now` in Unix seconds."""
        conditions = list(found)
        burning = [condition for condition in conditions if condition.name == "ErrorBudgetBurn"]
        if not burning:
            return conditions
        span = min(LONGEST, max(_long(condition) for condition in burning))
        failing = {view: self._failing(view, now, span) for view in {each.labels["view"] for each in burning}}
        common = {"changed": UNKNOWN if endpoints is None else self._changed(now), "covered": covered(endpoints)}
        return [
            replace(each, notes={**each.notes, **common, "failing": failing[each.labels["view"]]})
            if each in burning else each
            for each in conditions
        ]  # fmt: skip

    def _failing(self, view: str, now: int, span: int) -> str:
        since = (now - span) * SECOND
        try:
            return self._users(since) if view == "users" else self._upstream(since)
        except StoreUnavailable:
            return "unknown: the event store does not answer"

    def _users(self, since: int) -> str:
        where = Filter(since=since, terms={**_USERS, "event.outcome": _FAILED})
        bad = self._store.count(where, None, ("understudy.endpoint", "http.response.status_code", "understudy.reason"))
        answered = Filter(since=since, terms={**_USERS, "event.outcome": ["success"]})
        every = self._store.count(answered, None, ("understudy.endpoint",))
        quick = self._store.count(replace(answered, at_most={"event.duration": SLOW}), None, ("understudy.endpoint",))
        return failing(bad, every, quick)

    def _upstream(self, since: int) -> str:
        where = Filter(since=since, terms={**_USERS, "understudy.upstream_outcome": _FAILED})
        return kinds([dict(event) for event in self._store.search(where, SAMPLE).events])

    def _changed(self, now: int) -> str:
        try:
            return changed(self._control.get("/transitions"), self._control.get("/marks"), (now - LONGEST) * SECOND)
        except ControlError:
            return UNKNOWN


def _long(condition: Condition) -> int:
    """The long window's seconds, of a name such as 3600s-300s."""
    return int(condition.notes["window"].partition("s-")[0])


def failing(bad: Iterable[Bucket], answered: Iterable[Bucket], quick: Iterable[Bucket]) -> str:
    """How users' requests fail, the most first: `GET /notes: 12 (503 refused 9, 504 timeout 3), 2 took over 3 s`."""
    by_endpoint: dict[str, Counter[str]] = defaultdict(Counter)
    for bucket in bad:
        endpoint, status, reason = bucket.group
        if endpoint != OTHER and status != CLIENT_LEFT:
            by_endpoint[endpoint][" ".join(word for word in (status, reason) if word) or "no answer"] += bucket.count
    slow = Counter({bucket.group[0]: bucket.count for bucket in answered})
    slow.subtract({bucket.group[0]: bucket.count for bucket in quick})
    said = []
    for endpoint in sorted(by_endpoint.keys() | +slow, key=lambda e: -by_endpoint[e].total() - slow[e]):
        parts = []
        if how := by_endpoint[endpoint]:
            parts.append(f"{how.total()} ({_counted(how)})")
        if slow[endpoint] > 0:
            parts.append(f"{slow[endpoint]} took over 3 s")
        if parts and endpoint != OTHER:
            said.append(f"{endpoint}: {', '.join(parts)}")
    return _short(said, "; ") or "none now"


def kinds(events: Sequence[dict[str, Any]]) -> str:
    """How the upstream fails, from its latest failures: the last attempt of each tells."""
    by_endpoint: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        ours = event["understudy"]
        last = (ours.get("attempts") or [{}])[-1]
        error, status = last.get("error"), last.get("status")
        how = f"status {status}" if error in (None, "status") and status else error or "no answer"
        by_endpoint[ours["endpoint"]][how] += 1
    ordered = sorted(by_endpoint.items(), key=lambda each: -each[1].total())
    said = _short([f"{endpoint}: {_counted(how)}" for endpoint, how in ordered], "; ")
    return f"of the latest {len(events)} failures {said}" if said else "none now"


def changed(transitions: Iterable[Row], marks: Iterable[Row], since: int) -> str:
    """Takeovers, hand-backs and marks (releases are told by marks) since then, the latest first."""
    lines = [
        (
            row["at"],
            f"{at(row['at'])} {row['endpoint']} {row['before']} → {row['after']} ({row['reason'] or row['by']})",
        )
        for row in transitions
    ] + [(row["at"], f"{at(row['at'])} mark by {row['by']}: {row['text']}") for row in marks]
    recent = sorted((line for line in lines if line[0] >= since), reverse=True)
    return _short([text for _, text in recent], "; ") or "nothing in the last hour"


def covered(endpoints: Sequence[Row] | None) -> str:
    """Whether the standby serves users where the upstream does not."""
    if endpoints is None:
        return UNKNOWN
    standing_in = [row["name"] for row in endpoints if row["answered_by"] == "standby" and row["ready"]]
    bare = [f"{row['name']} ({row['ready_reason']})" for row in endpoints if not row["ready"]]
    ready = len(endpoints) - len(bare)
    said = f"the standby can answer {ready} of {len(endpoints)} endpoints"
    said += f", and answers now for {_short(standing_in, ', ')}" if standing_in else ", and answers for none now"
    return said + (f"; not covered: {_short(bare, ', ')}" if bare else "")


def _counted(how: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in how.most_common(3))


def _short(said: Sequence[str], between: str) -> str:
    more = f"{between}and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return between.join(said[:SHOWN]) + more
