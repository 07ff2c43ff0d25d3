"""The backtest: what the alert rules would have said of what was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from dash import Input, Output, State, html

from alerts import backtest
from alerts.backtest import Fired, Incident
from dashboard import alerting, ui, when
from dashboard.access import Role
from dashboard.guard import Callbacks
from dashboard.parts import Parts
from dashboard.promised import Busy
from dashboard.shield import guarded
from dashboard.when import DAY, MINUTE, SECOND

SPANS: Final = {"1": "last 24 hours", "7": "last 7 days", "30": "last 30 days"}
SHOWN: Final = 50
KEEP: Final = 60.0
"""Seconds for which the same backtest is not made again."""


def card() -> ui.Part:
    return ui.card(
        "Backtest",
        html.P("What the rules would have alerted over what was recorded, and how soon.", className="quiet"),
        html.Div(
            [
                ui.choice("b-span", "Over", list(SPANS.items()), "1"),
                html.Button("Replay", id="b-run", type="button"),
            ],
            className="inline",
        ),
        html.Div(id="b-found", role="status", **{"aria-live": "polite"}),
        ident="backtest",
    )


def found(parts: Parts, days: int, now: int) -> ui.Part:
    """Raises StoreUnavailable."""
    since = now - days * DAY

    def make() -> Sequence[Fired]:
        return parts.promised.replay(parts.store, since, now)

    try:
        fired: Sequence[Fired] = parts.queries.kept(("backtest", days), KEEP, make)
    except Busy:
        return ui.notice(ui.WARN, "A backtest is under way", "Try again when it is done.")
    over = f"{when.day_and_time(since, parts.zone)} to {when.day_and_time(now, parts.zone)}"
    over = f"{over}, {when.zone_name(now, parts.zone)}"
    if not fired:
        return ui.empty("No alert would have fired", f"From {over}.")
    made = backtest.incidents(fired)
    rows = [_row(parts, each) for each in reversed(made)][:SHOWN]
    columns = [f"from, {when.zone_name(now, parts.zone)}", "of", "told", "first page", "lasted", "first told", "why"]
    rest = html.P(f"and {len(made) - SHOWN} before these") if len(made) > SHOWN else None
    said = f"{ui.many(len(made), 'incident')}, {_severities(fired)} would have fired"
    return html.Div(
        [
            html.P([html.Strong(said), f" from {over}."]),
            ui.table("Alerts that would have fired, by incident", columns, rows),
            rest,
        ]
    )


def _severities(fired: Sequence[Fired]) -> str:
    counts = Counter(each.finding.severity for each in fired)
    return " and ".join(ui.many(counts[severity], severity) for severity in ("page", "ticket") if counts[severity])


def _row(parts: Parts, incident: Incident) -> Sequence[ui.Part]:
    first = incident.alerts[0]
    of, after = first.finding, incident.paged_after
    labels = {"slo": of.slo, "view": of.view, "endpoint": of.endpoint or "all"}
    called = (
        alerting.title(parts.promised, "ErrorBudgetBurn", labels) if of.window != "silence" else "No requests arrive"
    )
    holds = any(each.ended is None for each in incident.alerts)
    return (
        when.day_and_time(incident.start * SECOND, parts.zone),
        alerting.whose(incident.view),
        _severities(incident.alerts),
        "none" if after is None else f"after {when.took(after * SECOND)}",
        "still holds" if holds else when.took((incident.stop - incident.start) * SECOND),
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
