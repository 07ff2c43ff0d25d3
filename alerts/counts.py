"""Good, total and what does not count, per promise and span. The store counts; no event is ever fetched.

A cube holds the counts of one bucket of time by client, endpoint, outcome, answerer and what the upstream gave: every
promise is read off it. Of people's own requests only; those whose client left are neither good nor bad for users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from alerts.model import Counts
from alerts.openslo import Condition, Promise
from sidecar.record.stores import EventStore, Filter

SECOND: Final = 10**9
OTHER: Final = "other"
"""The endpoint's name of requests outside the contract."""
_BY: Final = (
    "understudy.client",
    "understudy.endpoint",
    "event.outcome",
    "understudy.answered_by",
    "understudy.upstream_outcome",
)
_LEFT: Final = {"event.outcome": ["unknown"], "http.response.status_code": ["499"]}
"""How a client that left is recorded; a 499 of the upstream's own is a success."""
LATE: Final = 900
"""Seconds for which the store is asked again: events reach it late."""
MONTH: Final = 30 * 86400


class Cell(NamedTuple):
    """One combination of values."""

    client: str
    endpoint: str
    outcome: str
    answered_by: str
    upstream: str


@dataclass
class Cube:
    """Requests by cell, for each longest duration asked for (None: any), and those of them whose client left."""

    all: dict[int | None, Counter[Cell]] = field(default_factory=dict)
    left: dict[int | None, Counter[Cell]] = field(default_factory=dict)

    def add(self, other: Cube) -> None:
        for mine, others in ((self.all, other.all), (self.left, other.left)):
            for within, cells in others.items():
                mine.setdefault(within, Counter()).update(cells)


@dataclass(frozen=True)
class Tally:
    """What one promise comes to. `saved`: the standby answered well where the upstream did not."""

    good: int = 0
    total: int = 0
    not_asked: int = 0
    test: int = 0
    outside_contract: int = 0
    client_left: int = 0
    saved: int = 0

    @property
    def counts(self) -> Counts:
        return Counts(self.good, self.total)


def ask(
    store: EventStore, since: int, until: int, limits: Iterable[int | None], interval: int | None = None
) -> dict[int, Cube]:
    """Cubes by their bucket's start; all times in ns, `interval` None for one bucket. Raises StoreUnavailable."""
    cubes: dict[int, Cube] = {}
    for within in {None, *limits}:
        most = {} if within is None else {"event.duration": within}
        for left, terms in ((False, {}), (True, _LEFT)):
            where = Filter(since=since, until=until, terms={"understudy.purpose": ["user"], **terms}, at_most=most)
            for bucket in store.count(where, interval, _BY):
                cube = cubes.setdefault(bucket.start, Cube())
                cells = (cube.left if left else cube.all).setdefault(within, Counter())
                cells[Cell(*bucket.group)] += bucket.count
    return cubes


def tally(cube: Cube, promise: Promise) -> Tally:
    """One promise, read off the counts of a span."""
    endpoint, view = promise.objective.endpoint, promise.objective.view
    everything, left = cube.all.get(None, Counter()), cube.left.get(None, Counter())
    within, left_within = cube.all.get(promise.within, Counter()), cube.left.get(promise.within, Counter())
    good = total = not_asked = test = outside = gone = saved = 0
    for cell, count in everything.items():
        if endpoint is not None and cell.endpoint != endpoint:
            continue
        if cell.client != "user":
            test += count
        elif cell.endpoint == OTHER:
            outside += count
        elif view == "users":
            gone += left[cell]
            total += count - left[cell]
            if _is_good(cell.outcome, cell.answered_by, promise.good):
                good += within[cell] - left_within[cell]
            if (cell.answered_by, cell.outcome) == ("standby", "success") and cell.upstream != "success":
                saved += count - left[cell]
        elif cell.upstream in ("success", "failure", "unknown"):
            total += count
            if _is_good(cell.upstream, "upstream", promise.good):
                good += within[cell]
        elif cell.upstream == "not_asked":
            not_asked += count
    return Tally(good, total, not_asked, test, outside, gone, saved)


def _is_good(outcome: str, answered_by: str, good: Sequence[Condition]) -> bool:
    return any(
        (not each.outcome or outcome in each.outcome) and (not each.answered_by or answered_by in each.answered_by)
        for each in good
    )


class Rollups:
    """Cubes of the last `period` seconds, kept in memory: the store is asked only for what is new, or may be late.

    For 30 days the last hour is kept by 15 s, the last 26 hours by minutes, what is older by hours; for other periods
    in proportion, but never finer than a second. One thread uses it.
    """

    def __init__(self, store: EventStore, limits: Iterable[int | None], period: int) -> None:
        self._store = store
        self._limits = frozenset(limits)
        self._period = period
        fine = max(1, int(Fraction(15 * period, MONTH)))
        self._widths = (fine, 4 * fine, 240 * fine)
        self._reach = (240 * fine, 6240 * fine)
        self._cubes: dict[int, Cube] = {}
        self._asked = self._swept = 0

    def refresh(self, now: int) -> None:
        """Catches up to `now` (Unix seconds). Raises StoreUnavailable, and then has changed nothing."""
        _, minute, hour = self._widths
        if not self._asked or now < self._asked:
            since = now - self._period - hour
        elif now - self._swept >= LATE:  # a journal may have been shipped hours late
            since = now - self._reach[1]
        else:
            since = self._asked - LATE
        since -= since % hour if since < now - self._reach[0] else since % minute
        fresh: dict[int, Cube] = {}
        for start, end, width in self._parts(since, now):
            for at, cube in ask(
                self._store, start * SECOND, end * SECOND, self._limits, width * SECOND
            ).items():  # fmt: skip
                fresh[at // SECOND] = cube
        kept = {at: cube for at, cube in self._cubes.items() if now - self._period - hour <= at < since}
        self._cubes = self._coarser(kept, now) | fresh
        if since < now - self._reach[0]:
            self._swept = now
        self._asked = now

    def spans(self, now: int, spans: Iterable[int]) -> dict[int, Cube]:
        """The counts of the last so many seconds; a bucket counts in whole where its end is within."""
        wanted, found, running = sorted(set(spans)), dict[int, Cube](), Cube()
        starts = sorted(self._cubes, reverse=True)
        at = 0
        for span in wanted:
            while at < len(starts) and starts[at] >= now - span:
                running.add(self._cubes[starts[at]])
                at += 1
            found[span] = Cube(
                {within: Counter(cells) for within, cells in running.all.items()},
                {within: Counter(cells) for within, cells in running.left.items()},
            )
        return found

    def _edges(self, now: int) -> tuple[int, int]:
        """Before the first it is hours, before the second minutes."""
        _, minute, hour = self._widths
        old, recent = now - self._reach[1], now - self._reach[0]
        return old - old % hour, recent - recent % minute

    def _parts(self, since: int, now: int) -> list[tuple[int, int, int]]:
        """What to ask for: from, to, by how wide buckets."""
        fine, minute, hour = self._widths
        old, recent = self._edges(now)
        parts = [(since, old, hour), (max(since, old), recent, minute), (max(since, recent), now, fine)]
        return [(start, end, width) for start, end, width in parts if start < end]

    def _coarser(self, cubes: Mapping[int, Cube], now: int) -> dict[int, Cube]:
        _, minute, hour = self._widths
        old, recent = self._edges(now)
        merged: dict[int, Cube] = {}
        for at, cube in cubes.items():
            start = at - at % hour if at < old else at - at % minute if at < recent else at
            if start in merged:
                merged[start].add(cube)
            elif start == at:
                merged[start] = cube
            else:
                merged[start] = Cube()
                merged[start].add(cube)
        return merged
