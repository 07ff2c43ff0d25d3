"""An incident: what users cannot do, since when, who covers it, the budget, what changed before, and the next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from dash import html

from alerts import message
from alerts.lifecycle.lifecycle import Alert, State
from dashboard.context import Parts
from dashboard.data import alert_titles, incidents
from dashboard.data.incidents import Incident
from dashboard.data.slo_figures import Course
from dashboard.data.timeline import Moment
from dashboard.ui import charts, components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.widgets import action_dialog, objectives_card
from sidecar.timeunits import spelled

OFFERED: Final = 3
"""Endpoints for which a takeover is offered at once."""
GRAPHED: Final = 6 * 3600
"""Seconds of burn rate that are drawn."""


def card(
    parts: Parts,
    incident: Incident,
    states: Sequence[Mapping[str, Any]] | None,
    moments: Sequence[Moment],
    now: int,
    alert: Callable[[Alert], components.Part],
) -> components.Part:
    """`states`: the endpoints as the control plane tells of them, None where it does not answer."""
    number = len(incident.alerts)
    listed = [alert(each) for each in incident.alerts]
    alerts = listed[0] if number == 1 else html.Details([html.Summary(f"{number} alerts of this incident"), *listed])
    severity = "page" if incident.page else "ticket"
    heading = html.H3([html.Span(severity, className=f"tag {severity}"), " ", title(parts, incident)])
    return html.Article(
        [
            heading,
            _buttons(parts, incident, states),
            html.Dl(
                [
                    html.Div([html.Dt(name), html.Dd(said)])
                    for name, said in _facts(parts, incident, states, moments, now)
                ]
            ),
            _first(incident),
            _rates(parts, incident) if incident.burns else None,
            alerts,
        ],
        className=f"incident {severity}",
        id=f"i-{incident.key}",
    )


def title(parts: Parts, incident: Incident) -> str:
    """What users cannot do, or what is wrong."""
    cannot = incidents.cannot(parts.contract, incident.hurt)
    if cannot:
        few = ", ".join(cannot[:3]) + (f" and {len(cannot) - 3} more" if len(cannot) > 3 else "")
        return f"Users cannot reliably {few}"
    if incident.burns:
        return "Users get errors" if incident.users_suffer else f"{parts.api} fails; users are still served"
    first = incident.alerts[0]
    return alert_titles.title(parts.promised, first.name, first.labels)


def _buttons(parts: Parts, incident: Incident, states: Sequence[Mapping[str, Any]] | None) -> components.Part:
    buttons: list[components.Part] = []
    if incident.open:
        buttons.append(action_dialog.at_once("acknowledge-incident", incident.key, title(parts, incident)))
    helped = [state for state in states or () if state["name"] in incident.hurt and _helps(state)]
    buttons += [action_dialog.button("takeover", state["id"], state["name"]) for state in helped[:OFFERED]]
    return html.Div(buttons, className="buttons") if buttons else None


def _helps(state: Mapping[str, Any]) -> bool:
    """Whether a takeover by hand changes anything, and for the better."""
    return bool(state["ready"]) and state["answered_by"] != "standby"


def _facts(
    parts: Parts,
    incident: Incident,
    states: Sequence[Mapping[str, Any]] | None,
    moments: Sequence[Moment],
    now: int,
) -> list[tuple[str, components.Part]]:
    since = f"{time_format.stamp(incident.since, parts.zone)}, {time_format.ago(incident.since, now)}"
    found: list[tuple[str, components.Part]] = [("Since", since), ("Who works on it", _workers(incident))]
    if incident.hurt:
        found.append(("Who covers", _cover(parts, incident, states)))
    if incident.budget is not None:
        found.append(("Error budget", components.mark(*objectives_card.budget(Fraction(incident.budget)))))
    changed = incidents.changed(moments, incident.since)
    lines = [html.Li(f"{time_format.clock(each.at, parts.zone)} {each}") for each in changed[:5]]
    found.append(("Changed in the hour before", html.Ul(lines, className="plain") if lines else "nothing is recorded"))
    return found


def _workers(incident: Incident) -> components.Part:
    if incident.open:
        return components.mark(tones.BAD if incident.page else tones.WARN, "unacknowledged")
    names = dict.fromkeys(each.acknowledged_by for each in incident.alerts if each.state is State.ACKNOWLEDGED)
    return ", ".join(name for name in names if name) or "silenced"


def _cover(parts: Parts, incident: Incident, states: Sequence[Mapping[str, Any]] | None) -> components.Part:
    if states is None:
        return components.mark(tones.UNKNOWN, "not known: the control plane does not answer")
    known = incidents.covered(states, incident.hurt, parts.api)
    lines = [html.Li(f"{name}: {known[name][1]}" if name in known else f"{name}: not known") for name in incident.hurt]
    return html.Ul(lines, className="plain")


def _first(incident: Incident) -> components.Part:
    """The runbook's first step."""
    try:
        first, _, _ = (message.RUNBOOKS / f"{incident.alerts[0].name}.md").read_text().partition("\n")
    except OSError:
        return None
    return html.P([html.Strong("First: "), *with_commands(first.removeprefix("First: "))], className="first")


def with_commands(text: str) -> list[components.Part]:
    """What is between backticks is for a terminal."""
    return [html.Code(word) if n % 2 else word for n, word in enumerate(text.split("`"))]


def _rates(parts: Parts, incident: Incident) -> components.Part:
    """The burn rate of its gravest alert over both windows, against the threshold."""
    alert = next(each for each in incident.alerts if each.name == "ErrorBudgetBurn")

    def draw() -> components.Part:
        course = parts.counted.course(alert.labels, alert.notes.get("window", ""), GRAPHED)
        return _drawn(parts, course, alert) if course is not None else None

    return guarded(draw, renewed=True)


def _drawn(parts: Parts, course: Course, alert: Alert) -> components.Part:
    called = alert_titles.title(parts.promised, alert.name, alert.labels)
    spans = [spelled(each) for each in (course.window.long, course.window.short)]
    limit = f"{float(course.window.factor):g}"
    says = f"Burn rate over {spans[0]} and {spans[1]}; it alerts where both exceed {limit}. {called}"

    def words(rate: float | None) -> str:
        return "no requests" if rate is None else f"{rate:.2g}"

    rows = [
        (time_format.day_and_time(at, parts.zone), words(long), words(short)) for at, long, short in course.points[::4]
    ]
    columns = [f"time, {time_format.zone_name(course.points[-1][0], parts.zone)}", *spans]
    table = components.table(f"Burn rates: {called}", columns, rows, (1, 2))
    figure = charts.burn_rates(course.points, spans, float(course.window.factor), parts.zone)
    return components.graph(f"burn-{alert.key}", figure, says, table)
