"""The backtest: what the alert rules would have said of what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dash import Input, Output, State, html

from alerts.backtest import Fired
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
        html.P(
            "What the rules would have alerted over what was recorded, evaluated minute by minute.", className="quiet"
        ),
        html.Div(
            [
                ui.choice("b-span", "Over", list(SPANS.items()), "7"),
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
    counts = {severity: sum(each.finding.severity == severity for each in fired) for severity in ("page", "ticket")}
    said = " and ".join(ui.many(count, severity) for severity, count in counts.items() if count)
    rows = [_row(parts, each) for each in reversed(fired)][:SHOWN]
    columns = [f"from, {when.zone_name(now, parts.zone)}", "severity", "alert", "lasted", "windows", "why"]
    rest = html.P(f"and {len(fired) - SHOWN} before these") if len(fired) > SHOWN else None
    return html.Div(
        [
            html.P([html.Strong(f"{said} would have fired"), f" from {over}."]),
            ui.table("Alerts that would have fired", columns, rows),
            rest,
        ]
    )


def _row(parts: Parts, fired: Fired) -> Sequence[ui.Part]:
    of = fired.finding
    labels = {"slo": of.slo, "view": of.view, "endpoint": of.endpoint or "all"}
    ended = fired.ended
    lasted = "still holds" if ended is None else when.took((ended - fired.began) * SECOND)
    return (
        when.day_and_time(fired.began * SECOND, parts.zone),
        of.severity,
        alerting.title(parts.promised, "ErrorBudgetBurn", labels),
        lasted,
        alerting.windows(of.window),
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
        days = int(span) if span in SPANS else 7
        now = parts.clock() // MINUTE * MINUTE
        return guarded(lambda: found(parts, days, now))
