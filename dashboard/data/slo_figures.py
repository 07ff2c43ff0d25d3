"""What users got and what the upstream gave, by the same counts and the same arithmetic as alerts and reports.

The counts are those of `alerts.rollups`, kept where the evaluator keeps its own: the store is asked only for what is
new. What is unknown, for want of an answer or of requests, is None; it is never 0 and never good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from alerts.counting.counts import OTHER, Cube, Tally, limits_of, tally
from alerts.counting.rollups import Rollups
from alerts.objectives import burn_rate
from alerts.objectives.model import Counts, Window
from alerts.objectives.openslo import Promise
from dashboard.data.objectives import Promised
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)
LONGEST: Final = 30 * 86400
"""Seconds that are kept at the least: the longest period that the overview shows."""
FRESH: Final = 10.0
"""Seconds for which counts are shown again."""
POINTS: Final = 60
"""Steps of a burn-down."""


@dataclass(frozen=True)
class Slice:
    """What became of people's requests from `start` (ns) on. `uncertain`: nobody knows how they ended."""

    start: int
    upstream: int = 0
    standby: int = 0
    failed: int = 0
    uncertain: int = 0

    @property
    def total(self) -> int:
        return self.upstream + self.standby + self.failed + self.uncertain

    @property
    def ratio(self) -> float | None:
        """The share that was answered; None when nobody asked: no data is not good."""
        return (self.upstream + self.standby) / self.total if self.total else None

    def plus(self, other: Slice, sign: int = 1) -> Slice:
        """Both together, from the start of this one."""
        return replace(self, **{name: getattr(self, name) + sign * getattr(other, name) for name in _KINDS})

    def minus(self, other: Slice) -> Slice:
        return self.plus(other, -1)


_KINDS: Final = ("upstream", "standby", "failed", "uncertain")


@dataclass(frozen=True)
class Rate:
    """How fast the budget burns over a pair of windows; None: nobody asked, or nobody knows."""

    window: Window
    long: Fraction | None
    short: Fraction | None

    @property
    def exceeded(self) -> bool | None:
        """Whether both are above the threshold; None where either is unknown."""
        if self.long is None or self.short is None:
            return None
        return self.long > self.window.factor and self.short > self.window.factor


@dataclass(frozen=True)
class Standing:
    """One promise now: its counts over its period, the budget that is left, its course as (ns, left), and rates."""

    promise: Promise
    tally: Tally
    left: Fraction | None
    burn_down: Sequence[tuple[int, float]]
    rates: Sequence[Rate]

    @property
    def share(self) -> Fraction | None:
        return burn_rate.sli(self.tally.counts)


@dataclass(frozen=True)
class Course:
    """How a burn rate went: (ns, over the long window, over the short one); None: nobody asked."""

    window: Window
    points: Sequence[tuple[int, float | None, float | None]]


class Counted:
    """Safe from any thread. Every question raises StoreUnavailable when the store does not answer."""

    def __init__(
        self, store: EventStore, promised: Promised, kept: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """`kept`: where counts outlive the process; None: nowhere."""
        self._promised = promised
        self._clock = clock
        limits = {p: limits_of([e for e in promised.promises if e.objective.period == p]) for p in promised.levels}
        limits[LONGEST] = limits_of(promised.promises)
        longest = {
            p: max(p, *(e.objective.longest for e in promised.promises if e.objective.period == p))
            for p in promised.levels
        }
        self._rollups = {
            period: Rollups(store, mine, max(longest.get(period, period), promised.rule.silence), kept)
            for period, mine in limits.items()
        }
        self._refreshed = dict.fromkeys(self._rollups, 0.0)
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether everything was counted once: then an answer takes no time worth a word."""
        return all(self._refreshed.values())

    def warm(self) -> None:
        """Counts everything once, in the background."""
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        try:
            self.everything()
        except StoreUnavailable as error:
            log.warning("the event store does not answer yet", extra={"fields": {"error.type": type(error).__name__}})

    def everything(self) -> None:
        """Waits until everything was counted once."""
        for period in self._rollups:
            self._spans(period, ())

    def over(self, promises: Sequence[Promise], seconds: int) -> list[Tally]:
        """What each promise comes to over the last so many seconds."""
        cubes, _ = self._spans(LONGEST, (seconds,))
        return [tally(cubes[seconds], promise) for promise in promises]

    def recent(self, seconds: int) -> Slice:
        """What became of people's requests in the last so many seconds."""
        cubes, now = self._spans(LONGEST, (seconds,))
        return _became(cubes[seconds], (now - seconds) * SECOND)

    def traffic(self, seconds: int, interval: int) -> list[Slice]:
        """The same in each bucket of `interval` seconds, oldest first, empty ones too."""
        now = int(self._clock())
        starts = list(range((now - seconds) // interval * interval, now, interval))
        cubes, _ = self._spans(LONGEST, [now - start for start in starts], now)
        since = [_became(cubes[now - start], start * SECOND) for start in starts]
        return [a.minus(b) for a, b in pairwise([*since, Slice(now * SECOND)])]

    def standings(self, promises: Sequence[Promise]) -> list[Standing]:
        """Each promise over its own period, in their order."""
        found: dict[int, Standing] = {}
        for period, calendar in {(each.objective.period, each.objective.calendar) for each in promises}:
            now, windows = int(self._clock()), self._promised.levels[period]
            reach = period if calendar is None else now - calendar.since(now)
            step = max(1, reach // POINTS)
            ends = range((now - reach) // step * step + step, now, step)
            spans = {reach, *(now - end for end in ends), *(s for w in windows for s in (w.long, w.short))}
            cubes, _ = self._spans(period, sorted(spans), now)
            for number, promise in enumerate(promises):
                if (promise.objective.period, promise.objective.calendar) == (period, calendar):
                    found[number] = _standing(promise, cubes, windows, now, ends, reach)
        return [found[number] for number in range(len(promises))]

    def failing(self, seconds: int) -> list[tuple[str, int, int]]:
        """Endpoints that failed users in the last so many seconds: name, failed, asked; the most harm first."""
        cubes, _ = self._spans(LONGEST, (seconds,))
        failed, asked = Counter[str](), Counter[str]()
        for cell, counts in cubes[seconds].cells.items():
            if cell.client == "user" and cell.endpoint != OTHER and not cell.left:
                asked[cell.endpoint] += counts[0]
                failed[cell.endpoint] += counts[0] * (cell.outcome == "failure")
        return [(name, count, asked[name]) for name, count in failed.most_common() if count]

    def endings(self, seconds: int) -> Mapping[tuple[str, str, str], int]:
        """How people's requests of the last so many seconds ended: by endpoint, outcome, and what the upstream gave."""
        cubes, _ = self._spans(LONGEST, (seconds,))
        found = Counter[tuple[str, str, str]]()
        for cell, counts in cubes[seconds].cells.items():
            if cell.client == "user":
                found[cell.endpoint, cell.outcome, cell.upstream] += counts[0]
        return found

    def course(self, labels: Mapping[str, str], window: str, seconds: int) -> Course | None:
        """The burn rate that an alert with these labels is about, over its windows; None: it is of no objective."""
        promise = next((each for each in self._promised.promises if _is_of(each, labels)), None)
        if promise is None:
            return None
        period = promise.objective.period
        levels = self._promised.levels[period]
        level = next((each for each in levels if f"{each.long}s-{each.short}s" == window), levels[0])
        now, step = int(self._clock()), max(60, seconds // POINTS)
        last = now // step * step  # on a grid: what is drawn again a moment later is the same
        ends = [last - n * step for n in reversed(range(seconds // step))]
        spans = {now - end + width for end in ends for width in (0, level.long, level.short)}
        cubes, now = self._spans(period, sorted(span for span in spans if span), now)
        counts = {span: tally(cube, promise).counts for span, cube in cubes.items()}

        def rate(end: int, width: int) -> float | None:
            whole, after = counts[now - end + width], counts.get(now - end)
            part = Counts(whole.good - after.good, whole.total - after.total) if after is not None else whole
            found = burn_rate.burn_rate(part, promise.objective.target)
            return None if found is None else float(found)

        return Course(level, [(end * SECOND, rate(end, level.long), rate(end, level.short)) for end in ends])

    def _spans(self, period: int, spans: Sequence[int], now: int | None = None) -> tuple[Mapping[int, Cube], int]:
        """The counts of each span that ends now, and when that was (Unix seconds)."""
        with self._lock:
            now = int(self._clock()) if now is None else now
            if self._clock() - self._refreshed[period] >= FRESH:
                self._rollups[period].refresh(now)
                self._refreshed[period] = self._clock()
            found = self._rollups[period].spans(now, spans)
            known = {span: cube for span, cube in found.items() if cube is not None}
            if len(known) < len(found):
                raise StoreUnavailable("not all of the time asked for was counted yet")
            return known, now


def _is_of(promise: Promise, labels: Mapping[str, str]) -> bool:
    of = promise.objective
    endpoint = labels.get("endpoint", "all")
    return of.slo == labels.get("slo") and of.view == labels.get("view") and (of.endpoint or "all") == endpoint


def _standing(
    promise: Promise, cubes: Mapping[int, Cube], windows: Sequence[Window], now: int, ends: Sequence[int], reach: int
) -> Standing:
    of = promise.objective
    tallies = {span: tally(cube, promise) for span, cube in cubes.items()}
    counts = {span: each.counts for span, each in tallies.items()}
    rates = [
        Rate(
            each, burn_rate.burn_rate(counts[each.long], of.target), burn_rate.burn_rate(counts[each.short], of.target)
        )
        for each in windows
    ]
    so_far = Fraction(reach, of.length(now))
    left = burn_rate.budget_left(counts[reach], of.target, so_far)
    return Standing(promise, tallies[reach], left, _burn_down(counts, of.target, reach, so_far, now, ends), rates)


def _burn_down(
    counts: Mapping[int, Counts], target: Fraction, reach: int, so_far: Fraction, now: int, ends: Sequence[int]
) -> list[tuple[int, float]]:
    """What was left of the period's budget at each time: all of it at the start, what is left of it now at the end.
    `so_far`: the share of the period that is over."""
    whole = counts[reach]
    if not whole.total:
        return []
    allowed = (1 - target) * whole.total / so_far
    times = [now - reach, *ends, now]
    spent = [0, *(whole.bad - counts[now - end].bad for end in ends), whole.bad]
    return [(at * SECOND, float(1 - used / allowed)) for at, used in zip(times, spent, strict=True)]


def _became(cube: Cube, start: int) -> Slice:
    """What became of people's requests within the contract; those whose client left are not counted."""
    found = dict.fromkeys(_KINDS, 0)
    for cell, counts in cube.cells.items():
        if cell.client == "user" and cell.endpoint != OTHER and not cell.left:
            answerer = "standby" if cell.answered_by == "standby" else "upstream"
            found[{"failure": "failed", "unknown": "uncertain"}.get(cell.outcome, answerer)] += counts[0]
    return Slice(start, **found)
