"""Alert rules beyond burn rates: data, checked on loading, and what holds of them. Pure, but for reading the file.

What is not known never holds and never ends: a rule whose source could not be asked, or that has not been watched for
as long as it looks back, is among the unknown sources (see alerts/lifecycle.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from alerts.lifecycle.lifecycle import Condition
from alerts.message import RUNBOOKS
from alerts.rules.conditions.memory import Memory
from alerts.rules.conditions.metrics import Labels, Metrics
from sidecar.timeunits import SECOND

SHIPPED: Final = Path(__file__).with_name("understudy.yaml")
EVENTS: Final = "events"
"""The event store as a source; burn rates have the same."""
CONTROL: Final = "control"
ABSENT: Final = "control:absent"
MISSING: Final = 600
"""Seconds after which a metric that ought to be there is an alert."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; conditions/schema.yaml says what the fields mean. Spans in seconds."""

    alert: str
    severity: str
    hold: int
    keep: int
    said: str
    unit: str = "count"
    unreachable: bool = False
    metric: str = ""
    increase: int = 0
    growth: int = 0
    until: bool = False
    above: float | None = None
    below: float | None = None
    absent: str = "unknown"
    failed_sign_ins: int = 0
    above_for_one_name: int = 0

    @property
    def source(self) -> str:
        if self.unreachable:
            return CONTROL
        return EVENTS if self.failed_sign_ins else f"rule:{self.alert}:{self.severity}"

    def beyond(self, value: float) -> bool:
        """Whether a value is beyond the threshold; never equal to it."""
        return value > self.above if self.above is not None else self.below is not None and value < self.below

    def holds(self, value: float, labels: Labels = ()) -> Condition:
        reason = self.said.format(value=human(value, self.unit), **dict(labels))
        return Condition(
            name=self.alert, severity=self.severity, source=self.source, labels=dict(labels),
            notes={"reason": reason, "value": f"{value:.10g}"}, hold=self.hold * SECOND,
        )  # fmt: skip


def load(path: Path = SHIPPED) -> tuple[Rule, ...]:
    """The rules of a file. Raises ValueError, naming file, rule and field."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a file of conditions") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    wrong = best_match(_validator().iter_errors(document))
    if wrong is not None:
        where = ".".join(str(part) for part in wrong.absolute_path) or "(whole)"
        raise ValueError(f"{path}: {where}: {wrong.message}")
    for number, each in enumerate(document):
        if not (RUNBOOKS / f"{each['alert']}.md").is_file():
            raise ValueError(f"{path}: {number}.alert: expected one that has a runbook; found {each['alert']!r}")
    return tuple(Rule(hold=each.pop("for"), **each) for each in document)


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load((SHIPPED.parent / "schema.yaml").read_text()))


@dataclass(frozen=True)
class Seen:
    """What was seen this time. None: it could not be asked. `failed`: by span, failed sign-ins by the name given."""

    metrics: Metrics | None
    failed: Mapping[int, Mapping[str, int] | None] = field(default_factory=dict)


def holding(rules: Iterable[Rule], seen: Seen, memory: Memory, now: int) -> tuple[list[Condition], frozenset[str]]:
    """The conditions that hold at `now` (Unix seconds), and the sources of which nothing is known."""
    if seen.metrics is not None:
        memory.add(now, seen.metrics)
    found: list[Condition] = []
    unknown: set[str] = set() if seen.metrics is not None else {ABSENT}
    for rule in rules:
        if rule.unreachable:
            found += [rule.holds(0)] if seen.metrics is None else []
            continue
        holds, known = _attacked(rule, seen) if rule.failed_sign_ins else _measured(rule, seen.metrics, memory, now)
        found += holds
        unknown |= set() if known else {rule.source}
    if seen.metrics is not None:
        missing = [rule.alert for rule in rules if rule.absent == "alert" and rule.metric not in seen.metrics]
        found += [_unmeasured(alert) for alert in dict.fromkeys(missing)]
    return found, frozenset(unknown)


def _measured(rule: Rule, metrics: Metrics | None, memory: Memory, now: int) -> tuple[list[Condition], bool]:
    """What holds of a metric, and whether all is known."""
    if metrics is None:
        return [], False
    present = rule.metric in metrics or rule.absent == "fine"
    values, whole = metrics.get(rule.metric, {}), True
    if rule.increase:
        values, whole = memory.increases(rule.metric, rule.increase, now)
    elif rule.growth:
        least = memory.least(rule.metric, rule.growth, now)
        values = {labels: value - least.get(labels, value) for labels, value in values.items()}
    elif rule.until:
        values = {labels: value - now for labels, value in values.items()}
    return [rule.holds(value, labels) for labels, value in values.items() if rule.beyond(value)], present and whole


def _attacked(rule: Rule, seen: Seen) -> tuple[list[Condition], bool]:
    """Too many failed sign-ins, of all names or against one; and whether that is known.

    Never by address, which all users share; and no name is told, for people type passwords there.
    """
    by_name = seen.failed.get(rule.failed_sign_ins)
    if by_name is None:
        return [], False
    total, worst = sum(by_name.values()), max((count for name, count in by_name.items() if name), default=0)
    if not rule.beyond(total) and worst <= rule.above_for_one_name:
        return [], True
    holds = rule.holds(total)
    many = f", {worst} of them with one name" if worst > rule.above_for_one_name else ""
    return [replace(holds, notes={**holds.notes, "reason": holds.notes["reason"] + many})], True


def _unmeasured(alert: str) -> Condition:
    reason = f"what {alert} is told by is missing from /metrics: nobody knows whether it holds"
    return Condition(
        name="Unmeasured", severity="ticket", source=ABSENT, labels={"of": alert}, notes={"reason": reason},
        hold=MISSING * SECOND,
    )  # fmt: skip


def human(value: float, unit: str) -> str:
    """4 min, 97.5%, 12."""
    if unit == "ratio":
        return f"{value:.1%}"
    if unit == "count":
        return f"{value:.0f}"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(value) >= 2 * size:
            return f"{value / size:.0f} {name}"
    return f"{value:.0f} s"


def names(rules: Sequence[Rule]) -> frozenset[str]:
    """The metrics that they need."""
    return frozenset(rule.metric for rule in rules if rule.metric)
