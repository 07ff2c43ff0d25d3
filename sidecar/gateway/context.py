"""A request on its way through the steps of the request path."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from sidecar.contract import Endpoint, Match
from sidecar.exchange import Exchange
from sidecar.http.credentials import Credentials
from sidecar.http.messages import Request
from sidecar.standby.writes.intents import Write
from sidecar.takeover.routing import Decision
from sidecar.upstream.call import UpstreamCall


@dataclass(slots=True)
class Presence:
    """Whether a request's client is there yet. Where they have left, what waits for a place is asked no more: a write
    that nobody waits for may be sent again by who left, and a read is in the way of those who wait."""

    left: bool = False
    call: UpstreamCall | None = None
    """What the upstream is asked for them."""

    def leave(self) -> None:
        self.left = True
        if self.call is not None:
            self.call.leave()


@dataclass
class Context:
    """One exchange on its way, with what the steps need to know of it. What has no value at first is set by the step
    that finds it out; those after it may read it."""

    exchange: Exchange
    presence: Presence
    held: AsyncExitStack
    """What is given back once there is an answer."""
    request: Request
    """First as it came; then its body whole, if it is a write, and provisional ids of settled records replaced."""
    caller: Credentials | None = None
    match: Match = field(init=False)
    until: float = field(init=False)
    """When the standby is asked, of time.monotonic()."""
    longest: float = field(init=False)
    """How long is waited for what only the upstream can answer."""
    decision: Decision = field(init=False)
    """Who is to answer."""
    write: Write | None = None
    unkept: bool = False
    """Its intent could not be written down."""
    again: int | None = None
    """Of one too many at its endpoint, the seconds after which to come again."""
    not_kept: str | None = None
    """Why the outbox cannot take its write, in one word."""
    missing: str = ""
    """Which knowledge the standby lacks to answer, for people."""
    unsettled: bool = False
    """It names a record that only the outbox has: the upstream cannot be asked."""

    @property
    def endpoint(self) -> Endpoint | None:
        return self.match.endpoint

    @property
    def resource(self) -> str | None:
        return self.endpoint.resource if self.endpoint is not None else None

    @property
    def user(self) -> str | None:
        return self.caller.user if self.caller else None
