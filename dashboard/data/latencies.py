"""In how many ns so many percent of people's requests were answered, over many days without asking for each again.

Of each UTC day that is over the store tells once, per endpoint, in what time each of MARKS percent were answered, and
again when the number of its events has changed. What a period comes to is put together from its days: exact where it
is one part, else a percentile by at most a fifth of the step between two marks beside the true one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple

from dashboard.data.event_queries import PEOPLE, Queries
from sidecar.events.store import Filter
from sidecar.timeunits import DAY, SECOND

MARKS: Final = (25.0, 40.0, 45.0, 50.0, 55.0, 60.0, 75.0, 90.0, 93.0, 95.0, 97.0, 98.0, 99.0, 99.5, 100.0)
"""Percent, in tenths at the finest; close together where pages show one."""
WANTED: Final = (50.0, 95.0, 99.0)
FINE: Final = 5
"""Steps between two marks, of equal length in time."""


class Spread(NamedTuple):
    """How many requests, and in how many ns each of MARKS percent of them were answered."""

    many: int
    at: Sequence[float]


Spreads = Mapping[str, Spread]
"""By endpoint."""


def each(queries: Queries, seconds: int, now: int) -> dict[str, dict[float, float]]:
    """WANTED of each endpoint over the last so many seconds. Raises StoreUnavailable, as all here."""
    found = spreads(queries, seconds, now)
    names = dict.fromkeys(chain.from_iterable(found))
    return {name: percentiles([part[name] for part in found if name in part]) for name in names}


def whole(queries: Queries, seconds: int, now: int) -> dict[float, float]:
    """WANTED of all requests; empty: there were none."""
    return percentiles([spread for part in spreads(queries, seconds, now) for spread in part.values()])


def spreads(queries: Queries, seconds: int, now: int) -> Sequence[Spreads]:
    """Of the period's days and of what is left of it. The longer it is, the longer the same is shown again: a
    thousandth of it, from ten seconds to ten minutes."""
    keep = min(max(10.0, seconds / 1000), 600.0)
    found: Sequence[Spreads] = queries.kept(("spreads", seconds), keep, lambda: _parts(queries, seconds, now))
    return found


def percentiles(parts: Sequence[Spread]) -> dict[float, float]:
    """WANTED of all of these together."""
    weighed = sorted(chain.from_iterable(map(_weighed, parts)))
    total, found, reached = sum(weight for _, weight in weighed), dict[float, float](), 0
    targets = list(WANTED)
    for value, weight in weighed:
        reached += weight
        while targets and reached * 1000 >= round(targets[0] * 10) * total:
            found[targets.pop(0)] = value
    return found


def _weighed(spread: Spread) -> Iterable[tuple[float, int]]:
    """Durations, each with how many requests took so long or little less, in whole numbers."""
    marks = pairwise((0, *(round(mark * 10) for mark in MARKS)))
    for (low, high), (below, above) in zip(pairwise((0.0, *spread.at)), marks, strict=True):
        for step in range(1, FINE + 1):
            yield high - (high - low) * (FINE - step) / FINE, spread.many * (above - below)


def _parts(queries: Queries, seconds: int, now: int) -> Sequence[Spreads]:
    since = now - seconds * SECOND
    first, last = since + -since % DAY, now - now % DAY
    if last - first < DAY:
        return [_ask(queries, since, None)]
    days = queries.over_time(Filter(since=first, until=last), DAY)
    return [
        _ask(queries, since, first),
        *(_day(queries, day.start, day.count) for day in days),
        _ask(queries, last, None),
    ]


def _day(queries: Queries, start: int, count: int) -> Spreads:
    found: Spreads = queries.while_same(("spread", start), count, lambda: _ask(queries, start, start + DAY))
    return found


def _ask(queries: Queries, since: int, until: int | None) -> Spreads:
    counted = queries.spread(Filter(since=since, until=until, terms=PEOPLE), "understudy.endpoint", MARKS)
    return {
        bucket.group[0]: Spread(bucket.count, [bucket.percentiles[mark] for mark in MARKS])
        for bucket in counted
        if bucket.percentiles
    }
