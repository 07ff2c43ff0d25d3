"""Compares what the standby would have said with what the upstream said, and keeps score per endpoint."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Engine, delete, func, insert, select

from sidecar.contract import Match
from sidecar.gateway.exchange import Response
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.store import reader, scores

WINDOW: Final = 1000
"""Comparisons kept per endpoint."""


class Parity:
    """Scores in the database; differences are kept as the places that differ, never the values."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def compare(self, match: Match, ours: Answer | DontKnow, theirs: Response) -> str:
        """equal, different or unknown; also keeps the score."""
        verdict, places = judge(ours, theirs)
        if match.endpoint is not None:
            with self._engine.begin() as connection:
                connection.execute(insert(scores).values(endpoint=match.endpoint.id, verdict=verdict, at=time.time(),
                                                         sample=json.dumps(places[:20]) if places else None))
                limit = select(func.max(scores.c.id)).scalar_subquery() - WINDOW * 50
                connection.execute(delete(scores).where(scores.c.id < limit))
        return verdict

    def counts(self, endpoint: str) -> dict[str, int]:
        with reader(self._engine) as connection, connection.begin():
            recent = select(scores.c.verdict).where(scores.c.endpoint == endpoint).order_by(
                scores.c.id.desc()).limit(WINDOW)
            found = list(connection.execute(recent).scalars())
        return {word: found.count(word) for word in ("equal", "different", "unknown")}

    def ratio(self, endpoint: str) -> float | None:
        """Of the answers we would have given, the share that was equal; None when none was compared."""
        counts = self.counts(endpoint)
        said = counts["equal"] + counts["different"]
        return counts["equal"] / said if said else None


def judge(ours: Answer | DontKnow, theirs: Response) -> tuple[str, list[str]]:
    if isinstance(ours, DontKnow):
        return "unknown", []
    if ours.status != theirs.status:
        return "different", ["status"]
    try:
        left, right = json.loads(ours.body), json.loads(theirs.body)
    except ValueError:
        return ("equal", []) if ours.body == theirs.body else ("different", ["body"])
    places = _places(left, right, "$")
    return ("different", places) if places else ("equal", [])


def _places(left: Any, right: Any, where: str) -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return [f"{where}: members"]
        return [place for key in left for place in _places(left[key], right[key], f"{where}.{key}")]
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return [f"{where}: length"]
        return [p for n, pair in enumerate(zip(left, right, strict=True)) for p in _places(*pair, f"{where}[{n}]")]
    if isinstance(left, str) and isinstance(right, str) and left != right and where.endswith("url"):
        return [] if urlsplit(left)[2:] == urlsplit(right)[2:] else [where]
    return [] if type(left) is type(right) and left == right else [where]
