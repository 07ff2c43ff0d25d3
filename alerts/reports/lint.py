# pure
"""Whether objectives fit the traffic they are made for: how many failures a budget allows, and when a burn can be told.

An objective whose budget is under one request in its period is missed by a single failure. A burn is told only where
enough requests fail to be sure of it: with few requests that takes long, or the windows are over before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from alerts.objectives.burn_rate import confident, written
from alerts.objectives.model import Counts, Objective, Window
from alerts.rules.burn_rules import Rule


@dataclass(frozen=True)
class Fit:
    """An objective at a volume: `requests` in one of its periods. `page`, `ticket`: seconds after which a total outage
    that goes on can first be told; None: it never can."""

    objective: Objective
    requests: Fraction
    page: int | None
    ticket: int | None

    @property
    def allowed(self) -> Fraction:
        """The failures that the budget allows in a period."""
        return self.objective.budget * self.requests

    @property
    def tight(self) -> bool:
        """Whether the first failure misses it; nothing is said of what nobody asks."""
        return 0 < self.allowed < 1

    @property
    def verdict(self) -> str:
        return "warning" if self.tight else "fits" if self.requests else "unused"


def fits(
    volumes: Iterable[tuple[Objective, Fraction]], by_period: Mapping[int, Sequence[Window]], rule: Rule
) -> list[Fit]:
    """Each objective at its volume, in requests a period spread evenly over it."""
    found = []
    for objective, requests in volumes:
        first: dict[str, int] = {}
        for window in by_period[objective.period]:
            after = told_after(objective, requests, window, rule)
            if after is not None:
                first[window.severity] = min(after, first.get(window.severity, after))
        found.append(Fit(objective, requests, first.get("page"), first.get("ticket")))
    return found


def told_after(objective: Objective, requests: Fraction, window: Window, rule: Rule) -> int | None:
    """Seconds of a total outage after which this level can hold: by the rule's failures and confidence, in both
    windows. None: it is never sure enough within the long window."""
    share = window.factor * objective.budget
    within = int(requests * window.long / objective.period)
    fewest = rule.least_bad
    if share >= 1 or within < fewest or not confident(Counts(0, within), share, rule.confidence):
        return None
    most = within
    while fewest < most:  # more failures of as many requests never make it less sure
        half = (fewest + most) // 2
        if confident(Counts(within - half, within), share, rule.confidence):
            most = half
        else:
            fewest = half + 1
    return -int(-fewest * objective.period // requests)


def lines(found: Iterable[Fit]) -> list[str]:
    """A line for each objective; a warning where the budget is under one request."""
    return [f"{fit.verdict:8} {_named(fit.objective)}: {_said(fit)}" for fit in found]


def _named(of: Objective) -> str:
    return f"{of.slo}/{of.name}, {of.endpoint or 'all endpoints'}, {'users' if of.view == 'users' else 'upstream'}"


def _said(fit: Fit) -> str:
    days = f"{float(Fraction(fit.objective.period, 86400)):g} d"
    if not fit.requests:
        return f"no request was seen: in {days} nothing can be told of it"
    volume = f"{float(fit.requests):,.0f} requests in {days} allow {written(fit.allowed)} failures"
    alone = "; a single one misses it" if fit.tight else ""
    both = (("page", fit.page), ("ticket", fit.ticket))
    after = " and ".join(f"a {name} after {_span(at)}" for name, at in both if at is not None)
    return f"{volume}{alone}; a total outage is told by {after or 'no alert: too little is asked to be sure'}"


def _span(seconds: int) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{float(Fraction(seconds, size)):.3g} {name}"
    return f"{seconds} s"
