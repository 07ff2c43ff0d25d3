"""What the sidecars' own counters say of the last hours: good and bad, without the event store. Pure.

They are what is left when the store cannot be asked, or has not got the newest events. They know no more than the
metrics do: see `expressible`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Final

from alerts.counting.counts import OTHER, is_good
from alerts.objectives.openslo import Promise
from alerts.rules.conditions.metrics import Labels, Metrics
from sidecar.telemetry.metrics import BUCKETS

REQUESTS: Final = "understudy_requests_total"
UPSTREAM: Final = "understudy_upstream_requests_total"
TOOK: Final = "understudy_request_duration_seconds_count"
WITHIN: Final = "understudy_request_duration_seconds_bucket"
NAMES: Final = frozenset({REQUESTS, UPSTREAM, TOOK, WITHIN})
STEP: Final = 15
"""Seconds of looks that are kept as one."""
Risen = dict[tuple[str, Labels], float]


def expressible(promise: Promise) -> bool:
    """A limit on duration must be a bucket of the histogram, which knows outcomes, but neither who answered nor who
    left."""
    if promise.within is None:
        return True
    plain = all(not each.answered_by and each.outcome and "unknown" not in each.outcome for each in promise.good)
    return promise.within in [round(bound * 1e9) for bound in BUCKETS] and plain


def bounds(promises: Iterable[Promise]) -> frozenset[float]:
    """The buckets (s) that these promises need."""
    return frozenset(each.within / 1e9 for each in promises if each.within is not None and expressible(each))


class Counters:
    """Keeps what rose within the last `reach` seconds. Times are seconds of a clock that never steps."""

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._last: Mapping[str, Mapping[Labels, float]] | None = None
        self._risen: deque[tuple[int, Risen]] = deque()
        self._sums: dict[tuple[int, int], Risen] = {}
        """What rose within a span before a moment, as long as nothing is added."""
        self.since: int | None = None
        """When the first look was; None: there was none."""

    def add(self, now: int, metrics: Metrics) -> None:
        """A counter that fell began again at 0, and so did one that appears; the first look counts nothing."""
        self._sums.clear()
        seen = {name: metrics.get(name, {}) for name in NAMES}
        if self._last is None:
            self._last, self.since = seen, now
            return
        if not self._risen or now - self._risen[-1][0] >= STEP:
            self._risen.append((now, {}))
        step = self._risen[-1][1]
        for name, values in seen.items():
            before = self._last[name]
            for labels, value in values.items():
                was = before.get(labels, 0.0)
                if rise := value - was if value >= was else value:
                    step[name, labels] = step.get((name, labels), 0.0) + rise
        self._last = seen
        while self._risen and self._risen[0][0] < now - self._reach:
            self._risen.popleft()

    def counts(self, promise: Promise, span: int, now: int) -> tuple[int, int]:
        """(bad, all) of the requests of the last `span` seconds, as far as it was watched."""
        bad: defaultdict[bool, float] = defaultdict(float)
        for (name, labels), rise in self._within(span, now).items():
            for is_bad, count in _part(name, dict(labels), rise, promise):
                bad[is_bad] += count
        wrong = round(max(0.0, bad[True]))
        return wrong, max(wrong, round(bad[True] + bad[False]))

    def _within(self, span: int, now: int) -> Risen:
        """Summed up once for all promises."""
        if (span, now) not in self._sums:
            self._sums[span, now] = _sum(risen for at, risen in self._risen if at > now - span)
        return self._sums[span, now]


def _sum(steps: Iterable[Risen]) -> Risen:
    found: Risen = defaultdict(float)
    for risen in steps:
        for series, rise in risen.items():
            found[series] += rise
    return found


def _part(name: str, labels: Mapping[str, str], rise: float, promise: Promise) -> Iterable[tuple[bool, float]]:
    """What a rise adds, as (bad, how many). What was slow is moved from good to bad: counted here as both."""
    of = promise.objective
    if labels.get("client") != "user" or labels.get("endpoint") == OTHER:
        return
    if of.endpoint is not None and labels.get("endpoint") != of.endpoint:
        return
    users = of.view == "users"
    if name == (REQUESTS if users else UPSTREAM):
        outcome = labels["outcome"]
        if outcome == "not_asked" or (users and outcome == "unknown" and labels.get("code") == "499"):
            return
        yield not is_good(outcome, labels["answered_by"] if users else "upstream", promise.good), rise
    elif promise.within is not None and name in (TOOK, WITHIN):
        if not is_good(labels["outcome" if users else "upstream"], "upstream", promise.good):
            return
        if name == TOOK:
            yield from ((True, rise), (False, -rise))
        elif float(labels["le"]) * 1e9 == promise.within:
            yield from ((True, -rise), (False, rise))
