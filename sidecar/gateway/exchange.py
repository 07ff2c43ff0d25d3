"""What one exchange is: a client's request, every attempt made for it, its answer, and who gave it.

Pure values. Times are nanoseconds since the epoch (UTC); durations are nanoseconds. Nothing here does I/O.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.gateway.spool import Spool

from sidecar.contract import Contract, Match

Headers = list[tuple[str, str]]
"""Fields in the order received, names as sent, values as latin-1 text."""

NO_HEADERS: Final[Headers] = []


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
class Request:
    """A client's request, whole: no Request exists for a body whose end is not certain."""

    method: str
    target: str
    """Path and query byte for byte as received (latin-1), without scheme and authority."""
    headers: Headers
    body: bytes = b""
    """Empty when `spool` holds it."""
    remote: str = ""
    """The client's address, after trusted proxies."""
    scheme: str = "http"
    host: str = ""
    """The Host the client used, port included."""
    version: str = "HTTP/1.1"
    spool: Spool | None = None
    """A body too large for memory."""
    _named: tuple[Headers, dict[str, str]] | None = field(default=None, init=False, repr=False, compare=False)
    """The first value of each field by its name in lower case, made of these headers when first asked for."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.spool is None else self.spool.size

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first field of that name (lower case), or None."""
        if self._named is None or self._named[0] is not self.headers:
            self._named = self.headers, {key.lower(): value for key, value in reversed(self.headers)}
        return self._named[1].get(name)


@dataclass(slots=True)
class Response:
    """An answer. `headers` hold end-to-end fields only."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first field of that name (lower case), or None."""
        return first(self.headers, name)


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
    change: tuple[str, str] | None = None
    """Of a write that took effect, or may have: the record's digest before and after, "none" or "unknown"."""
    before: str | None = None
    """The record as the standby knew it when the write came (JSON)."""
    ended: int = 0

    def describe(self, contract: Contract, match: Match, user: str | None) -> None:
        """Fills in what is asked for, and who says that they ask."""
        self.user = user
        self.identity = Identity.CLAIMED if user is not None else Identity.NONE
        if (endpoint := match.endpoint) is not None:
            self.endpoint_id, self.endpoint, self.action = endpoint.id, endpoint.name, endpoint.action.value
            self.resource_type, self.resource_id = endpoint.resource, match.record_id
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
    def trace_id(self) -> str:
        return self.traceparent.split("-")[1]


def first(headers: Headers, name: str) -> str | None:
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def uuid7(now_ns: int) -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits, so that ids sort by time.

    It need not be hard to guess: the generator is seeded by the system, anew in each process, and asks it no more.
    """
    value = (now_ns // 1_000_000) << 80 | random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def request_id(given: str | None, otherwise: str) -> str:
    """The client's X-Request-Id when it is 1 to 128 visible ASCII characters, else ours."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else otherwise


def traceparent(given: str | None) -> str:
    """The client's W3C trace context when it is well formed, else a new one that is not sampled."""
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-00"
