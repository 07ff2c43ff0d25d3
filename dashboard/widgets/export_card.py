"""Export what is filtered: start it, see how far it is, fetch the file and its signed manifest."""

from __future__ import annotations

from typing import Any, Final

from dash import Input, Output, State, ctx, dcc, html

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit, visit
from dashboard.data.exports import Export
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.values.filters import View

SEPARATORS: Final = (("csv", "comma"), ("csv;", "semicolon (Excel in much of Europe)"), ("csv-tab", "tab"))


def card(parts: Parts, asked: Visit, view: View) -> components.Part:
    return components.card(
        "Export",
        html.P(
            "Exactly what is filtered above, all pages, with a manifest that is signed and says what the journal's "
            "verification found.",
            className="quiet",
        ),
        components.choice("export-separator", "CSV separator", SEPARATORS, "csv"),
        html.Div(
            [
                html.Button("Export as CSV", id="export-csv", type="button"),
                html.Button("Export as JSON Lines", id="export-jsonl", type="button"),
            ],
            className="buttons",
        ),
        html.Div(listed(parts, asked), id="exports", role="status"),
        dcc.Interval(id="export-tick", interval=1000, disabled=not _running(parts, asked)),
        ident="export",
    )


def _running(parts: Parts, asked: Visit) -> bool:
    return any(export.state == "running" for export in parts.exports.latest(asked.who.user))


def listed(parts: Parts, asked: Visit) -> list[components.Part]:
    return [_shown(parts, export) for export in parts.exports.latest(asked.who.user)[:5]]


def _shown(parts: Parts, export: Export) -> components.Part:
    form = "JSON Lines" if export.form == "jsonl" else "CSV"
    made = f"{form} of {time_format.stamp(export.at, parts.zone)}"
    if export.state == "running":
        total = max(export.total or 0, export.done)
        bar = html.Progress(value=str(export.done), max=str(max(total, 1)), **{"aria-label": made})
        words = f"{export.done:,} of {total:,} events" if export.total is not None else "counting"
        return html.P([f"{made}: ", bar, f" {words}"], className="export running")
    if export.state == "failed":
        return components.notice(tones.BAD, made, export.detail)
    address = f"/audit/export?id={export.id}"
    bad = "NOT" in export.detail
    return html.P(
        [
            components.mark(tones.BAD if bad else tones.GOOD),
            f"{made}: {export.done:,} events. ",
            html.A("The file", href=f"{address}&part=file", className="download"),
            " · ",
            html.A("its signed manifest", href=f"{address}&part=manifest", className="download"),
            html.Br(),
            html.Small(export.detail),
        ],
        className="export done",
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.AUDITOR,
        Output("exports", "children"),
        Output("export-tick", "disabled"),
        Input("export-csv", "n_clicks"),
        Input("export-jsonl", "n_clicks"),
        Input("export-tick", "n_intervals"),
        State("url", "search"),
        State("url", "pathname"),
        State("export-separator", "value"),
        prevent_initial_call=True,
    )
    def export(csv: int, jsonl: int, _tick: int, query: str | None, path: str | None, separator: str | None) -> Any:
        asked = visit(path or "/audit", query)
        said: list[components.Part] = []
        pressed = set(ctx.triggered_prop_ids.values())  # and perhaps the tick, which came at the same time
        if (csv and "export-csv" in pressed) or (jsonl and "export-jsonl" in pressed):
            form = "jsonl" if "export-jsonl" in pressed else str(separator or "csv")
            said.append(guarded(lambda: _start(parts, asked, form)))
        shown = [*said, *listed(parts, asked)]
        return shown, not _running(parts, asked)


def _start(parts: Parts, asked: Visit, form: str) -> components.Part:
    view = View.parse(asked.query).fixed(parts.clock(), parts.zone)
    view = View.parse(view.query(after=""))
    try:
        ident = parts.exports.start(asked.who.user, view, form, parts.queries.where(view, parts.clock(), parts.zone))
    except ValueError as error:
        return components.notice(tones.WARN, "Not started", str(error))
    parts.trail.note(asked.who, asked.address, "export", f"{form} {ident}: " + ", ".join(view.words(parts.api)))
    return None
