"""What each person did on each local day: requests by the hour, and how many distinct patients they were about.

A day is counted once, and again when the number of its events has changed: what is asked for weeks back, to tell what
is usual for somebody, costs no more than today.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from dashboard.data.event_queries import Queries
from dashboard.values import time_format
from sidecar.events.store import Filter
from sidecar.timeunits import HOUR, MINUTE

PART: Final = 15 * MINUTE
"""Every zone's midnight is at a multiple of it."""


@dataclass(frozen=True)
class Day:
    """From its midnight, `start`, on. `hours`: person → start of an hour → requests; `patients`: person → how many."""

    start: int
    hours: Mapping[str, Mapping[int, int]]
    patients: Mapping[str, int]


def days(queries: Queries, since: int, until: int, zone: ZoneInfo) -> Sequence[Day]:
    """Those that had events, from the one of `since` to the one of just before `until`, whole. StoreUnavailable."""
    edges = [time_format.midnight(since, zone)]
    while edges[-1] < until:
        edges.append(time_format.midnight(edges[-1], zone, 1))
    totals: Counter[int] = Counter()
    starts = iter(edges[1:])
    day, end = edges[0], next(starts, until)
    for bucket in queries.over_time(Filter(since=edges[0], until=edges[-1]), PART):
        while bucket.start >= end:
            day, end = end, next(starts)
        totals[day] += bucket.count
    spans = zip(edges, edges[1:], strict=False)
    return [_day(queries, start, end, totals[start]) for start, end in spans if totals[start]]


def _day(queries: Queries, start: int, end: int, total: int) -> Day:
    where = Filter(since=start, until=end)

    def count() -> Day:
        hours: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for bucket in queries.over_time(where, HOUR, "user.name"):
            hours[bucket.group[0]][bucket.start] = bucket.count
        seen = Counter(
            user for (user, patient), _ in queries.by(where, "user.name", "understudy.patient.id") if patient
        )
        return Day(start, dict(hours), seen)

    counted: Day = queries.while_same(("day", start, end), total, count)
    return counted
