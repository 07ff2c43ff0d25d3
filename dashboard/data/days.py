"""What each person did on each local day: requests by the hour, and how many distinct patients they were about, on the
day itself and in the 24 hours that end on it: a night's work is not two halves.

A day is counted once, and again when the number of its events, or of those of the day before, has changed: what is
asked for weeks back, to tell what is usual for somebody, costs no more than today.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from dashboard.data.event_queries import Queries
from dashboard.values import time_format
from sidecar.events.store import Filter
from sidecar.timeunits import DAY, HOUR, MINUTE

PART: Final = 15 * MINUTE
"""Every zone's midnight is at a multiple of it."""


@dataclass(frozen=True)
class Day:
    """From its midnight, `start`, on. `hours`: person → start of an hour → requests; `patients`: person → how many.

    `within`: person → the most patients in 24 hours that end on the day, and when these end, to the hour.
    """

    start: int
    hours: Mapping[str, Mapping[int, int]]
    patients: Mapping[str, int]
    within: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class _Span:
    """A local day, and how many events it has."""

    start: int
    end: int
    total: int


_Opened = Mapping[str, Mapping[int, Mapping[str, int]]]
"""Person → start of an hour → patient → requests."""


def days(queries: Queries, since: int, until: int, zone: ZoneInfo) -> Sequence[Day]:
    """Those that had events, from the one of `since` to the one of just before `until`, whole. StoreUnavailable."""
    edges = [time_format.midnight(since, zone, -1), time_format.midnight(since, zone)]
    while edges[-1] < until:
        edges.append(time_format.midnight(edges[-1], zone, 1))
    totals: Counter[int] = Counter()
    starts = iter(edges[1:])
    day, end = edges[0], next(starts, until)
    for bucket in queries.over_time(Filter(since=edges[0], until=edges[-1]), PART):
        while bucket.start >= end:
            day, end = end, next(starts)
        totals[day] += bucket.count
    spans = [_Span(start, end, totals[start]) for start, end in pairwise(edges)]
    return [_day(queries, before, span) for before, span in pairwise(spans) if span.total]


def _day(queries: Queries, before: _Span, span: _Span) -> Day:
    def count() -> Day:
        earlier, opened = (_opened(queries, each) if each.total else {} for each in (before, span))
        hours = {user: {hour: sum(found.values()) for hour, found in each.items()} for user, each in opened.items()}
        patients = {user: len(set().union(*each.values()) - {""}) for user, each in opened.items()}
        within = {user: _most(earlier.get(user, {}), each) for user, each in opened.items()}
        return Day(span.start, hours, patients, within)

    counted: Day = queries.while_same(("day", span.start, span.end), (before, span), count)
    return counted


def _opened(queries: Queries, span: _Span) -> _Opened:
    """Kept of two days at a time, for the one that comes next."""

    def ask() -> _Opened:
        found: defaultdict[str, defaultdict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        where = Filter(since=span.start, until=span.end)
        for bucket in queries.over_time(where, HOUR, "user.name", "understudy.patient.id", anew=True):
            user, patient = bucket.group
            found[user][bucket.start][patient] = bucket.count
        return found

    opened: _Opened = queries.while_same(("opened", span.start // DAY % 2), span, ask)
    return opened


def _most(earlier: Mapping[int, Mapping[str, int]], opened: Mapping[int, Mapping[str, int]]) -> tuple[int, int]:
    """As `Day.within` has it: of the hours of the day before and of the day, the 24 with most patients."""
    lately: dict[str, int] = {}
    most = (0, 0)
    for hour, patients in chain(sorted(earlier.items()), sorted(opened.items())):
        for patient in patients.keys() - {""}:
            lately.pop(patient, None)  # the latest stand last
            lately[patient] = hour
        while lately and (first := next(iter(lately))) and lately[first] <= hour - DAY:
            del lately[first]
        if hour in opened:
            most = max(most, (len(lately), hour + HOUR))
    return most
