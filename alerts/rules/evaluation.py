"""One evaluation: what the store counts now, and which alerts ought to hold. No loop, no state but the counts kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Final

from alerts.counting.counts import Cube, limits_of, tally
from alerts.counting.rollups import Rollups
from alerts.lifecycle.lifecycle import Condition
from alerts.objectives import windows
from alerts.objectives.model import Counts, Finding, Objective, Severity, Window
from alerts.objectives.openslo import Promise
from alerts.rules.burn_rules import Measure, Rule, findings
from alerts.rules.outlook import Outlook
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.timeunits import MINUTE

SOURCE: Final = "events"
BLIND: Final = MINUTE
"""ns for which the store may be away before it is an alert."""
BUILD: Final = 5.0
"""Seconds of an evaluation that may go into counting old blocks; until they are counted, what needs them is unknown."""
Covered = Callable[[str | None], bool]
"""Of an endpoint by name, or of all (None); whether the upstream is asked for it is said in the same way."""
Levels = Mapping[int, Sequence[Window]]
"""Windows by the period in seconds for which they are meant."""


def levels(promises: Iterable[Promise], path: Path = windows.SHIPPED) -> dict[int, tuple[Window, ...]]:
    """The windows of a file, scaled to each promise's period. Raises ValueError."""
    return {period: windows.load(path, period) for period in {each.objective.period for each in promises}}


class Evaluation:
    """Keep it: each step asks only for what is new. `kept`: where counts outlive the process. One thread uses it."""

    def __init__(
        self, store: EventStore, promises: Sequence[Promise], by_period: Levels, rule: Rule, kept: Path | None = None
    ) -> None:
        self._levels = by_period
        self._rule = rule
        self._troubles: list[str] = []
        self._promises = {p: [each for each in promises if each.objective.period == p] for p in by_period}
        self._rollups = {
            period: Rollups(store, limits_of(mine), max(rule.silence, *(each.objective.longest for each in mine)), kept)
            for period, mine in self._promises.items()
        }

    def measures(self, now: int) -> dict[int, list[Measure]]:
        """What is known of each promise at `now` (Unix seconds), by period. Raises StoreUnavailable."""
        measured = {}
        self._troubles.clear()
        for period, rollups in self._rollups.items():
            rollups.refresh(now, BUILD)
            self._troubles += [rollups.trouble] if rollups.trouble else []
            cubes = rollups.spans(now, self._spans(period, now))
            measured[period] = [
                Measure(promise.objective, {span: _counts(cube, promise) for span, cube in cubes.items()})
                for promise in self._promises[period]
            ]
        return measured

    def step(self, now: int, covered: Covered, asked: Covered = lambda _: True) -> Outlook:
        """What holds at `now`. Windows that are not counted yet are unknown, and so is an upstream that is not
        asked."""
        try:
            measured = self.measures(now)
        except StoreUnavailable as error:
            return Outlook(
                [no_data(f"the event store cannot be asked: {error}")], frozenset({SOURCE}), frozenset({SOURCE})
            )
        found = [
            finding
            for period, measures in measured.items()
            for finding in findings(measures, self._levels[period], self._rule, now, covered)
        ]
        burning = told(each for each in found if each.window not in ("silence", "no-data"))
        silent = [each for each in found if each.window == "silence" and (each.view, each.endpoint) == ("users", None)]
        if silent and self._ever(measured):  # an endpoint nobody used, or an upstream nobody asked, is no trouble
            burning.append(_silence(silent[0].reason))
        unknown = frozenset(self._unknown(measured))
        if unknown and self._troubles:
            burning.append(no_data(f"windows that reach so far back are unknown: {self._troubles[0]}"))
        return Outlook(burning, unknown | frozenset(self._resting(measured, asked)))

    def _unknown(self, measured: Mapping[int, Sequence[Measure]]) -> Iterable[str]:
        """The keys of alerts of which a window is unknown: they neither start by it nor end. Others do."""
        for period, measures in measured.items():
            for each in measures:
                dark = [w for w in self._levels[period] if None in (each.spans.get(w.long), each.spans.get(w.short))]
                for severity in _severities(each.objective.view, {window.severity for window in dark}):
                    yield _condition(each.objective, severity).key
                if each.spans.get(self._rule.silence) is None:
                    yield _silence("").key

    def _resting(self, measured: Mapping[int, Sequence[Measure]], asked: Covered) -> Iterable[str]:
        """The keys of tickets for an upstream of which nothing is heard, since the standby answers in its place: that
        it fails no more is not known."""
        for period, measures in measured.items():
            for each in measures:
                counts = (each.spans.get(window.short) for window in self._levels[period])
                heard = any(count is not None and count.total for count in counts)
                if each.objective.view == "hosp" and not heard and not asked(each.objective.endpoint):
                    yield _condition(each.objective, "ticket").key

    def _ever(self, measured: Mapping[int, Sequence[Measure]]) -> bool:
        """Whether anybody was seen to ask anything within a whole period."""
        counted = (counts for measures in measured.values() for each in measures for counts in each.spans.values())
        return any(counts is not None and counts.total for counts in counted)

    def _spans(self, period: int, now: int) -> set[int]:
        used = {span for level in self._levels[period] for span in (level.long, level.short)}
        return used | {each.objective.reach(now) for each in self._promises[period]} | {self._rule.silence}


def _counts(cube: Cube | None, promise: Promise) -> Counts | None:
    return None if cube is None else tally(cube, promise).counts


def conditions(
    store: EventStore, objectives: Sequence[Promise], by_period: Levels, rule: Rule, now: int, covered: Covered
) -> Outlook:
    """One evaluation from nothing."""
    return Evaluation(store, objectives, by_period, rule).step(now, covered)


def no_data(reason: str) -> Condition:
    return Condition(name="NoData", severity="ticket", source=SOURCE, notes={"reason": reason}, hold=BLIND)


def told(found: Iterable[Finding]) -> list[Condition]:
    """One for each promise and severity, of the fastest window that holds: more windows are no more news."""
    first: dict[str, Condition] = {}
    for condition in map(_burning, found):
        first.setdefault(condition.key, condition)
    return list(first.values())


def _silence(reason: str) -> Condition:
    return Condition(name="NoTraffic", severity="ticket", source=SOURCE, notes={"reason": reason})


def unsettled(promises: Iterable[Promise], over: Set[Objective]) -> frozenset[str]:
    """The keys of all that the store's counts may tell, but for the pages of these objectives."""
    severities: tuple[Severity, ...] = ("page", "ticket")
    burns = (
        _condition(each.objective, severity).key
        for each in promises for severity in severities
        if severity == "ticket" or each.objective not in over
    )  # fmt: skip
    return frozenset({*burns, _silence("").key})


def _severities(view: str, of: Set[Severity]) -> Set[Severity]:
    """As which an alert may be told: the upstream's burning is a ticket while users are covered."""
    return of | {"ticket"} if view == "hosp" and of else of


def _condition(of: Finding | Objective, severity: Severity, notes: Mapping[str, str] | None = None) -> Condition:
    name = of.objective if isinstance(of, Finding) else of.name
    labels = {"slo": of.slo, "objective": name, "view": of.view, "endpoint": of.endpoint or "all"}
    return Condition(name="ErrorBudgetBurn", severity=severity, source=SOURCE, labels=labels, notes=notes or {})


def _burning(finding: Finding) -> Condition:
    known = {
        "burn_long": finding.burn_long, "burn_short": finding.burn_short, "budget_left": finding.budget_left,
        "exhausted_at": finding.exhausted_at,
    }  # fmt: skip
    notes = {name: f"{float(value):.10g}" for name, value in known.items() if value is not None}
    notes |= {"reason": finding.reason, "window": finding.window, "period": str(finding.period)}
    notes["target"] = f"{float(finding.target):.10g}"
    notes |= {"title": finding.title} if finding.title else {}
    return _condition(finding, finding.severity, notes)
