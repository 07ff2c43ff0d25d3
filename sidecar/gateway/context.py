"""A request on its way through the steps of the request path."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.contract import Endpoint, Match
from sidecar.exchange import Exchange
from sidecar.http.credentials import Credentials
from sidecar.http.messages import Request
from sidecar.standby.writes.intents import Write
from sidecar.upstream.call import UpstreamCall


@dataclass
class Context:
    """One exchange on its way, with what the steps need to know of it."""

    exchange: Exchange
    match: Match
    request: Request
    """With provisional ids of settled records replaced."""
    caller: Credentials | None
    until: float
    """When the standby is asked, of time.monotonic()."""
    call: UpstreamCall | None = None
    """Its last one."""
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
    def endpoint_resource(self) -> str | None:
        return self.endpoint.resource if self.endpoint is not None else None

    @property
    def user(self) -> str | None:
        return self.caller.user if self.caller else None
