"""What was promised, and which burn rates alert: read once, as `understudy alerts` reads it; and the backtest of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alerts.backtest import incidents
from alerts.backtest.incidents import Fired
from alerts.cli import kept
from alerts.objectives import openslo
from alerts.objectives.openslo import Promise
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import Levels, levels
from sidecar.contract import Contract
from sidecar.events.store import EventStore
from sidecar.settings import Settings
from sidecar.timeunits import SECOND


class Busy(Exception):
    """A backtest is under way; another would only slow both down."""


@dataclass(frozen=True)
class Promised:
    """The promises of SLOS for CONTRACT, the windows of each period, and what an alert needs beside the rate."""

    promises: Sequence[Promise]
    levels: Levels
    rule: Rule = Rule()
    kept: Path | None = None
    """Where counts outlive the process, as the evaluator keeps them; None: nowhere."""
    _replaying: threading.Lock = field(default_factory=threading.Lock, compare=False)

    @classmethod
    def load(cls, settings: Settings, contract: Contract) -> Promised:
        """Raises ValueError, which names file and field."""
        promises = openslo.load(settings.slos, [endpoint.name for endpoint in contract.endpoints.values()])
        return cls(promises, levels(promises), kept=kept(settings))

    @property
    def headline(self) -> Sequence[Promise]:
        """The first objective over everything, in each view: what a person means by "answered"."""
        whole = [each for each in self.promises if each.objective.endpoint is None and not each.each]
        first = (whole or self.promises)[0].objective
        return [each for each in self.promises if (each.objective.slo, each.objective.name) == (first.slo, first.name)]

    @property
    def api(self) -> str:
        """What people call the API that we stand beside."""
        return self.headline[0].service

    def title(self, slo: str) -> str:
        """What the objective says, in words; its name where it is not known."""
        return next((each.title for each in self.promises if each.objective.slo == slo), slo)

    def single(self, slo: str) -> bool:
        """Whether it is promised of each endpoint by itself."""
        return any(each.each for each in self.promises if each.objective.slo == slo)

    def replay(self, store: EventStore, since: int, until: int) -> Sequence[Fired]:
        """What would have alerted between these times (ns), the first first. Raises Busy, StoreUnavailable."""
        if not self._replaying.acquire(blocking=False):
            raise Busy
        try:
            span = (since // SECOND, until // SECOND)
            return incidents.replay(store, self.promises, self.levels, self.rule, *span, self.kept)
        finally:
            self._replaying.release()
