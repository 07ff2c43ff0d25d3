# pure
"""What a trace tells of an exchange: no path, query, body, name or address, and no field of the request but one."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.exchange import Attempt

Step = tuple[str, str, int, int]
"""A step's name, the function that did it, its start and its end (ns since the epoch)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a span tells of an exchange that was recorded."""

    traceparent: str
    parent: str | None
    """The client's own traceparent."""
    event_id: str
    started: int
    ended: int
    recorded: tuple[int, int]
    method: str
    endpoint: str
    endpoint_id: str
    scheme: str
    status: int | None
    outcome: str
    answered_by: str
    reason: str | None
    circuit: str
    verdict: str
    identity: str
    attempts: tuple[Attempt, ...]
    steps: tuple[Step, ...]
    client: str
    upstream: str
    """What the upstream gave over all attempts, or not_asked."""
