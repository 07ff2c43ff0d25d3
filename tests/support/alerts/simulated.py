"""Simulated histories, as counts that the rollups keep: months of traffic that would not fit into a test as events."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Final

from alerts.counting.block_store import Kept
from alerts.counting.counts import Cell, Cube
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND

SCREEN: Final = "POST /patients/{id}/screen"
BUCKET, BLOCK, DAY = 15, 3600, 86400
LIMITS = (3_000_000_000,)
ENDPOINTS = {
    "GET /notes": 24, "GET /patients/{id}": 24, "GET /staffs/me": 10, "GET /notes/{id}": 10, "GET /patients": 10,
    "POST /notes": 10, SCREEN: 8, "PATCH /notes/{id}": 4,
}  # fmt: skip


class History:
    """Requests by bucket, to be put where `slo backtest` reads them."""

    def __init__(self) -> None:
        self.buckets: dict[int, Cube] = {}

    def add(self, at: int, cell: Cell, count: int, slow: int = 0) -> None:
        cube = self.buckets.setdefault(at - at % BUCKET, Cube(LIMITS))
        counts = cube.cells.setdefault(cell, [0, 0])
        counts[0] += count
        counts[1] += count - slow
        cube.events += count

    def steady(self, since: int, until: int, pace: str, failing: str = "0", endpoint: str = "GET /notes") -> History:
        """So many requests a second, evenly, of which an even share fails, at HOSP and for users alike."""
        requests, share = Fraction(pace), Fraction(failing)
        for at in range(since, until, BUCKET):
            seen = [int(requests * (t - since)) for t in (at, at + BUCKET)]
            bad = [int(n * share) for n in seen]
            for outcome, count in (
                ("failure", bad[1] - bad[0]),
                ("success", seen[1] - seen[0] - bad[1] + bad[0]),
            ):
                if count:
                    self.add(at, Cell("user", endpoint, outcome, "upstream", outcome, False), count)
        return self

    def keep(self, folder: Path) -> None:
        """As if a store of these events had been counted: its volumes, and the counts."""
        store = EmbeddedStore(folder / "events.db")
        store.install()
        store.close()
        blocks: dict[int, dict[int, Cube]] = {}
        for at, cube in self.buckets.items():
            blocks.setdefault(at - at % BLOCK, {})[at] = cube
        kept = Kept(folder / "rollups.db", f"{BUCKET}s {LIMITS[0]}", LIMITS)
        with sqlite3.connect(folder / "events.db") as connection:
            for start, fine in blocks.items():
                whole = Cube(LIMITS)
                for cube in fine.values():
                    whole.add(cube)
                kept.put(start, whole, fine)
                connection.execute("INSERT INTO volumes VALUES (?, ?)", [start * SECOND, whole.events])
        connection.close()
        kept.close()


NOON = 1_773_144_000
"""2026-03-10 12:00 UTC."""


def ordinary(since: int, days: int, seed: int) -> History:
    """HOSP on ordinary days, the last but one its worst: 19,000 to 45,000 requests a day, most of them by day.

    Each attempt at HOSP fails with 3 to 6% (12% on the worst day). Reads and screenings are tried up to three times;
    what HOSP does not do in time the standby does, screenings apart: of those users get HOSP's failure, and of all
    requests one in 50,000 is late.
    """
    dice, history = random.Random(seed), History()
    for day in range(days):
        failing = 0.12 if day == days - 2 else dice.uniform(0.03, 0.06)
        for at in _arrivals(dice, since - since % DAY + day * DAY, dice.randint(19_000, 45_000)):
            history.add(at, *_request(dice, failing))
    return history


def _arrivals(dice: random.Random, day: int, volume: int) -> Iterator[int]:
    """A day's requests: a tenth evenly through the day and night, the others around two in the afternoon."""
    for _ in range(volume):
        hour = dice.uniform(0, 24) if dice.random() < 0.1 else min(23.99, max(0.0, dice.gauss(14, 3.2)))
        yield day + int(hour * 3600)


def _request(dice: random.Random, failing: float) -> tuple[Cell, int, int]:
    """(cell, 1, 1 if it took longer than 3 s)."""
    endpoint = dice.choices(_NAMES, cum_weights=_WEIGHTS)[0]
    again, late = endpoint.startswith("GET") or endpoint == SCREEN, dice.random() < 1 / 50_000
    if dice.random() >= (failing**3 if again else failing):
        return Cell("user", endpoint, "success", "upstream", "success", False), 1, int(late)
    if endpoint == SCREEN:
        return Cell("user", endpoint, "failure", "upstream", "failure", False), 1, int(late)
    return Cell("user", endpoint, "success", "standby", "failure", False), 1, int(late)


_NAMES: Final = list(ENDPOINTS)
_WEIGHTS: Final = list(accumulate(ENDPOINTS.values()))


__all__ = ["BLOCK", "BUCKET", "DAY", "NOON", "History", "ordinary"]
