"""What the alert rules would have said of what was recorded, and how soon: each bucket's end is an evaluation.

It decides as the evaluator does. Whether the standby was ready is not on record; it is taken to have covered where the
same level did not hold for the users of the same objective.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from alerts.backtest.replay import Recorder, Series
from alerts.counting.counts import limits_of
from alerts.counting.rollups import Rollups
from alerts.objectives import burn_rate
from alerts.objectives.model import Counts, Finding, Window
from alerts.objectives.openslo import Promise
from alerts.rules.burn_rules import Measure, Rule, burning, missing
from alerts.rules.evaluation import Levels
from sidecar.events.store import EventStore

_SEVERITY: Final = {"page": 0, "ticket": 1}


@dataclass(frozen=True)
class Fired:
    """One alert, in Unix seconds: told at `began`, over at `ended` (None: it held to the end). What it told of went on
    from `start` to `stop`, which is where bad requests exceeded the level's share of all the most."""

    finding: Finding
    began: int
    ended: int | None
    start: int
    stop: int


@dataclass(frozen=True)
class Incident:
    """Alerts of one view whose troubles overlap, the first told first."""

    view: str
    start: int
    stop: int
    alerts: tuple[Fired, ...]

    @property
    def paged_after(self) -> int | None:
        """Seconds from its start to the first page; None: no page."""
        pages = [each.began for each in self.alerts if each.finding.severity == "page"]
        return min(pages) - self.start if pages else None


@dataclass(frozen=True)
class _Track:
    """The series of promises of one period, and the times of its buckets."""

    series: Mapping[Promise, Series]
    origin: int
    width: int
    first: int
    last: int

    def at(self, n: int) -> int:
        return self.origin + n * self.width

    def back(self, n: int, span: int) -> int:
        return max(0, n - span // self.width)


def replay(
    store: EventStore, promises: Sequence[Promise], by_period: Levels, rule: Rule, since: int, until: int,
    kept: Path | None = None,
) -> list[Fired]:  # fmt: skip
    """Every alert between these times (Unix seconds), the first first. Raises StoreUnavailable."""
    fired: list[Fired] = []
    for period, windows in by_period.items():
        mine = [promise for promise in promises if promise.objective.period == period]
        track = _track(store, mine, windows, rule, since, until, kept)
        holding = {p: _holding(p, series, windows, rule, track) for p, series in track.series.items()}
        hurt = {p.objective: set(found) for p, found in holding.items() if p.objective.view == "users"}
        for promise, found in holding.items():
            users = hurt.get(replace(promise.objective, view="users"), set())
            fired += _episodes(promise, track, windows, rule, found, users)
        whole = next((p for p in track.series if (p.objective.view, p.objective.endpoint) == ("users", None)), None)
        if whole is not None:
            fired += _silences(whole, track.series[whole], windows, rule, track)
    return sorted(fired, key=lambda each: (each.began, _SEVERITY[each.finding.severity], each.finding.key))


def incidents(fired: Sequence[Fired]) -> list[Incident]:
    """Alerts put together, by view; silence is an incident of its own."""
    found: list[Incident] = []
    for view in dict.fromkeys(_view(each) for each in fired):
        mine = sorted((each for each in fired if _view(each) == view), key=lambda each: (each.start, each.began))
        for each in mine:
            last = found[-1] if found and found[-1].view == view else None
            if last is not None and each.start <= last.stop:
                found[-1] = replace(last, stop=max(last.stop, each.stop), alerts=(*last.alerts, each))
            else:
                found.append(Incident(view, each.start, each.stop, (each,)))
    ordered = (replace(each, alerts=tuple(sorted(each.alerts, key=_told))) for each in found)
    return sorted(ordered, key=lambda each: (each.start, each.view))


def _told(each: Fired) -> tuple[int, int, str]:
    return each.began, _SEVERITY[each.finding.severity], each.finding.key


def _view(each: Fired) -> str:
    return "silence" if each.finding.window == "silence" else each.finding.view


def _track(
    store: EventStore, promises: Sequence[Promise], windows: Sequence[Window], rule: Rule, since: int, until: int,
    kept: Path | None,
) -> _Track:  # fmt: skip
    """Buckets as far back as windows reach, hours as far back as budgets do."""
    period = promises[0].objective.period
    rollups = Rollups(store, limits_of(promises), period, kept)
    try:
        reach = max(rule.silence, *(window.long for window in windows))
        origin = (since - reach) // rollups.block * rollups.block
        last = (until - origin) // rollups.bucket
        recorder = Recorder(promises, origin, rollups.bucket, last)
        recorder.add(rollups.buckets(origin, until))
        longest = max(promise.objective.longest for promise in promises)
        oldest = (since - longest) // rollups.block * rollups.block
        recorder.add_before(rollups.wholes(oldest, origin).items())
    finally:
        rollups.close()
    first = -((origin - since) // rollups.bucket) + 1
    return _Track(recorder.series(), origin, rollups.bucket, first, last)


def _episodes(
    promise: Promise, track: _Track, windows: Sequence[Window], rule: Rule, holding: Sequence[tuple[int, int]],
    hurt: Set[tuple[int, int]],
) -> Iterator[Fired]:  # fmt: skip
    """One alert for each severity at a time, of the fastest level that holds, as the evaluator tells it. `hurt`: when
    which level holds for the users of the same objective."""
    of, series = promise.objective, track.series[promise]
    held: dict[str, tuple[Finding, Window, int, int]] = {}
    for n, rank in holding:
        level, covered = windows[rank], of.view == "hosp" and (n, rank) not in hurt
        severity = "ticket" if covered else level.severity
        for key in [key for key, (*_, last) in held.items() if last < n - 1]:
            yield _fired(series, *held.pop(key), of.budget, track)
        if severity in held:
            finding, window, began, _ = held[severity]
            held[severity] = (finding, window, began, n)
        elif (
            told := burning(_measure(promise, series, level, track, n), level, rule, track.at(n), _always(covered))
        ) is not None:
            held[severity] = (told, level, n, n)
    for kept in held.values():
        yield _fired(series, *kept, of.budget, track)


def _always(covered: bool) -> Callable[[str | None], bool]:
    return lambda _: covered


def _holding(
    promise: Promise, series: Series, windows: Sequence[Window], rule: Rule, track: _Track
) -> list[tuple[int, int]]:
    """When which of the windows holds, by time, then the fastest first. The rule is `policy`'s, in whole numbers."""
    found = []
    for rank, level in enumerate(windows):
        share = level.factor * promise.objective.budget
        nearly, sure = float(share), float(rule.confidence)
        for n in _candidates(series, level, track, promise):
            low = track.back(n, level.long)
            bad, total = series.bad[n] - series.bad[low], series.total[n] - series.total[low]
            if bad >= rule.least_bad and (
                burn_rate.surely(bad, total, nearly, sure)
                or burn_rate.confident(Counts(total - bad, total), share, rule.confidence)
            ):
                found.append((n, rank))
    return sorted(found)


def _candidates(series: Series, level: Window, track: _Track, promise: Promise) -> list[int]:
    """Buckets at whose end both windows burn faster than the level's factor."""
    share = level.factor * promise.objective.budget
    p, q, bad, total = share.numerator, share.denominator, series.bad, series.total
    if bad[-1] == 0:
        return []
    long, short = level.long // track.width, level.short // track.width
    return [
        n
        for n in range(max(track.first, long), track.last + 1)
        if (bad[n] - bad[n - short]) * q > (total[n] - total[n - short]) * p
        and (bad[n] - bad[n - long]) * q > (total[n] - total[n - long]) * p
    ]


def _measure(promise: Promise, series: Series, level: Window, track: _Track, n: int) -> Measure:
    reach = promise.objective.reach(track.at(n))
    spans: dict[int, Counts | None] = {s: series.counts(track.back(n, s), n) for s in (level.long, level.short)}
    start = track.at(n) - reach
    spans[reach] = series.since(start, n) if start < track.origin else series.counts(track.back(n, reach), n)
    return Measure(promise.objective, spans)


def _fired(
    series: Series, finding: Finding, level: Window, began: int, last: int, budget: Fraction, track: _Track
) -> Fired:
    """An incident begins where the excess of bad requests is least before the alert, and stops where it is greatest."""
    share = level.factor * budget
    low = track.back(began, level.long)
    before, after = series.excess(share, low, began), series.excess(share, began, last)
    start = began - before[::-1].index(min(before))
    stop = began + after.index(max(after))
    ended = None if last >= track.last else track.at(last + 1)
    return Fired(finding, track.at(began), ended, track.at(start), track.at(stop))


def _silences(
    promise: Promise, series: Series, windows: Sequence[Window], rule: Rule, track: _Track
) -> Iterator[Fired]:  # fmt: skip
    """Spans without any request, after the first that was ever seen."""
    span, began = rule.silence // track.width, None
    for n in range(max(track.first, span), track.last + 2):
        quiet = n <= track.last and series.total[n] == series.total[n - span] and (series.total[n] or series.before)
        if quiet and began is None:
            began = n
        elif began is not None and not quiet:
            spans = {s for window in windows for s in (window.long, window.short)} | {rule.silence}
            nothing = Measure(promise.objective, dict.fromkeys(spans, Counts(0, 0)))
            if (finding := missing(nothing, windows, rule, track.at(began))) is not None:
                ended = None if n > track.last else track.at(n)
                yield Fired(finding, track.at(began), ended, track.at(began - span), track.at(n - 1))
            began = None
