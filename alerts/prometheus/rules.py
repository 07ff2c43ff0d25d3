"""Prometheus recording and alerting rules of the same promises, windows and guards. Pure.

They decide as `burn_rules` does but for this: PromQL has no binomial distribution, so Chernoff's bound stands in for
the exact one. It never says yes where the exact one says no; near the threshold it says yes some requests later. And
Prometheus' own `increase` does not see a series' first value: of a failure never seen before the first scrape's worth
is missed. A ticket for an upstream that is not asked any more ends with its windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from math import log
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from alerts.counting.counts import is_good
from alerts.objectives.model import Objective, View, Window
from alerts.objectives.openslo import Promise
from alerts.rules.burn_rules import Rule
from alerts.rules.counters import expressible
from alerts.rules.evaluation import Levels
from alerts.rules.silence import ALWAYS
from sidecar.settings.parsers import Quiet

BAD: Final = "understudy:slo_bad:increase"
ALL: Final = "understudy:slo_requests:increase"
COVERS: Final = "understudy:standby_covers"
JOB: Final = "understudy"
_OUTCOMES: Final = ("success", "failure", "unknown")
_ANSWERERS: Final = ("upstream", "standby", "understudy")
_UP: Final = f'sum(up{{job="{JOB}"}} == 1)'


def rules(
    promises: Sequence[Promise],
    by_period: Levels,
    rule: Rule,
    calls: Sequence[str] = (),
    more: Sequence[dict[str, Any]] = (),
    keep: int = 0,
    quiet: Quiet | None = ALWAYS,
    zone: str = "UTC",
    runbooks: str = "alerts/runbooks",
) -> str:
    """A rule file, with `more` groups behind these. `calls`: endpoints that no standby could ever answer. `keep`:
    seconds for which an alert goes on after it was last seen to hold. `quiet`: when it is news that nobody asks, in
    hours of `zone` as they are today (PromQL knows UTC alone); None: never.

    Raises ValueError for a rule out of range.
    """
    kept = [promise for promise in promises if expressible(promise)]
    left = sorted({promise.objective.slo for promise in promises if not expressible(promise)})
    mute = [
        f"# {of.slo}/{of.name}: no alert at {float(level.factor):g} times the budget of {float(of.budget):g}: that is "
        "more than all requests.\n"
        for of in dict.fromkeys(_every_endpoint(promise.objective) for promise in kept) if of.view == "users"
        for level in by_period[of.period] if not can_fire(level, of)
    ]  # fmt: skip
    note = f"# Not here, since the metrics cannot tell: {', '.join(left)}.\n" if left else ""
    groups: dict[int, list[dict[str, Any]]] = {}
    for promise in kept:
        period, levels = promise.objective.period, by_period[promise.objective.period]
        spans = {span for level in levels for span in (level.long, level.short)} | {rule.silence}
        for span in sorted(spans):
            groups.setdefault(_pace(span, period), []).extend(records(promise, span))
    counted = [
        {"name": f"understudy-slo-counts-{pace}s", "interval": f"{pace}s", "rules": records}
        for pace, records in sorted(groups.items())
    ]
    pace = min(groups, default=15)
    covers = {"name": "understudy-slo-standby", "interval": f"{pace}s", "rules": list(_covers(calls))}
    lasting = {"keep_firing_for": f"{keep}s"} if keep else {}
    told = [_linked(alert, runbooks) | lasting for alert in _alerts(kept, by_period, rule, quiet, zone)]
    alerts = {"name": "understudy-slo-alerts", "interval": f"{pace}s", "rules": told}
    return (
        note
        + "".join(mute)
        + str(yaml.safe_dump({"groups": [covers, *counted, alerts, *more]}, sort_keys=False, width=1000))
    )


def of_job(text: str, job: str) -> str:
    """The rules, or their cases, for sidecars that are scraped under another job. Raises ValueError."""
    if not re.fullmatch(r"[\w.:/-]+", job):
        raise ValueError(f"PROMETHEUS_JOB: expected letters, digits and . : / - _; found {job!r}")
    return text.replace(f'job="{JOB}"', f'job="{job}"')


def _pace(span: int, period: int) -> int:
    """Seconds between evaluations: of 30 days 15 s for windows up to an hour; at most two minutes, or it would go
    stale."""
    finest = max(1, 15 * period // (30 * 86400))
    return max(finest, min(120, span // 240))


def _covers(calls: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Whether the standby would answer users of an endpoint, and of all that it ever could."""
    able = ",".join(f'endpoint!="{name}"' for name in calls)
    yield {"record": COVERS, "expr": "min by (endpoint) (understudy_standby_ready)"}
    yield {"record": COVERS, "expr": f"min(understudy_standby_ready{{{able}}})", "labels": {"endpoint": "all"}}


def records(promise: Promise, span: int) -> Iterator[dict[str, Any]]:
    """How many requests of the last so many seconds were bad, and how many there were."""
    of = promise.objective
    labels = {
        "slo": of.slo, "objective": of.name, "view": of.view, "endpoint": of.endpoint or "all", "window": f"{span}s",
    }  # fmt: skip
    bad, good = _parts(promise, span, False), _parts(promise, span, True)
    slow = [] if promise.within is None else [_slow(promise, span)]
    yield {"record": BAD, "expr": " + ".join([*bad, *slow]) or "vector(0)", "labels": labels}
    yield {"record": ALL, "expr": " + ".join([*bad, *good]), "labels": labels}


def _where(of: Objective) -> str:
    endpoint = 'endpoint!="other"' if of.endpoint is None else f'endpoint="{of.endpoint}"'
    return f'client="user",{endpoint}'


def _parts(promise: Promise, span: int, good: bool) -> list[str]:
    """Sums of requests that are good, or not, however long they took; no request is in two of them."""
    found = []
    for outcome in _OUTCOMES:
        if promise.objective.view == "hosp":
            if is_good(outcome, "upstream", promise.good) is good:
                found.append(_sum("understudy_upstream_requests_total", promise, f',outcome="{outcome}"', span))
            continue
        answerers = [each for each in _ANSWERERS if is_good(outcome, each, promise.good) is good]
        if answerers:
            stayed = ',code!="499"' if outcome == "unknown" else ""
            who = "" if len(answerers) == len(_ANSWERERS) else f',answered_by=~"{"|".join(answerers)}"'
            found.append(_sum("understudy_requests_total", promise, f',outcome="{outcome}"{stayed}{who}', span))
    return found


def _slow(promise: Promise, span: int) -> str:
    """Those that would be good but for their duration: of the same series, so that both are cut at the same scrape."""
    label = "upstream" if promise.objective.view == "hosp" else "outcome"
    good = [each for each in _OUTCOMES if is_good(each, "upstream", promise.good)]
    well = f',{label}=~"{"|".join(good)}"'
    bound = (promise.within or 0) / 1e9
    every = _sum("understudy_request_duration_seconds_count", promise, well, span)
    quick = _sum("understudy_request_duration_seconds_bucket", promise, f'{well},le=~"{bound:g}|{bound}"', span)
    return f"clamp_min({every} - {quick}, 0)"


def _sum(metric: str, promise: Promise, labels: str, span: int) -> str:
    return f"(sum(increase({metric}{{{_where(promise.objective)}{labels}}}[{span}s])) or vector(0))"


def _alerts(
    promises: Iterable[Promise], by_period: Levels, rule: Rule, quiet: Quiet | None, zone: str
) -> Iterator[dict[str, Any]]:
    """One for each objective, view and severity, as `evaluate` has them; while the standby covers, the upstream's is a
    ticket."""
    whole = None
    for of in dict.fromkeys(_every_endpoint(promise.objective) for promise in promises):
        levels = by_period[of.period]
        pages, tickets = (_any([each for each in levels if each.severity == s], of, rule) for s in ("page", "ticket"))
        covered = f"on (endpoint) ({COVERS} == 1)"
        if of.view == "hosp":
            tickets = _or([tickets, f"({pages} and {covered})" if pages else ""])
            pages = f"({pages}) unless {covered}" if pages else ""
        for severity, expression in (("page", pages), ("ticket", tickets)):
            if expression:
                yield _alert(of, severity, expression)
        if of.view == "users" and whole is None:
            whole = f'{{slo="{of.slo}",objective="{of.name}",view="users",endpoint="all",window="{rule.silence}s"}}'
    if whole is not None and quiet is not None:
        yield {
            "alert": "NoTraffic",
            "expr": f"sum({ALL}{whole}) == 0{_news(quiet, zone)}",
            "labels": {"severity": "ticket"},
            "annotations": {"summary": f"no request in {rule.silence} s"},
        }
    yield {
        "alert": "NoData",
        "expr": f"({_UP} or vector(0)) == 0",
        "for": "1m",
        "labels": {"severity": "ticket"},
        "annotations": {"summary": "no sidecar answers Prometheus: nothing is known of its requests"},
    }


def _news(quiet: Quiet, zone: str) -> str:
    """Only after a first request, once it was watched for so long, and where all of the silence lies in its hours."""
    span = f"{quiet.seconds}s"
    asked = f'sum(understudy_requests_total{{client="user"}} offset {span}) > 0'
    said = f' and on () (min(min_over_time(up{{job="{JOB}"}}[{span}])) == 1) and on () ({asked})'
    if quiet.hours is None:
        return said
    ahead = datetime.now(ZoneInfo(zone)).utcoffset() or timedelta()
    start, end = ((minutes * 60 - int(ahead.total_seconds())) % 86400 for minutes in quiet.hours)
    open_for = (end - start) % 86400 or 86400
    since = f"((vector(time()) - {start}) % 86400)"
    return f"{said} and on () ({since} >= {quiet.seconds}) and on () ({since} <= {open_for})"


def _linked(alert: dict[str, Any], runbooks: str) -> dict[str, Any]:
    return alert | {"annotations": alert["annotations"] | {"runbook_url": f"{runbooks}/{alert['alert']}.md"}}


def _every_endpoint(of: Objective) -> Objective:
    return Objective(of.slo, of.name, of.target, of.period, of.view)


def _alert(of: Objective, severity: str, expression: str) -> dict[str, Any]:
    who: dict[View, str] = {"users": "users", "hosp": "the upstream"}
    return {
        "alert": "ErrorBudgetBurn",
        "expr": expression,
        "labels": {"severity": severity, "slo": of.slo, "objective": of.name, "view": of.view},
        "annotations": {
            "summary": f"{who[of.view]}: the error budget of {of.slo} goes too fast",
            "description": "{{ $labels.endpoint }}: {{ $value | humanizePercentage }} bad",
        },
    }


def _any(levels: Iterable[Window], of: Objective, rule: Rule) -> str:
    """Whether any of these levels holds; its value is the share of bad requests in the long window."""
    return _or([_level(level, of, rule) for level in levels if can_fire(level, of)])


def can_fire(level: Window, of: Objective) -> bool:
    """Whether so many times the budget's pace is less than all requests failing."""
    return level.factor * of.budget < 1


def _or(expressions: Iterable[str]) -> str:
    kept = [each for each in expressions if each]
    return f"max without (window) ({' or '.join(kept)})" if kept else ""


def _level(level: Window, of: Objective, rule: Rule) -> str:
    share = float(level.factor * of.budget)
    labels = f'slo="{of.slo}",objective="{of.name}",view="{of.view}"'
    long, short = (f'{{{labels},window="{span}s"}}' for span in (level.long, level.short))
    bad, every = f"{BAD}{long}", f"{ALL}{long}"
    good = f"clamp_min({every} - {bad}, 1e-9)"
    surprise = (
        f"{bad} * ln({bad} / ({every} * {share!r})) + {good} * ln({good} / ({every} * {1 - share!r}))"
        f" >= {-log(1 - float(rule.confidence)):.6f}"
    )
    return (
        f"({bad} / {every} > {share!r} and ignoring (window) ({BAD}{short} / {ALL}{short} > {share!r})"
        f" and ({bad} >= {rule.least_bad}) and ({surprise}))"
    )
