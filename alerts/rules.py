"""Prometheus recording and alerting rules of the same promises and windows, and cases for `promtool test rules`. Pure.

What PromQL over these metrics cannot say is left out by name, never approximated in silence: limits on duration (the
histogram does not know outcomes), and the exact confidence bound (a least count of bad requests stands in for it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from alerts.evaluate import Levels
from alerts.openslo import Promise
from alerts.policy import Rule

BAD: Final = "understudy:slo_bad:increase"
ALL: Final = "understudy:slo_requests:increase"
_OUTCOMES: Final = ("success", "failure", "unknown")
_ANSWERERS: Final = ("upstream", "standby", "understudy")


def expressible(promise: Promise) -> bool:
    return promise.within is None


def rules(promises: Sequence[Promise], by_period: Levels, rule: Rule, more: Sequence[dict[str, Any]] = ()) -> str:
    """A rule file, with `more` groups behind these.

    Alerts hold for the labels slo, objective, view and endpoint of what burns.
    """
    kept = [promise for promise in promises if expressible(promise)]
    left = sorted({promise.objective.slo for promise in promises if not expressible(promise)})
    note = (
        f"# Not here, since the metrics cannot tell: {', '.join(left)}. `understudy alerts` has them.\n" if left else ""
    )
    groups = [
        {"name": "understudy-slo-counts", "interval": "15s", "rules": list(_records(kept, by_period))},
        {"name": "understudy-slo-alerts", "interval": "15s", "rules": list(_alerts(kept, by_period, rule))},
        *more,
    ]
    return note + str(yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000))


def cases(promises: Sequence[Promise], by_period: Levels, rules_file: str) -> str:
    """Cases for `promtool test rules`: a total outage of half an hour pages; one without failures says nothing."""
    tests = []
    for promise in promises:
        of = promise.objective
        if not expressible(promise) or of.view != "users" or of.endpoint is not None:
            continue
        pages = sum(level.severity == "page" for level in by_period[of.period])
        for outcome, code, firing in (("failure", "500", pages), ("success", "200", 0)):
            labels = f'client="user",endpoint="GET /",method="GET",code="{code}",outcome="{outcome}"'
            alert = (
                f'ALERTS{{alertname="ErrorBudgetBurn",alertstate="firing",severity="page",slo="{of.slo}",view="users"}}'
            )
            tests.append(
                {
                    "name": f"{of.slo}: {outcome}",
                    "interval": "15s",
                    "input_series": [
                        {
                            "series": f'understudy_requests_total{{{labels},answered_by="understudy"}}',
                            "values": "0+15x120",
                        }
                    ],
                    "promql_expr_test": [
                        {
                            "expr": f"count({alert}) or vector(0)",
                            "eval_time": "30m",
                            "exp_samples": [{"labels": "{}", "value": firing}],
                        }
                    ],
                }
            )
    return str(yaml.safe_dump({"rule_files": [rules_file], "tests": tests}, sort_keys=False, width=1000))


def _records(promises: Iterable[Promise], by_period: Levels) -> Iterable[dict[str, Any]]:
    for promise in promises:
        of = promise.objective
        for span in sorted({span for level in by_period[of.period] for span in (level.long, level.short)}):
            labels = {
                "slo": of.slo, "objective": of.name, "view": of.view, "endpoint": of.endpoint or "all",
                "window": f"{span}s",
            }  # fmt: skip
            bad, good = _parts(promise, span, False), _parts(promise, span, True)
            yield {"record": BAD, "expr": " + ".join(bad) or "vector(0)", "labels": labels}
            yield {"record": ALL, "expr": " + ".join([*bad, *good]), "labels": labels}


def _parts(promise: Promise, span: int, good: bool) -> list[str]:
    """Sums of requests that are good, or not; no request is in two of them."""
    endpoint = promise.objective.endpoint
    where = 'endpoint!="other"' if endpoint is None else f'endpoint="{endpoint}"'
    found = []
    for outcome in _OUTCOMES:
        if promise.objective.view == "hosp":
            if _is_good(promise, outcome, "upstream") is good:
                metric = f'understudy_upstream_requests_total{{client="user",{where},outcome="{outcome}"}}'
                found.append(f"(sum(increase({metric}[{span}s])) or vector(0))")
            continue
        answerers = [each for each in _ANSWERERS if _is_good(promise, outcome, each) is good]
        if answerers:
            stayed = ',code!="499"' if outcome == "unknown" else ""
            who = "" if len(answerers) == len(_ANSWERERS) else f',answered_by=~"{"|".join(answerers)}"'
            metric = f'understudy_requests_total{{client="user",{where},outcome="{outcome}"{stayed}{who}}}'
            found.append(f"(sum(increase({metric}[{span}s])) or vector(0))")
    return found


def _is_good(promise: Promise, outcome: str, answered_by: str) -> bool:
    return any(
        (not each.outcome or outcome in each.outcome) and (not each.answered_by or answered_by in each.answered_by)
        for each in promise.good
    )


def _alerts(promises: Iterable[Promise], by_period: Levels, rule: Rule) -> Iterable[dict[str, Any]]:
    for slo, name, target, period in dict.fromkeys(
        (p.objective.slo, p.objective.name, p.objective.target, p.objective.period) for p in promises
    ):
        for level in by_period[period]:
            share = float(level.factor * (1 - target))
            of = f'slo="{slo}",objective="{name}"'

            def burning(span: int, of: str = of, share: float = share) -> str:
                labels = f'{{{of},window="{span}s"}}'
                return f"({BAD}{labels} / {ALL}{labels} > {share!r})"

            yield {
                "alert": "ErrorBudgetBurn",
                "expr": (
                    f"{burning(level.long)} and ignoring(window) {burning(level.short)}"
                    f' and ignoring(window) ({BAD}{{{of},window="{level.long}s"}} >= {rule.least_bad})'
                ),
                "labels": {"severity": level.severity},
                "annotations": {
                    "summary": f"{slo} burns its budget more than {float(level.factor):g} times too fast",
                    "description": "{{ $labels.view }}, {{ $labels.endpoint }}: {{ $value | humanizePercentage }} bad",
                },
            }
