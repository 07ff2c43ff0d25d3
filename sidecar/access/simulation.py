"""What each policy would have stopped: recorded traffic replayed through the very rules that judge live requests.

Promises: nothing is asked of the upstream. What was known at the time is built up from the traffic itself, in its
order, over what is known from before. What cannot be judged (its body was not kept, or cut) is counted as such.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from sidecar.access.identities import Names
from sidecar.access.policies import Policy
from sidecar.access.rules import Asked, findings, untellable
from sidecar.contract import Action, Contract, Endpoint, Match
from sidecar.events.store import Event, EventStore, Filter, pages
from sidecar.timeunits import DAY, HOUR, MINUTE, parse_rfc3339

WINDOW: Final = HOUR
"""ns of traffic that are read at a time."""
PAGE: Final = 1000
EXAMPLES: Final = 5
FIELD_KINDS: Final = ("field_is_caller", "field_is_kept")


@dataclass
class Stopped:
    """What one user would have been stopped from doing, by one policy. Times are ISO 8601."""

    policy: str
    user: str
    detail: str
    requests: int = 0
    succeeded: int = 0
    """Of the requests: those that were answered well, below 400."""
    denied: int = 0
    """Of the requests: those that were indeed denied."""
    test: bool = False
    excepted: bool = False
    revoked: bool = False
    first: str = ""
    last: str = ""
    examples: list[str] = field(default_factory=list)
    """Ids of a few of the events."""

    @property
    def legitimate(self) -> bool:
        """Whether a person was doing this with success, whom nobody has excepted or revoked."""
        return self.succeeded > 0 and not (self.test or self.excepted or self.revoked)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "legitimate": self.legitimate}


@dataclass
class Past:
    """What is known while the past goes by; the same questions as of the present (access.Known)."""

    people: Names
    gone: frozenset[str]
    signed_in: set[str] = field(default_factory=set)
    """Users whose credentials were accepted before."""
    days: dict[str, dict[int, int]] = field(default_factory=dict)
    values: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    at: int = 0
    circuit: str = "closed"
    good: bool = False
    """Whether the request now looked at was answered well: then its credential was right."""
    _failed: dict[str, deque[int]] = field(default_factory=dict)
    _read: dict[str, dict[str, int]] = field(default_factory=dict)

    def own(self, user: str) -> frozenset[str] | None:
        return self.people.get(user)

    def value(self, resource: str, record: str, field: str) -> str | None:
        found = self.values.get((resource, record), {}).get(field)
        return None if found is None else str(found)

    def revoked(self, user: str) -> bool:
        return user in self.gone

    def accepted(self, user: str) -> bool | None:
        return self.good and user in self.signed_in

    def down(self, endpoint: str) -> bool:
        return self.circuit == "open"

    def failures(self, user: str, minutes: int) -> int:
        return sum(at > self.at - minutes * MINUTE for at in self._failed.get(user, ()))

    def reading(self, user: str) -> int:
        return sum(at > self.at - HOUR for at in self._read.get(user, {}).values())

    def habit(self, user: str, days: int) -> int | None:
        before = [most for day, most in self.days.get(user, {}).items() if day < self.at // DAY]
        return max(before) if len(before) >= max(days, 1) else None

    def failed(self, user: str) -> None:
        self._failed.setdefault(user, deque(maxlen=10_000)).append(self.at)

    def read(self, user: str, subject: str) -> None:
        items = self._read.setdefault(user, {})
        items[subject] = self.at
        if len(items) > 500:
            self._read[user] = items = {item: at for item, at in items.items() if at > self.at - HOUR}
        day = self.days.setdefault(user, {})
        day[self.at // DAY] = max(day.get(self.at // DAY, 0), self.reading(user))


class Hindsight:
    """Fed with recorded exchanges from the oldest to the newest."""

    def __init__(
        self, contract: Contract, policies: Sequence[Policy], past: Past, excepted: frozenset[tuple[str, str, str]]
    ) -> None:
        self._contract = contract
        self._policies = policies
        self._past = past
        self._excepted = excepted
        self._stopped: dict[tuple[str, str, str, bool], Stopped] = {}
        self.requests = 0
        self.untellable: dict[str, int] = {policy.name: 0 for policy in policies}
        self._kinds = {policy.resource for policy in policies if policy.kind in FIELD_KINDS}

    def wants_bodies(self, event: Event) -> bool:
        """Whether the exchange's bodies tell who somebody is, what a record holds, or what was asked."""
        endpoint = self._contract.endpoints.get(event["understudy"].get("endpoint_id", ""))
        if endpoint is None or endpoint.action in (Action.LIST, Action.CALL, Action.DELETE):
            return False
        return bool(self._kinds) and (endpoint.own or endpoint.resource in self._kinds)

    def feed(self, event: Event, bodies: Event | None) -> None:
        """The next exchange."""
        said, past = event["understudy"], self._past
        past.at, past.circuit = parse_rfc3339(event["@timestamp"]), said.get("circuit", "closed")
        status = _status(event)
        past.good = status is not None and status < 400
        match = self._contract.match(event["http"]["request"]["method"], event["url"]["path"])
        if said.get("purpose", "user") == "user":
            self.requests += 1
            self._judge(event, match, _content(bodies, "request"), status)
        self._learn(event, match, _json(_content(bodies, "response")), status)

    def _judge(self, event: Event, match: Match, body: bytes | None, status: int | None) -> None:
        request, said = event["http"]["request"], event["understudy"]
        size = request.get("bytes", 0)
        whole = body if body is None or _json(body) is not None else None
        asked = Asked(
            match, request["method"], event["url"].get("query", ""), event.get("user", {}).get("name"),
            request.get("mime_type"), size, whole if size else b"",
        )  # fmt: skip
        for policy in self._policies:
            self.untellable[policy.name] += untellable(policy, asked)
        test = said.get("client") == "test"
        for finding in findings(self._contract, self._policies, asked, self._past):
            user = asked.user or ""
            key = (finding.policy, user, finding.detail, test)
            row = self._stopped.get(key)
            if row is None:
                row = self._stopped[key] = Stopped(finding.policy, user, finding.detail, test=test)
                row.excepted = not {(finding.policy, user, ""), (finding.policy, user, finding.detail)}.isdisjoint(
                    self._excepted
                )
                row.revoked = self._past.revoked(user)
                row.first = event["@timestamp"]
            row.requests += 1
            row.succeeded += status is not None and status < 400
            row.denied += said.get("verdict") == "deny" and finding.policy in said.get("findings", ())
            row.last = event["@timestamp"]
            if len(row.examples) < EXAMPLES:
                row.examples.append(event["event"]["id"])

    def _learn(self, event: Event, match: Match, answer: Any, status: int | None) -> None:
        user, said, past = event.get("user", {}).get("name"), event["understudy"], self._past
        endpoint = match.endpoint
        if user is not None and said.get("purpose", "user") == "user":
            if status == 401 and said.get("answered_by") == "upstream":
                past.failed(user)
            elif past.good and endpoint is not None and not endpoint.public:
                past.signed_in.add(user)
                subject = said.get("patient", {}).get("id")
                if subject is not None and not endpoint.action.writes:
                    past.read(user, subject)
        if endpoint is not None and past.good and isinstance(answer, dict):
            self._record(endpoint, answer, user)

    def _record(self, endpoint: Endpoint, answer: Mapping[str, Any], user: str | None) -> None:
        resource = self._contract.resources.get(endpoint.resource or "")
        ident = answer.get(resource.id_field) if resource is not None else None
        if resource is None or ident is None:
            return
        if endpoint.own and user is not None:
            self._past.people = {**self._past.people, user: frozenset([str(ident)])}
        elif resource.name in self._kinds:
            self._past.values[resource.name, str(ident)] = answer

    def report(self) -> dict[str, Any]:
        """Per policy who would have been stopped from what, those who did it with success first."""
        rows = sorted(self._stopped.values(), key=lambda row: (not row.legitimate, -row.requests, row.user))
        return {
            "requests": self.requests,
            "policies": {
                policy.name: {
                    "stopped": [row.as_json() for row in rows if row.policy == policy.name],
                    "untellable": self.untellable[policy.name],
                }
                for policy in self._policies
            },
        }


def replay(store: EventStore, hindsight: Hindsight, since: int, until: int) -> None:
    """Feeds all that was recorded in since ≤ t < until (wall ns). Raises StoreUnavailable."""
    for events in _windows(store, since, until):
        wanted = [event["event"]["id"] for event in events if hindsight.wants_bodies(event)]
        bodies = store.bodies(wanted) if wanted else {}
        for event in events:
            hindsight.feed(event, bodies.get(event["event"]["id"]))


def _windows(store: EventStore, since: int, until: int) -> Iterator[list[Event]]:
    """The events of each hour, oldest first."""
    if since <= 0:
        oldest = store.count(Filter(until=until), interval=DAY)
        since = min((bucket.start for bucket in oldest), default=until)
    while since < until:
        end = min(since + WINDOW, until)
        events = [event for page in pages(store, Filter(since=since, until=end), PAGE) for event in page.events]
        events.reverse()
        yield events
        since = end


def _status(event: Event) -> int | None:
    status = event["http"].get("response", {}).get("status_code")
    return status if isinstance(status, int) else None


def _content(bodies: Event | None, side: str) -> bytes | None:
    content = (bodies or {}).get("http", {}).get(side, {}).get("body", {}).get("content")
    return content.encode() if isinstance(content, str) else None


def _json(content: bytes | None) -> Any:
    try:
        return None if content is None else orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
