"""What the alert rules would have said of what was recorded: minute by minute, from the counts per minute."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from alerts.counts import SECOND, ask, tally
from alerts.evaluate import Levels
from alerts.model import Counts, Finding, Window
from alerts.openslo import Promise
from alerts.policy import Measure, Rule, findings
from sidecar.record.stores import EventStore

MINUTE: Final = 60
_SEVERITY: Final = {"page": 0, "ticket": 1}


@dataclass(frozen=True)
class Fired:
    """One alert from its first to its last minute, in Unix seconds; `ended` None: it held to the end."""

    finding: Finding
    began: int
    ended: int | None

    def line(self) -> str:
        of = self.finding
        name = f"{of.severity} {of.slo} ({of.view}, {of.endpoint or 'all'}) {of.window}"
        lasted = "still holds" if self.ended is None else f"for {(self.ended - self.began) // MINUTE} min"
        return f"{datetime.fromtimestamp(self.began, UTC):%Y-%m-%d %H:%M} UTC  {name}  {lasted}: {of.reason}"


class Series:
    """Running totals of good and all requests by minute: any span is two look-ups."""

    def __init__(self, counts: Mapping[int, tuple[int, int]]) -> None:
        """`counts`: good and total by the minute's start in Unix seconds."""
        self._starts = sorted(counts)
        self._good, self._total = [0], [0]
        for start in self._starts:
            self._good.append(self._good[-1] + counts[start][0])
            self._total.append(self._total[-1] + counts[start][1])

    def between(self, since: int, until: int) -> Counts:
        low, high = bisect_left(self._starts, since), bisect_left(self._starts, until)
        return Counts(self._good[high] - self._good[low], self._total[high] - self._total[low])


def replay(
    store: EventStore, promises: Sequence[Promise], by_period: Levels, rule: Rule, since: int, until: int
) -> list[Fired]:
    """Every burn alert between these times (Unix seconds), the first first. Raises StoreUnavailable.

    Whether the standby covered for the upstream then is not known: a page of HOSP's own view is shown as one.
    """
    start = since - since % MINUTE
    before = max(by_period)
    cubes = ask(
        store, (start - before) * SECOND, until * SECOND, {promise.within for promise in promises}, MINUTE * SECOND
    )
    fired = []
    for promise in promises:
        tallies = {at // SECOND: tally(cube, promise) for at, cube in cubes.items()}
        series = Series({at: (each.good, each.total) for at, each in tallies.items()})
        fired += list(episodes(promise, series, by_period[promise.objective.period], rule, start, until))
    return sorted(fired, key=lambda each: (each.began, _SEVERITY[each.finding.severity], each.finding.key))


def episodes(
    promise: Promise, series: Series, windows: Sequence[Window], rule: Rule, since: int, until: int
) -> Iterator[Fired]:
    """The alerts of one promise, evaluated at the end of each minute."""
    spans = {span for window in windows for span in (window.long, window.short)}
    spans |= {rule.silence, promise.objective.period}
    shortest = [window.short for window in windows]
    held: dict[str, tuple[Finding, int]] = {}
    for now in range(since + MINUTE, until + 1, MINUTE):
        seen: dict[str, Finding] = {}
        if held or any(series.between(now - short, now).bad for short in shortest):
            counts: dict[int, Counts | None] = {span: series.between(now - span, now) for span in spans}
            seen = _burning(findings([Measure(promise.objective, counts)], windows, rule, now, lambda _: False))
        for key in held.keys() - seen.keys():
            finding, began = held.pop(key)
            yield Fired(finding, began, now)
        for key, finding in seen.items():
            held.setdefault(key, (finding, now))
    for finding, began in held.values():
        yield Fired(finding, began, None)


def _burning(found: Iterable[Finding]) -> dict[str, Finding]:
    return {each.key: each for each in found if each.window not in ("silence", "no-data")}
