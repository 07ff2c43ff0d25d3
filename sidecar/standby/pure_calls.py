"""Pure calls remembered: the same input has the same answer whenever it was given, for the caller to whom it was given.

Never for another: whether the upstream would let them have it nobody can say. Nor when the record that the path names
may be gone, or be kept from the caller by now. The input itself is not kept.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from sidecar.contract import Action, Match
from sidecar.http.messages import Request, Response
from sidecar.http.secret_names import may_hold_secret
from sidecar.standby import literals, queries
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.outbox import entries
from sidecar.standby.tables import KNOWN

LARGEST: Final = 1 << 20
"""Bytes of an answer beyond which it is not kept."""


def is_pure_call(match: Match) -> bool:
    """Whether the answer depends on the input alone. What is public has no input: it is a page."""
    endpoint = match.endpoint
    return endpoint is not None and endpoint.action is Action.CALL and endpoint.pure and not endpoint.public


def remember(
    connection: Connection, match: Match, request: Request, response: Response, caller: str, t0: int,
    secrets: frozenset[str],
) -> None:  # fmt: skip
    """Keeps a good answer for this caller, or that the upstream refused it them. `t0`: the stamp when it was asked."""
    assert match.endpoint is not None
    literals.note_refusal(connection, match, request, response.status, caller, t0)
    if response.status == 200 and len(response.body) <= LARGEST and not may_hold_secret(response.body):
        literals.remember(connection, match.endpoint, request, response, caller, t0, secrets)


def recall(
    connection: Connection, match: Match, request: Request, caller: str, *, serve_unverified: bool
) -> Answer | DontKnow:
    """What the upstream answered this caller to the same input, or why that is not told."""
    assert match.endpoint is not None
    kind, record = match.endpoint.resource, match.record_id
    _, since = literals.refused(connection, match, request, caller)
    if kind is not None and record is not None:
        if record in entries.deleting(connection, kind) or queries.unclear_to_record(connection, kind, record):
            return DontKnow("unsettled_write", "what became of a write to the record")
        since = max(since, literals.refused_record(connection, kind, record, caller))
        row = queries.record(connection, kind, record)
        there = row is not None and row.state == KNOWN
        if not there and row is not None:
            since = max(since, row.stamp)
        if not serve_unverified and not (there and row.stamp >= queries.since(connection, kind)):
            since = max(since, queries.since(connection, kind))
    found = literals.recall(connection, match.endpoint, request, caller, since)
    return found or DontKnow("never_asked", "this caller was never given the answer to this very input")
