"""Parity: what the standby would have answered, compared with what the upstream did answer, off the request path."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from sidecar.contract import Resource
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.long_json import loads
from sidecar.http.messages import Response
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.diff import differences
from sidecar.standby.observations import LIMIT, without_origin
from sidecar.storage.database import metadata

HOUR: Final = 3600
WINDOW: Final = 24
"""Hours that the score looks back."""

parity: Final = Table(
    "parity",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("equal", Integer, nullable=False, default=0),
    Column("different", Integer, nullable=False, default=0),
    Column("unknown", Integer, nullable=False, default=0),
)

samples: Final = Table(
    "parity_samples",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("endpoint", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
)
"""The latest differences of each endpoint, masked: where, and of what kind, never what was said."""
SAMPLES: Final = 5
"""Kept per endpoint."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the standby would have said, and what the upstream said."""

    endpoint: str
    ours: Answer | DontKnow
    theirs: Response
    resource: Resource


class Parity:
    """Keeps score per endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, compared: Sequence[Compared]) -> list[str]:
        """Counts comparisons, in one transaction: each equal, different, or unknown where the standby would not have
        answered."""
        verdicts = [compare(each.ours, each.theirs, each.resource) for each in compared]
        counts = Counter((each.endpoint, verdict) for each, verdict in zip(compared, verdicts, strict=True))
        with self._engine.begin() as connection:
            for (endpoint, verdict), times in counts.items():
                _count(connection, endpoint, verdict, times)
            for each, verdict in zip(compared, verdicts, strict=True):
                if verdict == "different" and isinstance(each.ours, Answer):
                    said = "\n".join(_masked(each.ours, each.theirs, each.resource))
                    _sample(connection, each.endpoint, said)
        return verdicts

    def sampled(self) -> dict[str, list[dict[str, Any]]]:
        """Per endpoint its latest differences, newest first: at (wall ns), said (lines)."""
        found: dict[str, list[dict[str, Any]]] = {}
        with self._engine.execution_options(writes=False).connect() as connection, connection.begin():
            for row in connection.execute(select(samples).order_by(samples.c.id.desc())):
                found.setdefault(row.endpoint, []).append({"at": row.at, "said": row.said.split("\n")})
        return found

    def scores(self) -> dict[str, dict[str, Any]]:
        """Per endpoint: equal, different, unknown, and ratio (None where nothing was compared)."""
        since = int(time.time()) // HOUR - WINDOW
        sums = [func.sum(parity.c[name]).label(name) for name in ("equal", "different", "unknown")]
        query = select(parity.c.endpoint, *sums).where(parity.c.hour > since).group_by(parity.c.endpoint)
        with self._engine.execution_options(writes=False).connect() as connection, connection.begin():
            rows = connection.execute(query).all()
        return {
            row.endpoint: {
                "equal": int(row.equal),
                "different": int(row.different),
                "unknown": int(row.unknown),
                "ratio": row.equal / (row.equal + row.different) if row.equal + row.different else None,
            }
            for row in rows
        }

    def ratio(self, endpoint: str) -> float | None:
        """The share of comparisons that agreed; None where there were none."""
        score = self.scores().get(endpoint)
        return None if score is None else score["ratio"]


def _count(connection: Connection, endpoint: str, verdict: str, times: int) -> None:
    hour = int(time.time()) // HOUR
    where, column = (parity.c.endpoint == endpoint) & (parity.c.hour == hour), parity.c[verdict]
    if connection.execute(update(parity).where(where).values({verdict: column + times})).rowcount == 0:
        row = {"equal": 0, "different": 0, "unknown": 0, verdict: times}
        connection.execute(insert(parity).values(endpoint=endpoint, hour=hour, **row))


def _sample(connection: Connection, endpoint: str, said: str) -> None:
    connection.execute(insert(samples).values(endpoint=endpoint, at=time.time_ns(), said=said))
    kept = select(samples.c.id).where(samples.c.endpoint == endpoint)
    oldest = connection.scalar(kept.order_by(samples.c.id.desc()).offset(SAMPLES).limit(1))
    if oldest is not None:
        connection.execute(delete(samples).where(samples.c.endpoint == endpoint, samples.c.id <= oldest))


def compare(ours: Answer | DontKnow, theirs: Response, resource: Resource) -> str:
    """equal, different or unknown. JSON is compared as values, and URLs without their origin."""
    if isinstance(ours, DontKnow):
        return "unknown"
    if ours.status != theirs.status:
        return "different"
    if ours.status != 200:
        return "equal"
    try:
        left, right = loads(ours.body), loads(decode_body(theirs, LIMIT))
    except (orjson.JSONDecodeError, Unreadable):
        return "different"
    return "equal" if _normal(left, resource) == _normal(right, resource) else "different"


def _masked(ours: Answer, theirs: Response, resource: Resource) -> list[str]:
    """Where they differ, with no value in it."""
    if ours.status != theirs.status:
        return [f"the answer: {ours.status} here, {theirs.status} at the upstream"]
    try:
        left, right = loads(ours.body), loads(decode_body(theirs, LIMIT))
    except (orjson.JSONDecodeError, Unreadable):
        return ["the upstream's answer could not be read"]
    return differences(_normal(left, resource), _normal(right, resource))


def _normal(value: Any, resource: Resource) -> Any:
    if isinstance(value, list):
        return [_normal(item, resource) for item in value]
    if isinstance(value, dict) and resource.url_field and isinstance(value.get(resource.url_field), str):
        return {**value, resource.url_field: without_origin(value[resource.url_field])}
    return value
