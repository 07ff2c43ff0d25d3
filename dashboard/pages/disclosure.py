"""Who looked at this patient? One patient's access log, signed, also for who may read nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from dash import Input, Output, State, html, no_update

from dashboard.auth.authorization import HOME, Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit, visit
from dashboard.data.disclosure import AccessLog
from dashboard.data.signed_lines import Unfit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.widgets import signed_files


def draw(parts: Parts, asked: Visit) -> components.Part:
    given = {key: values[0] for key, values in parse_qs(asked.query.lstrip("?")).items()}
    if not (ident := given.get("id", "")):
        return _front(parts, asked, given.get("patient", ""))
    log = parts.disclosures.find(ident, asked.who.only_own)
    if log is None:
        return [html.H1("Access log of a patient"), components.notice(tones.BAD, "There is no such access log")]
    parts.trail.look(asked.who, asked.address, "look", f"access log {log.id} of patient {log.subject}")
    return _log(log)


def _front(parts: Parts, asked: Visit, patient: str) -> components.Part:
    now = parts.clock()
    zone = time_format.zone_name(now, parts.zone)
    since = time_format.field_value(time_format.midnight(now, parts.zone, -365), parts.zone)
    until = time_format.field_value(time_format.midnight(now, parts.zone, 1), parts.zone)
    form = html.Form(
        [
            html.Div(
                [
                    components.field("dl-patient", "Patient number", patient, maxLength=200, autoComplete="off"),
                    components.field("dl-reason", "Reason", "", "who asked for it, and when", maxLength=500),
                    components.field("dl-start", f"From ({zone})", since, type="datetime-local", step="1"),
                    components.field("dl-end", f"To ({zone})", until, type="datetime-local", step="1"),
                ],
                className="fields",
            ),
            html.Button("Make the access log", id="dl-make", type="button", className="primary"),
        ]
    )
    rows = [
        (
            components.link(f"Patient {log.subject}", f"{HOME}?id={log.id}"),
            log.user,
            time_format.day_and_time(log.at, parts.zone),
            components.number(int(log.head["accesses"])),
            log.head["reason"],
        )
        for log in parts.disclosures.latest(asked.who.only_own)
    ]
    parts.trail.look(asked.who, asked.address, "look", "the list of access logs")
    columns = ["of", "made by", f"made, {zone}", "accesses", "reason"]
    listed = components.table("Access logs", columns, rows, (3,)) if rows else components.empty("None yet")
    return [
        html.H1("Access log of a patient"),
        html.P("Who opened or changed what is about one patient, when and from where; not what it says. Signed."),
        components.card("Make one", form, html.Div(id="dl-said", role="status"), ident="make"),
        components.card("Made before", listed, ident="made"),
    ]


def _log(log: AccessLog) -> components.Part:
    head, address = log.head, f"{HOME}/file?id={log.id}"
    facts = [
        ("Time", f"{head['from']} to {head['to']}"),
        ("Made", f"{head['made_at']} by {head['made_by']}: {head['reason']}"),
        ("Accesses", f"{components.many(int(head['accesses']), 'time')}, people: {head['people']}"),
        ("Left out", head["left_out"]),
    ]
    rows = [_row(row) for row in log.rows]
    columns = ["time", "person", "did", "outcome", "from", "event"]
    table = components.table("Accesses", columns, rows) if rows else components.empty("Nobody, in this time")
    return [
        html.H1(f"Who accessed Patient {log.subject}"),
        html.Dl([html.Div([html.Dt(name), html.Dd(said)]) for name, said in facts], className="pack"),
        components.card("Files", signed_files.listed(address), ident="files"),
        components.card("Accesses", table, ident="accesses"),
        html.P(components.link("Another one", HOME)),
    ]


def _row(row: Mapping[str, Any]) -> tuple[components.Part, ...]:
    who = [row["who"], html.Span(" break-glass", className="tag page")] if row["break_glass"] else row["who"]
    return row["time"], who, row["did"], row["outcome"], row["from"] or "–", row["event"]


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.DISCLOSURE,
        Output("dl-said", "children"),
        Input("dl-make", "n_clicks"),
        *(State(f"dl-{name}", "value") for name in ("patient", "reason", "start", "end")),
        prevent_initial_call=True,
    )
    def make(clicks: int | None, patient: str | None, reason: str | None, start: str | None, end: str | None) -> Any:
        if not clicks:
            return no_update
        asked = visit(HOME)

        def made() -> components.Part:
            try:
                since = time_format.parse(start or "", parts.zone)
                until = time_format.parse(end or "", parts.zone)
            except ValueError as error:
                return components.notice(tones.BAD, "Not made", str(error))
            parts.trail.note(asked.who, asked.address, "disclosure", f"patient {patient}", reason or "", "begun")
            try:
                log = parts.disclosures.make(asked.who.user, patient or "", since, until, reason or "")
            except Unfit as error:
                return components.notice(tones.BAD, "Not made", str(error))
            parts.trail.note(asked.who, asked.address, "disclosure", f"{log.id}: patient {log.subject}", reason or "")
            link = components.link(f"Open the access log of patient {log.subject}", f"{HOME}?id={log.id}")
            return components.notice(tones.GOOD, "Made and signed", link)

        return guarded(made)


PAGE: Final = Page(HOME, "Access log", Role.DISCLOSURE, draw, wire, in_menu=False)
"""Kept from the menu of who has it among other pages: they reach it from the audit."""
