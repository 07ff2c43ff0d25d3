"""The values that the alert rules, the evaluator and the notifiers share. Nothing here does I/O.

Rates and shares are ``Fraction``; ``None`` means unknown, which is neither zero nor good. Spans are whole seconds.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from alerts.objectives.calendar import Calendar

Severity = Literal["page", "ticket"]
View = Literal["users", "hosp"]


@dataclass(frozen=True)
class Window:
    """One pair of windows: both must burn faster than ``factor`` times the budget's even pace."""

    severity: Severity
    factor: Fraction
    long: int
    short: int

    @property
    def name(self) -> str:
        """Stable name for keys and rules, such as ``3600s-300s``."""
        return f"{self.long}s-{self.short}s"


@dataclass(frozen=True)
class Objective:
    """One promise: the share of requests, above 0 and below 1, that must be good over ``period`` seconds; where it goes
    by a ``calendar``, over each of its periods, of which ``period`` is the usual length."""

    slo: str
    name: str
    target: Fraction
    period: int
    view: View
    endpoint: str | None = None
    broken: str = field(default="", compare=False)
    """What is wrong when it is missed: `Front door unavailable`."""
    calendar: Calendar | None = None

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"{self.slo}/{self.name}: target must be above 0 and below 1, not {self.target}")
        if self.period <= 0:
            raise ValueError(f"{self.slo}/{self.name}: period must be above 0 seconds, not {self.period}")

    def reach(self, now: int) -> int:
        """How many seconds before `now` (Unix seconds) its budget is counted from."""
        return self.period if self.calendar is None else now - self.calendar.since(now)

    @property
    def longest(self) -> int:
        """Seconds that it never reaches farther back."""
        return self.period if self.calendar is None else self.calendar.longest

    @property
    def budget(self) -> Fraction:
        """The share of requests that may fail."""
        return 1 - self.target


@dataclass(frozen=True)
class Counts:
    """Requests that count in one span. ``None`` instead of a ``Counts`` says that the store did not answer."""

    good: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.good <= self.total:
            raise ValueError(f"good must be from 0 to total, not {self.good} of {self.total}")

    @property
    def bad(self) -> int:
        """Requests that were not good."""
        return self.total - self.good


@dataclass(frozen=True)
class Finding:
    """One rule that holds now. ``key`` never contains a value that changes while the trouble lasts.

    ``exhausted_at`` is in Unix seconds, or None where the budget is not running out or the pace is unknown.
    """

    key: str
    slo: str
    objective: str
    view: View
    endpoint: str | None
    severity: Severity
    window: str
    burn_long: Fraction | None
    burn_short: Fraction | None
    budget_left: Fraction | None
    exhausted_at: Fraction | None
    reason: str
    period: int = 30 * 86400
    title: str = ""
    target: Fraction = Fraction(0)
