"""What was promised: each objective in both views, its budget as a burn-down, burn rates against their thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Final

from dash import html

from alerts.objectives.model import Objective
from dashboard.context import Parts
from dashboard.data.slo_figures import Rate, Standing
from dashboard.ui import charts, components
from dashboard.values import budgets, time_format, tones
from sidecar.timeunits import spelled

LOW: Final = Fraction(1, 4)
"""The share of a budget below which it is worth a look."""


def card(parts: Parts) -> components.Part:
    """Raises StoreUnavailable."""
    standings = parts.counted.standings([each for each in parts.promised.promises if not each.each])
    told = html.P(
        "A budget is the share of requests that may fail over an objective's period. Burn rate 1 uses it up in just "
        "that period; an alert needs both of its windows above the threshold.",
        className="quiet",
    )
    groups = groupby(standings, key=lambda each: (each.promise.objective.slo, each.promise.objective.name))
    whole = sorted((list(both) for _, both in groups), key=_left)
    shown = [_objective(parts, number, both) for number, both in enumerate(whole)]
    return components.card("Objectives", told, html.Div(shown, className="objectives"), ident="objectives")


def _left(both: Sequence[Standing]) -> tuple[bool, Fraction]:
    """The least budget first; what is not known comes last."""
    known = [each.left for each in both if each.left is not None]
    return not known, min(known, default=Fraction(1))


def _objective(parts: Parts, number: int, both: Sequence[Standing]) -> components.Part:
    promise = both[0].promise
    of = promise.objective
    sides = [part for each in both for part in _side(parts, each)]
    courses: dict[str, Sequence[tuple[int, float]]] = {
        each.promise.objective.view: each.burn_down for each in both if each.burn_down
    }
    return html.Article(
        [
            html.H3(promise.title),
            html.P(f"promised: {float(100 * of.target):.10g}% {_period(of)}", className="quiet"),
            html.Dl(sides, className="sides"),
            _course(parts, f"burn-down-{number}", promise.title, courses),
            _rates(parts, both),
        ],
        className="objective",
    )


def _period(of: Objective) -> str:
    return f"over {spelled(of.period)}" if of.calendar is None else of.calendar.named


def _name(parts: Parts, view: str) -> str:
    return "Users got" if view == "users" else f"{parts.api} gave"


def _side(parts: Parts, standing: Standing) -> list[components.Part]:
    """One view: its share, and what is left of its budget."""
    share, counts = standing.share, standing.tally.counts
    got = "no requests" if share is None else components.percent(float(share))
    missed = f"{components.number(counts.bad)} of {components.number(counts.total)} bad" if counts.total else ""
    state, words = budget(standing.left)
    name = _name(parts, standing.promise.objective.view)
    return [
        html.Dt(name),
        html.Dd(html.Strong(got)),
        html.Dd(html.Small(missed)),
        html.Dd(components.mark(state, words)),
    ]


def budget(left: Fraction | None) -> tuple[str, str]:
    """What is left of an error budget, as a state and in words; unknown is not good."""
    if left is None:
        return tones.UNKNOWN, "budget not known"
    if left <= 0:
        return tones.BAD, budgets.over(left) if left < 0 else "budget spent"
    return (tones.WARN if left < LOW else tones.GOOD), f"{components.percent(float(left), 1)} of budget left"


def _course(parts: Parts, ident: str, title: str, courses: dict[str, Sequence[tuple[int, float]]]) -> components.Part:
    if not courses:
        return components.empty("No requests in the period", "Its budget is not known.")
    times = [at for at, _ in next(iter(courses.values()))][::5]
    left = {view: dict(points) for view, points in courses.items()}
    rows = [
        (time_format.day_and_time(at, parts.zone), *(components.percent(left[view][at], 1) for view in courses))
        for at in times
    ]
    columns = [f"time, {time_format.zone_name(times[-1], parts.zone)}", *(_name(parts, view) for view in courses)]
    table = components.table(f"Error budget left: {title}", columns, rows, tuple(range(1, len(columns))))
    return components.graph(
        ident, charts.burn_down(courses, parts.zone, parts.api), f"Error budget left: {title}", table
    )


def _rates(parts: Parts, both: Sequence[Standing]) -> components.Part:
    rows = []
    for rates in zip(*(each.rates for each in both), strict=True):
        window = rates[0].window
        spans = f"{spelled(window.long)} / {spelled(window.short)}"
        rows.append((spans, f"{float(window.factor):g} ({window.severity})", *(_rate(rate) for rate in rates)))
    columns = ["windows", "alerts above", *(_name(parts, each.promise.objective.view) for each in both)]
    return components.table(f"Burn rates against their thresholds: {both[0].promise.title}", columns, rows)


def _rate(rate: Rate) -> components.Part:
    state = {
        None: tones.UNKNOWN,
        True: tones.BAD if rate.window.severity == "page" else tones.WARN,
        False: tones.GOOD,
    }
    words = _figures((rate.long, rate.short))
    return components.mark(state[rate.exceeded], words)


def _figures(rates: Iterable[Fraction | None]) -> str:
    return " / ".join("no requests" if rate is None else budgets.times(rate) for rate in rates)
