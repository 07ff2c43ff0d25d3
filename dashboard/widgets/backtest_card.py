"""The backtest: what the alert rules would have said of what was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from dash import Input, Output, State, html

from alerts.backtest import incidents
from alerts.backtest.incidents import Fired, Incident
from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts
from dashboard.data import alert_titles
from dashboard.data.objectives import Busy
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from sidecar.timeunits import DAY, MINUTE, SECOND

SPANS: Final = {"1": "last 24 hours", "7": "last 7 days", "30": "last 30 days"}
SHOWN: Final = 50
KEEP: Final = 60.0
"""Seconds for which the same backtest is not made again."""


def card() -> components.Part:
    return components.card(
        "Backtest",
        html.P("What the rules would have alerted over what was recorded, and how soon.", className="quiet"),
        html.Div(
            [
                components.choice("b-span", "Over", list(SPANS.items()), "1"),
                html.Button("Replay", id="b-run", type="button"),
            ],
            className="inline",
        ),
        html.Div(id="b-found", role="status", **{"aria-live": "polite"}),
        ident="backtest",
    )


def found(parts: Parts, days: int, now: int) -> components.Part:
    """Raises StoreUnavailable."""
    since = now - days * DAY

    def make() -> Sequence[Fired]:
        return parts.promised.replay(parts.store, since, now)

    try:
        fired: Sequence[Fired] = parts.queries.kept(("backtest", days), KEEP, make)
    except Busy:
        return components.notice(tones.WARN, "A backtest is under way", "Try again when it is done.")
    over = f"{time_format.day_and_time(since, parts.zone)} to {time_format.day_and_time(now, parts.zone)}"
    over = f"{over}, {time_format.zone_name(now, parts.zone)}"
    if not fired:
        return components.empty("No alert would have fired", f"From {over}.")
    made = incidents.incidents(fired)
    rows = [_row(parts, each) for each in reversed(made)][:SHOWN]
    columns = [
        f"from, {time_format.zone_name(now, parts.zone)}",
        "of",
        "told",
        "first page",
        "lasted",
        "first told",
        "why",
    ]
    rest = html.P(f"and {len(made) - SHOWN} before these") if len(made) > SHOWN else None
    said = f"{components.many(len(made), 'incident')}, {_severities(fired)} would have fired"
    return html.Div(
        [
            html.P([html.Strong(said), f" from {over}."]),
            components.table("Alerts that would have fired, by incident", columns, rows),
            rest,
        ]
    )


def _severities(fired: Sequence[Fired]) -> str:
    counts = Counter(each.finding.severity for each in fired)
    return " and ".join(
        components.many(counts[severity], severity) for severity in ("page", "ticket") if counts[severity]
    )


def _row(parts: Parts, incident: Incident) -> Sequence[components.Part]:
    first = incident.alerts[0]
    of, after = first.finding, incident.paged_after
    labels = {"slo": of.slo, "view": of.view, "endpoint": of.endpoint or "all"}
    called = (
        alert_titles.title(parts.promised, "ErrorBudgetBurn", labels)
        if of.window != "silence"
        else "No requests arrive"
    )
    holds = any(each.ended is None for each in incident.alerts)
    return (
        time_format.day_and_time(incident.start * SECOND, parts.zone),
        alert_titles.whose(incident.view, parts.api),
        _severities(incident.alerts),
        "none" if after is None else f"after {time_format.took(after * SECOND)}",
        "still holds" if holds else time_format.took((incident.stop - incident.start) * SECOND),
        called,
        of.reason,
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.OPERATOR,
        Output("b-found", "children"),
        Input("b-run", "n_clicks"),
        State("b-span", "value"),
        running=[(Output("b-run", "disabled"), True, False), (Output("b-run", "children"), "Replaying …", "Replay")],
        prevent_initial_call=True,
    )
    def replay(_clicks: int, span: str) -> Any:
        days = int(span) if span in SPANS else 1
        now = parts.clock() // MINUTE * MINUTE
        return guarded(lambda: found(parts, days, now))
