"""A store that tells what it was asked to count by a field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sidecar.events.store import Bucket, Filter
from sidecar.events.store.sqlite import EmbeddedStore


class Watched(EmbeddedStore):
    """`asked`: from when, and until when, it counted by a field."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[tuple[int | None, int | None]] = []

    def count(
        self, where: Filter, interval: int | None = None, by: Sequence[str] = (), percentiles: Sequence[float] = ()
    ) -> Sequence[Bucket]:
        if by:
            self.asked.append((where.since, where.until))
        return super().count(where, interval, by, percentiles)
