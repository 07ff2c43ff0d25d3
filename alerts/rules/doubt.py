# pure
"""Why the event store's newest figures are not believed: they are late, lack something, or are of another hour.

Windows that reach into such time are neither good nor zero: nothing ends on them, and new outages page by the sidecars'
own counters. Times are seconds; `moment` is by a clock that never steps.
"""

from __future__ import annotations

from typing import Final

from alerts.lifecycle.steps import Steps
from alerts.rules.conditions.metrics import Labels, Metrics
from sidecar.timeunits import SECOND

BEHIND: Final = "understudy_journal_behind_seconds"
"""How far the event store may be behind the journal."""
LOST: Final = "understudy_journal_failures_total"
"""Exchanges that could not be recorded, and so never come to the store."""
NAMES: Final = frozenset({BEHIND, LOST})


class Doubt:
    """Remembers what it was shown. `late_after`: how far the store may be behind, and the clock step. `reach`: the
    longest window by which a page ends."""

    def __init__(self, late_after: int, reach: int) -> None:
        self._late_after = late_after
        self._reach = reach
        self._steps = Steps()
        self._stepped = self._lost = 0
        """Until when."""
        self._by = 0
        self._failures: dict[Labels, float] | None = None
        self.since_step: int | None = None
        """When the clock last stepped; None: it has not."""

    def seen(self, metrics: Metrics | None, now: int, moment: int) -> str | None:
        """Why; None: they are believed. `now` in Unix seconds; `metrics` is None where no sidecar answers."""
        by = self._steps.seen(now * SECOND, moment * SECOND) // SECOND
        if abs(by) > self._late_after:
            # Set back, the same hour comes twice: until it is over its figures are those of both.
            self._stepped, self._by, self.since_step = moment + self._reach + max(0, -by), by, moment
        if metrics is not None and self._rose(metrics):
            self._lost = moment + self._reach
        if self.stepped(moment):
            way = "ahead" if self._by > 0 else "back"
            return f"the clock stepped {way} by {abs(self._by)} s: figures of that time are not believed"
        return self.late(metrics) or (
            "exchanges could not be recorded: the event store's figures lack them" if moment < self._lost else None
        )

    def stepped(self, moment: int) -> bool:
        """Whether what the store counts may be of another hour."""
        return moment < self._stepped

    def _rose(self, metrics: Metrics) -> bool:
        """A counter that fell began again at 0, and so did one that appears; the first look counts nothing."""
        known, values = self._failures, dict(metrics.get(LOST, {}))
        self._failures = values
        return known is not None and any(
            value > (was if (was := known.get(labels, 0.0)) <= value else 0.0) for labels, value in values.items()
        )

    def late(self, metrics: Metrics | None) -> str | None:
        """Why the store may lack the newest events; None: it has them."""
        if metrics is None:
            return "the sidecar does not answer: nobody knows what of its journal is shipped"
        behind = max(metrics.get(BEHIND, {}).values(), default=None)
        if behind is None:
            return "nobody knows how far the event store is behind the journal"
        if behind > self._late_after:
            return f"the event store may be {behind:.0f} s behind the journal: nothing is told as over until it has it"
        return None
