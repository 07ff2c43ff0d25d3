"""Each endpoint's requests over a period: how many, how they ended, how they failed, and how long they took.

Of more than a day the counts are those that the overview keeps, as soon as it has them; the store is asked for what is
brief, and for failures, of which there are few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from dashboard.data import latencies
from dashboard.data.event_queries import PEOPLE, Queries
from dashboard.data.slo_figures import Counted
from sidecar.events.store import Filter
from sidecar.timeunits import SECOND

BRIEF: Final = 86400
"""Seconds that the store counts anew as quickly as anybody wants to see them."""
_ENDED: Final = ("understudy.endpoint", "event.outcome", "understudy.upstream_outcome")
_FAILED: Final = (
    "understudy.endpoint",
    "understudy.answered_by",
    "http.response.status_code",
    "understudy.reason",
)


@dataclass
class Traffic:
    """One endpoint's requests: how many, how they ended, how long they took (nanoseconds by percent).

    `kinds`: failures by who answered, status and reason. `upstream`: what HOSP gave, by outcome; `uncertain`: nobody
    knows how they ended.
    """

    name: str
    total: int = 0
    failed: int = 0
    uncertain: int = 0
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    upstream: Counter[str] = field(default_factory=Counter)
    percentiles: Mapping[float, float] = field(default_factory=dict)


def traffic(queries: Queries, counted: Counted, seconds: int, now: int) -> dict[str, Traffic]:
    """People's requests of the last so many seconds, per endpoint's name. Raises StoreUnavailable."""
    people = Filter(since=now - seconds * SECOND, terms=PEOPLE)
    keep = seconds / 100_000  # the more, the longer the same is shown again
    found: dict[str, Traffic] = {}
    for (name, outcome, upstream), count in _ended(queries, counted, people, seconds, keep):
        part = found.setdefault(name, Traffic(name))
        part.total += count
        part.upstream[upstream] += count
        part.failed += count * (outcome == "failure")
        part.uncertain += count * (outcome == "unknown")
    failures = replace(people, terms={**PEOPLE, "event.outcome": ["failure"]})
    for (name, answerer, status, reason), count in queries.by(failures, *_FAILED, keep=keep):
        found.setdefault(name, Traffic(name)).kinds[answerer, status, reason] += count
    for name, percentiles in latencies.each(queries, seconds, now).items():
        found.setdefault(name, Traffic(name)).percentiles = percentiles
    return found


def _ended(
    queries: Queries, counted: Counted, people: Filter, seconds: int, keep: float
) -> Iterable[tuple[tuple[str, ...], int]]:
    if seconds > BRIEF and counted.ready:
        return counted.endings(seconds).items()
    return queries.by(people, *_ENDED, keep=keep)
