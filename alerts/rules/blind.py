"""Pages while the event store cannot be asked, or lacks the newest events: from the sidecars' own counters. Pure.

What starts is told by them; what ends only where all that the store knows is of another hour. What was before they were
watched is taken for as busy, and good, so that an evaluator that has just begun pages no sooner than one that has
watched for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import ceil
from typing import Final

from alerts.objectives.model import Counts, Finding, Objective, Window
from alerts.objectives.openslo import Promise
from alerts.rules.burn_rules import Measure, Rule, burning
from alerts.rules.counters import Counters, expressible

LEAST: Final = 15
"""Seconds that the store may lag behind, at the least: shipping takes some."""


def late_after(levels: Iterable[Window]) -> int:
    """Seconds behind the journal from which windows are unknown: a tenth of the shortest."""
    return max(LEAST, min((level.short for level in levels), default=0) // 10)


def reach(levels: Iterable[Window]) -> int:
    """Seconds for which counters are kept: what pages needs."""
    return max((level.long for level in levels if level.severity == "page"), default=0)


def ends(levels: Iterable[Window]) -> int:
    """Seconds within which the end of a page is seen."""
    return max((level.short for level in levels if level.severity == "page"), default=0)


def pages(
    promises: Iterable[Promise], levels: Sequence[Window], rule: Rule, counters: Counters, steady: int, now: int,
    covered: Callable[[str | None], bool],
) -> list[Finding]:  # fmt: skip
    """What ought to page at `now` (Unix seconds); `steady` is the same moment by the counters' clock."""
    if counters.since is None:
        return []
    watched = max(1, steady - counters.since)
    urgent = [level for level in levels if level.severity == "page"]
    spans = sorted({span for level in urgent for span in (level.long, level.short)})
    found = []
    for promise in filter(expressible, promises):
        measure = Measure(
            promise.objective,
            {span: _stretched(counters.counts(promise, span, steady), watched, span) for span in spans},
        )
        found += [each for level in urgent if (each := burning(measure, level, rule, now, covered))]
    return found


def over(
    promises: Iterable[Promise], levels: Sequence[Window], counters: Counters, steady: int
) -> set[Objective]:  # fmt: skip
    """Those of which no page can hold: the short windows of all that page were watched, and none burns."""
    shorts = {level.short: level.factor for level in levels if level.severity == "page"}
    if counters.since is None or steady - counters.since < max(shorts, default=0):
        return set()
    found = set()
    for promise in filter(expressible, promises):
        of = promise.objective
        counted = ((factor, *counters.counts(promise, span, steady)) for span, factor in shorts.items())
        if all(bad <= factor * of.budget * total for factor, bad, total in counted):
            found.add(of)
    return found


def _stretched(counted: tuple[int, int], watched: int, span: int) -> Counts:
    bad, total = counted
    whole = total if watched >= span else ceil(total * Fraction(span, watched))
    return Counts(whole - bad, whole)
