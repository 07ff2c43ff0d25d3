"""Pure calls remembered: the same input has the same answer, whenever it was given. The input itself is not kept."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select

from sidecar.contract import Action, Match
from sidecar.http.messages import Request, Response
from sidecar.http.secret_names import may_hold_secret
from sidecar.standby.answer import Answer
from sidecar.standby.tables import calls

KEPT: Final = 10_000
"""Answers that are kept; the oldest go first."""
LARGEST: Final = 1 << 20
"""Bytes of an answer beyond which it is not kept."""


def is_pure_call(match: Match) -> bool:
    """Whether the answer depends on the input alone. What is public has no input: it is a page."""
    endpoint = match.endpoint
    return endpoint is not None and endpoint.action is Action.CALL and endpoint.pure and not endpoint.public


def remember(engine: Engine, match: Match, request: Request, response: Response) -> None:
    """Keeps a good answer that has a body of its own, uncompressed."""
    if response.status != 200 or len(response.body) > LARGEST or response.header("content-encoding"):
        return
    if may_hold_secret(response.body):
        return
    row: dict[str, Any] = {
        "status": response.status,
        "content_type": (response.header("content-type") or "")[:200],
        "body": response.body,
        "observed": time.time_ns(),
    }
    assert match.endpoint is not None
    asked = {"endpoint": match.endpoint.id, "input": digest(match, request)}
    key = (calls.c.endpoint == asked["endpoint"]) & (calls.c.input == asked["input"])
    with engine.begin() as connection:
        connection.execute(delete(calls).where(key))
        connection.execute(insert(calls).values(**asked, **row))
        if (connection.scalar(select(func.count()).select_from(calls)) or 0) > KEPT:
            oldest = select(calls.c.observed).order_by(calls.c.observed).offset(KEPT // 10).limit(1).scalar_subquery()
            connection.execute(delete(calls).where(calls.c.observed < oldest))


def recall(connection: Connection, match: Match, request: Request) -> Answer | None:
    """What the upstream answered to the same input, or None."""
    assert match.endpoint is not None
    key = (calls.c.endpoint == match.endpoint.id) & (calls.c.input == digest(match, request))
    row = connection.execute(select(calls).where(key)).one_or_none()
    if row is None:
        return None
    age = max(0.0, (time.time_ns() - row.observed) / 1e9)
    return Answer(row.status, [("Content-Type", row.content_type)], row.body, age)


def digest(match: Match, request: Request) -> str:
    """Of everything that the answer depends on: the path's parameters, the query and the body."""
    parts = [*(f"{name}={value}" for name, value in sorted(match.params.items())), request.query]
    head = "\0".join(parts).encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(len(head).to_bytes(4, "big") + head + request.body)
    for piece in request.spool.pieces() if request.spool is not None else ():
        digest.update(piece)
    return digest.hexdigest()
