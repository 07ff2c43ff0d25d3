"""Cases for `promtool test rules` over the rules that `rules` writes: what must be told, and what must not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from alerts.objectives.openslo import Promise
from alerts.prometheus.rules import JOB, can_fire
from alerts.rules.burn_rules import Rule
from alerts.rules.counters import expressible
from alerts.rules.evaluation import Levels
from alerts.rules.silence import ALWAYS
from sidecar.settings.parsers import Quiet

_STEP = 60
"""Seconds between samples."""
_LOOK = 300
"""Seconds between evaluations; every case lasts a multiple of it."""


def cases(
    promises: Sequence[Promise], by_period: Levels, rule: Rule, rules_file: str, quiet: Quiet | None = ALWAYS
) -> str:
    """An outage pages by each objective over all endpoints that can page at all, a few failures and none say nothing;
    silence; no data."""
    of = [p.objective for p in promises if expressible(p) and p.objective.endpoint is None]
    users = [each for each in of if each.view == "users"]
    longest = max((min(level.long for level in by_period[each.period]) for each in users), default=0)
    lasts = max(longest, rule.silence) // _LOOK * _LOOK + 2 * _LOOK
    any_burn, silent, blind = (
        f"{_FIRING},alertname={name}}}" for name in ('"ErrorBudgetBurn"', '"NoTraffic"', '"NoData"')
    )
    pages = {
        f'{_FIRING},severity="page",slo="{each.slo}",view="users",endpoint="all"}}': int(
            any(level.severity == "page" and can_fire(level, each) for level in by_period[each.period])
        )
        for each in users
    }
    few = _requests("success", "200", 1, lasts) | _requests("failure", "500", 0, lasts, rule.least_bad - 1)
    tests = [
        _case("all requests fail", _requests("failure", "500", 60, lasts), lasts, pages),
        _case("none fails", _requests("success", "200", 60, lasts), lasts, {any_burn: 0, silent: 0, blind: 0}),
        _case("a few fail while little is asked", few, lasts, {any_burn: 0}),
        _case("nobody has asked yet", _requests("success", "200", 0, lasts), lasts, {silent: 0, blind: 0}),
        _case("no sidecar answers", {}, 2 * _LOOK, {silent: 0, blind: 1}),
    ]
    if quiet is not None:
        # The clock of a case begins at midnight UTC: with hours it is only known that nobody is told too early.
        asked, still = _requests("success", "200", 1, lasts), 2 * rule.silence // _LOOK * _LOOK + 2 * _LOOK
        stopped = dict.fromkeys(asked, f"0+1x30 30x{still // _STEP}") | {
            f'up{{job="{JOB}"}}': f"1x{still // _STEP + 31}"
        }
        if quiet.hours is None:
            tests.append(_case("nobody asks any more", stopped, still + 1800, {silent: 1, blind: 0}))
        tests.append(_case("nobody asks for a while", stopped, rule.silence // 2 // _LOOK * _LOOK, {silent: 0}))
    order = {"evaluation_interval": f"{_LOOK}s", "rule_files": [rules_file]}
    return str(yaml.safe_dump(order | {"tests": tests}, sort_keys=False, width=1000))


_FIRING = 'ALERTS{alertstate="firing"'


def _requests(outcome: str, code: str, each: int, lasts: int, then: int = 0) -> dict[str, str]:
    """Counters of so many requests a minute; `then`: so many more at half time."""
    steps = lasts // _STEP
    half = steps // 2
    values = f"0+{each}x{half - 1} {each * half + then}+{each}x{steps - half}"
    labels = f'client="user",endpoint="GET /",outcome="{outcome}"'
    timed = f'{labels},upstream="{outcome}"'
    return {
        f'up{{job="{JOB}"}}': f"1x{steps}",
        f'understudy_requests_total{{{labels},method="GET",code="{code}",answered_by="understudy"}}': values,
        f"understudy_upstream_requests_total{{{labels}}}": values,
        f"understudy_request_duration_seconds_count{{{timed}}}": values,
        f'understudy_request_duration_seconds_bucket{{{timed},le="3.0"}}': values,
    }


def _case(name: str, series: dict[str, str], lasts: int, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": f"{_STEP}s",
        "input_series": [{"series": labels, "values": values} for labels, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({alerts}) or vector(0)",
                "eval_time": f"{lasts}s",
                "exp_samples": [{"labels": "{}", "value": count}],
            }
            for alerts, count in counts.items()
        ],
    }
