"""One look at everything that alerts: burn rates, and what is beyond them. Keep it: it remembers what it saw."""

from __future__ import annotations

from alerts.lifecycle.lifecycle import Condition
from alerts.rules.conditions import Rule, holding, names
from alerts.rules.conditions.memory import Memory
from alerts.rules.context import Context
from alerts.rules.control_plane import look
from alerts.rules.coverage import Cover
from alerts.rules.evaluation import Evaluation
from sidecar.contract import Action, Contract
from sidecar.control.client import Control
from sidecar.events.store import EventStore


class Watch:
    """One thread uses it."""

    def __init__(
        self, evaluation: Evaluation, rules: tuple[Rule, ...], store: EventStore, control: Control, contract: Contract,
        keep: float,
    ) -> None:  # fmt: skip
        """`keep`: seconds for which the standby's readiness outlives the last look that showed it."""
        self._evaluation = evaluation
        self._rules = rules
        self._store = store
        self._control = control
        coverable = [each.name for each in contract.endpoints.values() if each.action is not Action.CALL]
        self._cover = Cover(coverable, keep)
        self._spans = {rule.failed_sign_ins for rule in rules if rule.failed_sign_ins}
        self._memory = Memory(max(max(rule.increase, rule.growth) for rule in rules))
        self._context = Context(store, control)

    def __call__(self, now: int) -> tuple[list[Condition], frozenset[str]]:
        """The conditions that hold at `now` (Unix seconds), and the sources that could not be asked."""
        readings = look(self._control, self._store, now, names(self._rules), self._spans)
        burning, blind = self._evaluation.step(now, self._cover.seen(readings.endpoints, now))
        others, dark = holding(self._rules, readings.seen, self._memory, now)
        return self._context.explain(burning, readings.endpoints, now) + others, blind | dark
