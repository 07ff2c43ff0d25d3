"""The same rules for Prometheus: alerting rules, and cases for `promtool test rules`. Pure.

What PromQL cannot say of these metrics is left out by name: `above_for_one_name` (no metric has users' names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from alerts.rules.conditions import MISSING, Rule

JOB: Final = 'up{job="understudy"}'
RUNBOOKS: Final = "alerts/runbooks"
"""Where they are in the repository; RUNBOOK_URL says where people find them."""
_HUMAN: Final = {"seconds": "humanizeDuration", "ratio": "humanizePercentage", "count": "humanize"}
STEP: Final = 15
"""Seconds between the samples of a case."""


def group(rules: Sequence[Rule], runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """A rule group; `runbooks`: the URL under which runbooks are. Labels are those of the metric, with severity;
    `understudy alerts` has the same."""
    alerts = [_alert(rule, runbooks) for rule in rules]
    needed = dict.fromkeys((rule.alert, rule.metric) for rule in rules if rule.absent == "alert" and rule.metric)
    alerts += [
        {"alert": "Unmeasured", "expr": f"absent({metric}) and on () (max({JOB}) == 1)", "for": f"{MISSING}s",
         "labels": {"severity": "ticket", "of": alert},
         "annotations": {"summary": f"what {alert} is told by is missing from /metrics",
                         "runbook_url": f"{runbooks}/Unmeasured.md"}}
        for alert, metric in needed
    ]  # fmt: skip
    return {"name": "understudy-conditions", "interval": f"{STEP}s", "rules": alerts}


def _alert(rule: Rule, runbooks: str) -> dict[str, Any]:
    alert: dict[str, Any] = {"alert": rule.alert, "expr": expression(rule)}
    if rule.hold:
        alert["for"] = f"{rule.hold}s"
    if rule.keep:
        alert["keep_firing_for"] = f"{rule.keep}s"
    value = f"{{{{ $value | {_HUMAN[rule.unit]} }}}}"
    said = re.sub(
        r"\{(\w+)\}", lambda found: value if found[1] == "value" else f"{{{{ $labels.{found[1]} }}}}", rule.said
    )
    runbook = rule.runbook or f"{runbooks}/{rule.alert}.md"
    return alert | {"labels": {"severity": rule.severity}, "annotations": {"summary": said, "runbook_url": runbook}}


def expression(rule: Rule) -> str:
    """PromQL that has a value while the rule holds."""
    if rule.unreachable:
        return f"{JOB} == 0 or absent({JOB})"
    value = rule.metric
    if rule.failed_sign_ins:
        value = f'sum(increase(understudy_requests_total{{client="user",code="401"}}[{rule.failed_sign_ins}s]))'
    elif rule.increase:
        value = f"increase({rule.metric}[{rule.increase}s])"
    elif rule.growth:
        value = f"({rule.metric} - min_over_time({rule.metric}[{rule.growth}s]))"
    elif rule.until:
        value = f"({rule.metric} - time())"
    if rule.nodes != "each":
        one = "sum" if rule.nodes == "sum" else "max" if rule.above is not None else "min"
        value = f"{one} without (instance) ({value})"
    return f"{value} > {rule.above:g}" if rule.above is not None else f"{value} < {rule.below:g}"


def rules(given: Sequence[Rule], runbooks: str = RUNBOOKS) -> str:
    """A rule file of them alone."""
    return str(yaml.safe_dump({"groups": [group(given, runbooks)]}, sort_keys=False, width=1000))


def tests(given: Sequence[Rule], rules_file: str) -> str:
    """Cases for `promtool test rules`."""
    document = {"rule_files": [rules_file], "tests": list(cases(given))}
    return str(yaml.safe_dump(document, sort_keys=False, width=1000))


def cases(rules: Sequence[Rule]) -> Iterable[dict[str, Any]]:
    """Of each rule one case in which it fires after its time and one in which it does not."""
    for rule in rules:
        for firing in (True, False):
            series, values, after = _series(rule, firing)
            labels = f'alertname="{rule.alert}",alertstate="firing",severity="{rule.severity}"'
            yield {
                "name": f"{rule.alert}, {rule.severity}: {'fires' if firing else 'says nothing'}",
                "interval": f"{STEP}s",
                "input_series": [{"series": series, "values": values}],
                "promql_expr_test": [
                    {"expr": f"count(ALERTS{{{labels}}}) or vector(0)", "eval_time": f"{after}s",
                     "exp_samples": [{"labels": "{}", "value": int(firing)}]}
                ],
            }  # fmt: skip
    yield from _over_instances(rules)


def _over_instances(rules: Sequence[Rule]) -> Iterable[dict[str, Any]]:
    """Of each rule that fires, a case of two sidecars: it fires once where they tell the same, once where only together
    they are beyond it, and for each of those that are in trouble themselves."""
    for rule in rules:
        if rule.failed_sign_ins:
            continue
        series, values, after = _series(rule, True, shares=2 if rule.nodes == "sum" else 1)
        both = [_with_instance(series, name) for name in ("one:1", "two:1")]
        labels = f'alertname="{rule.alert}",alertstate="firing",severity="{rule.severity}"'
        yield {
            "name": f"{rule.alert}, {rule.severity}: of two sidecars",
            "interval": f"{STEP}s",
            "input_series": [{"series": each, "values": values} for each in both],
            "promql_expr_test": [
                {"expr": f"count(ALERTS{{{labels}}}) or vector(0)", "eval_time": f"{after}s",
                 "exp_samples": [{"labels": "{}", "value": 2 if rule.nodes == "each" else 1}]}
            ],
        }  # fmt: skip


def _with_instance(series: str, instance: str) -> str:
    name, _, labels = series.partition("{")
    more = labels.removesuffix("}")
    return f'{name}{{instance="{instance}"{"," if more else ""}{more}}}'


def _series(rule: Rule, firing: bool, shares: int = 1) -> tuple[str, str, int]:
    """A series beyond the threshold, or just at it; and when (s) that must have shown. `shares`: of so many sidecars
    each counts a part, and none of them enough by itself."""
    span = max(rule.increase, rule.growth, rule.failed_sign_ins, 2 * STEP)
    after = span + rule.hold + 4 * STEP
    steps = after // STEP + 1
    if rule.unreachable:
        return JOB, f"{0 if firing else 1}x{steps}", after
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None
    if rule.failed_sign_ins or rule.increase:
        name = 'understudy_requests_total{client="user",code="401"}' if rule.failed_sign_ins else rule.metric
        rise = 2 * limit + 2 if shares == 1 else limit * 0.75 + 0.5
        return name, f"0+{rise * STEP / span if firing else 0:.12g}x{steps}", after
    if rule.growth:
        return rule.metric, f"0+{2 * limit * STEP / span if firing else limit * STEP / span / 2:.12g}x{steps}", after
    if rule.until:  # the clock of a case begins at 0
        sooner, later = after // 2 + limit, after + limit + 10 * STEP
        return rule.metric, f"{later if firing == (rule.above is not None) else sooner:.12g}x{steps}", after
    beyond = limit + 1 if rule.above is not None else limit / 2
    return rule.metric, f"{beyond if firing else limit:.12g}x{steps}", after
