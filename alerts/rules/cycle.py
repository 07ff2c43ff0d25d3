"""One look at everything that alerts: burn rates, and what is beyond them. Keep it: it remembers what it saw.

A part that fails is told and ends nothing, and the other parts go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerts.lifecycle.lifecycle import Condition
from alerts.objectives.model import Finding, Window
from alerts.objectives.openslo import Promise
from alerts.rules import blind, counters, doubt
from alerts.rules.burn_rules import Rule as BurnRule
from alerts.rules.conditions import Rule, broken, holding, names
from alerts.rules.conditions.memory import Memory
from alerts.rules.conditions.metrics import Metrics
from alerts.rules.context import Context
from alerts.rules.control_plane import Readings, look
from alerts.rules.counters import Counters, bounds
from alerts.rules.coverage import Cover, asked
from alerts.rules.doubt import Doubt
from alerts.rules.evaluation import SOURCE, Covered, Evaluation, Levels, no_data, told, unsettled
from alerts.rules.outlook import Outlook
from alerts.rules.sidecars import Sidecars
from alerts.rules.silence import expected
from sidecar.contract import Action, Contract
from sidecar.control.client import Control
from sidecar.events.store import EventStore
from sidecar.settings.parsers import Quiet

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """What is promised, by which windows it burns, and when it is news that nobody asks (`quiet`, None: never)."""

    promises: Sequence[Promise]
    levels: Levels
    evaluation: Evaluation
    quiet: Quiet | None = None
    zone: str = "UTC"


class Watch:
    """One thread uses it."""

    def __init__(
        self, objectives: Objectives, rules: tuple[Rule, ...], store: EventStore, control: Control, contract: Contract,
        keep: float, steady: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`keep`: seconds for which the standby's readiness outlives the last look that showed it. `steady`: a clock
        that never steps, by which everything is remembered."""
        self._objectives = objectives
        self._rules = rules
        self._store = store
        self._sidecars = Sidecars(control)
        coverable = [each.name for each in contract.endpoints.values() if each.action is not Action.CALL]
        self._cover = Cover(coverable, keep)
        self._spans = {rule.failed_sign_ins for rule in rules if rule.failed_sign_ins}
        self._memory = Memory(max(max(rule.increase, rule.growth) for rule in rules))
        self._context = Context(store, control)
        self._metrics = names(rules) | counters.NAMES | doubt.NAMES
        self._bounds = bounds(objectives.promises)
        levels = [level for each in objectives.levels.values() for level in each]
        self._doubt = Doubt(blind.late_after(levels), blind.ends(levels))
        self._counters = Counters(blind.reach(levels))
        self._steady = steady
        self._epoch = int(time.time() - steady())

    def __call__(self, now: int) -> Outlook:
        """What holds at `now` (Unix seconds)."""
        moment = self._epoch + int(self._steady())
        readings = look(self._sidecars, self._store, now, self._metrics, self._spans, self._bounds)
        metrics = readings.seen.metrics
        if metrics is not None:
            self._counters.add(moment, metrics)
        covered = self._cover.seen(readings.endpoints, moment)
        burning = self._guarded(
            "ErrorBudgetBurn", SOURCE,
            lambda: self._burning(metrics, moment, now, covered, asked(readings.endpoints)),
        )  # fmt: skip
        beyond = holding(self._rules, readings.seen, self._memory, now, moment)
        return Outlook(self._explained(burning.holding, readings, now), burning.unknown, burning.unasked).joined(beyond)

    def _burning(
        self, metrics: Metrics | None, moment: int, now: int, covered: Covered, is_asked: Covered
    ) -> Outlook:  # fmt: skip
        """Where the store's figures are in doubt nothing ends, and the sidecars' own counters page."""
        of = self._objectives
        found = self._guarded("the event store's counts", SOURCE, lambda: of.evaluation.step(now, covered, is_asked))
        late = self._doubt.seen(metrics, now, moment)
        if self._doubt.stepped(moment):
            found = found._replace(holding=[each for each in found.holding if each.name != "ErrorBudgetBurn"])
        since = max(self._counters.since or 0, self._doubt.since_step or 0)
        watched = self._counters.since is not None and moment - since >= (of.quiet or Quiet(0)).seconds
        if late or not watched or not expected(of.quiet, of.zone, now):
            found = found._replace(holding=[each for each in found.holding if each.name != "NoTraffic"])
        if late is None and SOURCE not in found.unasked:
            return found
        known = {condition.key for condition in found.holding}
        paging = [
            condition
            for period, levels in of.levels.items()
            for condition in told(self._pages(period, levels, moment, now, covered))
            if condition.key not in known
        ]
        if late and all(condition.name != "NoData" for condition in found.holding):
            paging.append(no_data(late))
        return Outlook(found.holding + paging, found.unknown | self._open(metrics, moment), found.unasked)

    def _open(self, metrics: Metrics | None, moment: int) -> frozenset[str]:
        """What does not end: all, but for pages where the store has all events and only their times are in doubt. Then
        the counters know as much."""
        if not self._doubt.stepped(moment) or self._doubt.late(metrics) is not None:
            return frozenset({SOURCE})
        over = {
            objective
            for period, levels in self._objectives.levels.items()
            for objective in blind.over(self._of(period), levels, self._counters, moment)
        }
        return unsettled(self._objectives.promises, over)

    def _of(self, period: int) -> list[Promise]:
        return [each for each in self._objectives.promises if each.objective.period == period]

    def _pages(
        self, period: int, levels: Sequence[Window], moment: int, now: int, covered: Covered
    ) -> list[Finding]:  # fmt: skip
        return blind.pages(self._of(period), levels, BurnRule(), self._counters, moment, now, covered)

    def _explained(self, found: list[Condition], readings: Readings, now: int) -> list[Condition]:
        try:
            return self._context.explain(found, readings.endpoints, now)
        except Exception:  # a page without its notes is a page
            log.exception("alerts cannot be explained", extra={"fields": {"event.action": "context_failed"}})
            return found

    def _guarded(self, part: str, source: str, ask: Callable[[], Outlook]) -> Outlook:
        try:
            return ask()
        except Exception:
            log.exception("%s cannot be evaluated", part, extra={"fields": {"event.action": "evaluation_failed"}})
            return Outlook([broken(part)], frozenset({source}), frozenset({source}))
