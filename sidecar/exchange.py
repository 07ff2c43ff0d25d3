# pure
"""What one exchange is: a client's request, every attempt made for it, its answer, and who gave it.

Pure values. Times are nanoseconds since the epoch (UTC); durations are nanoseconds. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sidecar.contract import Contract, Match
from sidecar.http.messages import Request, Response

ABSENT: Final = "none"
UNKNOWN: Final = "unknown"
"""What stands for a record's digest where there was no record, and where nobody knows."""


class Outcome(StrEnum):
    """The three outcomes. Unknown is neither absent nor good: the request may or may not have taken effect."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


class AnsweredBy(StrEnum):
    """Who produced the answer that the client got."""

    UPSTREAM = "upstream"
    STANDBY = "standby"
    UNDERSTUDY = "understudy"


class Identity(StrEnum):
    """How sure we are that the caller is who the request says: proven by the upstream, only said, or nothing said."""

    VERIFIED = "verified"
    CLAIMED = "claimed"
    NONE = "none"


class Purpose(StrEnum):
    """On whose behalf the upstream was asked."""

    USER = "user"
    REPLAY = "replay"
    BACKFILL = "backfill"
    PARITY = "parity"
    COPY = "copy"
    """A user's request that a balancer sent to the upstream past us: we only hear of it (see `copies`)."""


class Client(StrEnum):
    """Real people, or test traffic named in the settings; only the first count towards objectives."""

    USER = "user"
    TEST = "test"


@dataclass(slots=True)
class Attempt:
    """One try at the upstream. `error` is a short word: refused, reset, timeout, invalid, truncated, …"""

    started: int
    duration: int
    outcome: Outcome
    status: int | None = None
    error: str | None = None
    hedge: bool = False


@dataclass(slots=True)
class Exchange:
    """One client request with its answer. Filled in along the request path, then turned into an event."""

    id: str
    """Our own UUIDv7: `event.id`."""
    started: int
    request: Request
    request_id: str
    """`X-Request-Id`, the client's when it is fit, else ours: `http.request.id`."""
    traceparent: str
    endpoint_id: str = "other"
    """The contract's operationId, e.g. `notes.read`."""
    endpoint: str = "other"
    """The endpoint's name in metrics and events, e.g. `GET /notes/{id}`."""
    parameters: frozenset[str] = frozenset()
    """The fields of a request that the contract declares for it (Endpoint.headers)."""
    action: str = "other"
    """list, read, create, update, delete, call, or other."""
    resource_type: str | None = None
    resource_id: str | None = None
    patient_id: str | None = None
    """The record the exchange is about, by the contract's `x-understudy-subject`."""
    user: str | None = None
    identity: Identity = Identity.NONE
    client: Client = Client.USER
    purpose: Purpose = Purpose.USER
    attempts: list[Attempt] = field(default_factory=list)
    response: Response | None = None
    """None only while the exchange is under way, or when the client left before there was an answer."""
    outcome: Outcome = Outcome.UNKNOWN
    """What the user got: failure is an answer of 500 or above, or one that breaks the contract."""
    reason: str | None = None
    """Why we answered as we did, one word: circuit_open, deadline, client_aborted, too_large, …"""
    answered_by: AnsweredBy = AnsweredBy.UNDERSTUDY
    circuit: str = "closed"
    verdict: str = "allow"
    findings: list[str] = field(default_factory=list)
    """Names of the policies that would have said otherwise."""
    break_glass: str | None = None
    """The emergency grant under which it was asked for, whether it was needed or not."""
    change: tuple[str, str] | None = None
    """Of a write that took effect, or may have: the record's digest before and after, "none" or "unknown"."""
    before: str | None = None
    """The record as the standby knew it when the write came (JSON)."""
    as_given: bool = False
    """Of a read: the answer is the upstream's own, and no pending write was laid over it."""
    ended: int = 0

    def describe(self, contract: Contract, match: Match, user: str | None) -> None:
        """Fills in what is asked for, and who says that they ask."""
        self.user = user
        self.identity = Identity.CLAIMED if user is not None else Identity.NONE
        if (endpoint := match.endpoint) is not None:
            self.endpoint_id, self.endpoint, self.action = endpoint.id, endpoint.name, endpoint.action.value
            self.resource_type, self.resource_id = endpoint.resource, match.record_id
            self.parameters = endpoint.headers
            self.patient_id = contract.subject(match, None)

    @property
    def duration(self) -> int:
        return self.ended - self.started

    @property
    def upstream_outcome(self) -> Outcome | None:
        """What the upstream gave, over all attempts: success when one was good; None when it was not asked."""
        given = [attempt.outcome for attempt in self.attempts]
        for outcome in (Outcome.SUCCESS, Outcome.UNKNOWN, Outcome.FAILURE):
            if outcome in given:
                return outcome
        return None

    @property
    def upstream_said(self) -> str:
        """The same in a word, as events, metrics and traces have it."""
        outcome = self.upstream_outcome
        return "not_asked" if outcome is None else outcome.value

    @property
    def trace_id(self) -> str:
        return self.traceparent.split("-")[1]
