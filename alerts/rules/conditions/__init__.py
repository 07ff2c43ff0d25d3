"""Alert rules beyond burn rates: data, checked on loading, and what holds of them. Pure, but for reading the file.

What is not known never holds and never ends: a rule whose source could not be asked, or that has not been watched for
as long as it looks back, is among the unknown sources (see alerts/lifecycle.py). A rule that fails, fails alone.
"""

from __future__ import annotations

import logging
import string
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
from alerts.rules.conditions.metrics import INSTANCE, Labels, Metrics
from alerts.rules.outlook import Outlook
from sidecar.telemetry.metrics import labels_of
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)

SHIPPED: Final = Path(__file__).with_name("understudy.yaml")
EVENTS: Final = "events"
"""The event store as a source; burn rates have the same."""
CONTROL: Final = "control"
ABSENT: Final = "control:absent"
FAILED: Final = "evaluator"
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
    runbook: str = ""
    unit: str = "count"
    unreachable: bool = False
    metric: str = ""
    increase: int = 0
    growth: int = 0
    nodes: str = "each"
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
        reason = self.said.format_map(_Words(labels, value=human(value, self.unit)))
        return Condition(
            name=self.alert, severity=self.severity, source=self.source, labels=dict(labels),
            notes={"reason": reason, "value": f"{value:.10g}", **({"runbook": self.runbook} if self.runbook else {})},
            hold=self.hold * SECOND,
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
        if stranger := _stranger(each):
            raise ValueError(f"{path}: {number}.said: {stranger}")
        if not each.get("runbook") and not (RUNBOOKS / f"{each['alert']}.md").is_file():
            raise ValueError(
                f"{path}: {number}.alert: expected one that has a runbook, or a `runbook` of its own; found "
                f"{each['alert']!r}"
            )
    return tuple(Rule(hold=each.pop("for"), **each) for each in document)


class _Words(dict[str, str]):
    """What is put in for placeholders. One that has no value stays as it is: a page is not lost over its wording."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def _stranger(rule: Mapping[str, object]) -> str | None:
    """What is wrong with the placeholders of a rule's text; None: nothing."""
    said = str(rule["said"])
    try:
        used = [(name, form, how) for _, name, form, how in string.Formatter().parse(said) if name is not None]
    except ValueError as error:
        return f"{error}; found {said!r}"
    labels = labels_of(str(rule.get("metric", "")))
    for name, form, how in used:
        if form or how or not name.isidentifier():
            return f"expected plain placeholders such as {{value}}; found {name!r}"
        if name != "value" and labels is not None and name not in labels:
            known = ", ".join(f"{{{each}}}" for each in ("value", *labels))
            return f"expected {known}; found {{{name}}}"
    return None


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load((SHIPPED.parent / "schema.yaml").read_text()))


@dataclass(frozen=True)
class Seen:
    """What was seen this time. None: it could not be asked. `failed`: by span, failed sign-ins by the name given."""

    metrics: Metrics | None
    failed: Mapping[int, Mapping[str, int] | None] = field(default_factory=dict)


def holding(rules: Iterable[Rule], seen: Seen, memory: Memory, now: int, steady: int | None = None) -> Outlook:
    """What holds at `now` (Unix seconds). `steady`: the same by a clock that never steps, by which it remembers."""
    moment = now if steady is None else steady
    if seen.metrics is not None:
        memory.add(moment, seen.metrics)
    found, unknown, unasked = list[Condition](), set[str](), set[str]()
    for rule in rules:
        try:
            holds, known, asked = _look(rule, seen, memory, now, moment)
        except Exception:
            log.exception("the rule %s failed", rule.alert, extra={"fields": {"event.action": "rule_failed"}})
            holds, known, asked = [broken(rule.alert)], False, False
        found += holds
        unknown |= set() if known else {rule.source}
        unasked |= set() if asked else {rule.source}
    if seen.metrics is None:
        unasked.add(ABSENT)
    else:
        missing = [rule for rule in rules if rule.absent == "alert" and rule.metric not in seen.metrics]
        found += [_unmeasured(alert) for alert in dict.fromkeys(rule.alert for rule in missing)]
        unasked |= {rule.source for rule in missing}
    return Outlook(found, frozenset(unknown | unasked), frozenset(unasked))


def _look(rule: Rule, seen: Seen, memory: Memory, now: int, moment: int) -> tuple[list[Condition], bool, bool]:
    """What holds of a rule; whether all of it is known; whether it could be asked."""
    if rule.unreachable:
        return ([rule.holds(0)] if seen.metrics is None else []), True, True
    if rule.failed_sign_ins:
        holds, known = _attacked(rule, seen)
        return holds, known, known
    return *_measured(rule, seen.metrics, memory, now, moment), seen.metrics is not None


def broken(part: str) -> Condition:
    """A part of the look that failed: it starts and ends nothing, and that is told."""
    reason = f"{part} cannot be evaluated: nobody knows whether it holds (the log says why)"
    return Condition(name="EvaluationFailed", severity="ticket", source=FAILED, labels={"of": part},
                     notes={"reason": reason})  # fmt: skip


def _measured(
    rule: Rule, metrics: Metrics | None, memory: Memory, now: int, moment: int
) -> tuple[list[Condition], bool]:
    """What holds of a metric, and whether all is known."""
    if metrics is None:
        return [], False
    present = rule.metric in metrics or rule.absent == "fine"
    values, whole = metrics.get(rule.metric, {}), True
    if rule.increase:
        values, whole = memory.increases(rule.metric, rule.increase, moment)
    elif rule.growth:
        least = memory.least(rule.metric, rule.growth, moment)
        values = {labels: value - least.get(labels, value) for labels, value in values.items()}
    elif rule.until:
        values = {labels: value - now for labels, value in values.items()}
    values = over_nodes(rule, values)
    return [rule.holds(value, labels) for labels, value in values.items() if rule.beyond(value)], present and whole


def over_nodes(rule: Rule, values: Mapping[Labels, float]) -> Mapping[Labels, float]:
    """What several sidecars tell, as the rule takes it; of what they all tell alike, the worst."""
    if rule.nodes == "each":
        return values
    found: dict[Labels, list[float]] = {}
    for labels, value in values.items():
        found.setdefault(tuple(label for label in labels if label[0] != INSTANCE), []).append(value)
    one = sum if rule.nodes == "sum" else max if rule.above is not None else min
    return {labels: one(each) for labels, each in found.items()}


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
