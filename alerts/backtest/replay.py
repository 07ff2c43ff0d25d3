"""What was recorded, to be replayed: running totals by bucket for each promise, so that any span is two look-ups."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate

from alerts.counting.counts import Cell, Cube, role
from alerts.objectives.model import Counts
from alerts.objectives.openslo import Promise


@dataclass
class Series:
    """Of one promise: bad[n] and total[n] are of all buckets before the n-th; `before` of the hours before those."""

    bad: list[int]
    total: list[int]
    before: list[tuple[int, int, int]] = field(default_factory=list)
    """(start, bad, total), the oldest first; starts in Unix seconds."""

    def counts(self, low: int, high: int) -> Counts:
        bad, total = self.bad[high] - self.bad[low], self.total[high] - self.total[low]
        return Counts(total - bad, total)

    def since(self, at: int, high: int) -> Counts:
        """From a time before the first bucket up to the one before `high`."""
        older = self.before[bisect_left(self.before, (at,)) :]
        bad = self.bad[high] + sum(each[1] for each in older)
        total = self.total[high] + sum(each[2] for each in older)
        return Counts(total - bad, total)

    def excess(self, share: Fraction, low: int, high: int) -> list[int]:
        """How far bad requests are above this share of all, from `low` to `high`, as a running sum to no scale."""
        p, q = share.numerator, share.denominator
        return [self.bad[n] * q - self.total[n] * p for n in range(low, high + 1)]


class Recorder:
    """Adds up cubes for promises; each cell's part in each promise is looked up once."""

    def __init__(self, promises: Sequence[Promise], origin: int, width: int, buckets: int) -> None:
        self._promises = promises
        self._origin = origin
        self._width = width
        self._buckets = buckets
        self._parts: dict[Cell, list[tuple[int, int | None]]] = {}
        self._bad: dict[int, list[int]] = {}
        self._total: dict[int, list[int]] = {}
        self._before: dict[int, list[tuple[int, int, int]]] = {}

    def add(self, buckets: Iterable[tuple[int, Cube]]) -> None:
        for at, cube in buckets:
            n = (at - self._origin) // self._width + 1
            if 1 <= n <= self._buckets:
                for number, bad, total in self._read(cube):
                    if number not in self._bad:
                        self._bad[number], self._total[number] = ([0] * (self._buckets + 1) for _ in range(2))
                    self._bad[number][n] += bad
                    self._total[number][n] += total

    def add_before(self, wholes: Iterable[tuple[int, Cube]]) -> None:
        """What counts towards the budget only."""
        for at, cube in sorted(wholes, key=lambda each: each[0]):
            sums: dict[int, tuple[int, int]] = {}
            for number, bad, total in self._read(cube):
                so_far = sums.get(number, (0, 0))
                sums[number] = (so_far[0] + bad, so_far[1] + total)
            for number, (bad, total) in sums.items():
                self._before.setdefault(number, []).append((at, bad, total))

    def series(self) -> dict[Promise, Series]:
        """Of the promises that any request counted towards."""
        return {
            self._promises[number]: Series(
                list(accumulate(self._bad[number])), list(accumulate(self._total[number])), self._before.get(number, [])
            )
            for number in sorted(self._total)
        }

    def _read(self, cube: Cube) -> Iterable[tuple[int, int, int]]:
        """(the promise's number, bad, total) of each cell."""
        for cell, counts in cube.cells.items():
            if cell not in self._parts:
                self._parts[cell] = list(self._part(cell, cube))
            for number, slot in self._parts[cell]:
                yield number, counts[0] - (0 if slot is None else counts[slot]), counts[0]

    def _part(self, cell: Cell, cube: Cube) -> Iterable[tuple[int, int | None]]:
        """The promises towards which its requests count, and which of its counts are good (None: none)."""
        for number, promise in enumerate(self._promises):
            what = role(cell, promise)
            if what is not None and what.counts_as == "total":
                yield number, cube.at(promise.within) if what.good else None
