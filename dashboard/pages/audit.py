"""Who did what to which record, when, from where, how it ended and who answered; findings first.

The address is the view. Every look is written to the trail before its rows are shown.
"""

from __future__ import annotations

from typing import Any, Final

from dash import Input, Output, State, html, no_update

from dashboard import findings, ui, when
from dashboard.access import Role
from dashboard.guard import Callbacks
from dashboard.page import Page
from dashboard.pages import exporting, rows
from dashboard.parts import Parts, Visit
from dashboard.shield import guarded
from dashboard.view import ACTIONS, ANSWERERS, OUTCOMES, PERIODS, View

FIELDS: Final = (
    "period", "start", "end", "person", "patient", "action", "resource", "outcome", "answered", "address", "text"
)  # fmt: skip


def draw(parts: Parts, asked: Visit) -> ui.Part:
    view = View.parse(asked.query)
    where = view.filter(parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "the audit: " + ", ".join(view.words()))
    found = parts.queries.rows(where, rows.PAGE, view.after)
    return [
        html.H1("Who did what"),
        ui.card("Findings", html.Div(_waiting("Looking for what is unusual …"), id="findings"), ident="findings-card"),
        ui.card("Filter", _form(parts, view), ident="filter"),
        ui.card(
            "Events",
            html.Div(
                [
                    html.P(", ".join(view.words()).capitalize() + ".", className="quiet"),
                    html.P(_waiting("Counting …"), id="audit-count", role="status"),
                ]
            ),
            rows.listed(parts, found, view),
            rows.pager("/audit", view, found),
            ident="events",
        ),
        exporting.card(parts, asked, view),
        html.P(ui.link("Who looked at the audit, and what was done in the dashboard", "/audit/looks")),
    ]


def _waiting(words: str) -> html.Span:
    return html.Span(words, className="loading")


def _form(parts: Parts, view: View) -> ui.Part:
    now = parts.clock()
    zone = when.zone_name(now, parts.zone)
    people = html.Datalist(id="people")
    between = html.Div(
        [
            ui.field("f-start", f"From ({zone})", view.start, type="datetime-local", step="1"),
            ui.field("f-end", f"To ({zone})", view.end, type="datetime-local", step="1"),
        ],
        className="pair",
    )
    kinds = [("", "any"), *((name, name) for name in parts.contract.resources)]
    return html.Form(
        [
            ui.choice("f-period", "When", list(PERIODS.items()), view.period),
            between,
            html.Div(
                [
                    ui.field("f-person", "Person", view.person, list="people", autoComplete="off", maxLength=200),
                    ui.field("f-patient", "Patient number", view.patient, inputMode="numeric", maxLength=40),
                    ui.field("f-address", "Address", view.address, "IP address", maxLength=60),
                    ui.field("f-text", "Words", view.text, "in path, query, name or browser", maxLength=200),
                ],
                className="fields",
            ),
            people,
            ui.choice("f-action", "Did what", list(ACTIONS.items()), view.action),
            ui.choice(
                "f-outcome", "How it ended", [(key, words) for key, (words, _) in OUTCOMES.items()], view.outcome
            ),
            html.Details(
                [
                    html.Summary("More"),
                    ui.choice("f-resource", "To what", kinds, view.resource),
                    ui.choice("f-answered", "Answered by", list(ANSWERERS.items()), view.answered),
                ],
                open=bool(view.resource or view.answered),
            ),
            html.Div(
                [
                    html.Button("Show", id="f-apply", type="button", className="primary"),
                    ui.link("Clear", "/audit", className="button"),
                ],
                className="buttons",
            ),
        ],
        id="f-form",
    )


def found(parts: Parts, view: View) -> ui.Part:
    made = findings.find(parts.queries, parts.contract, view, parts.clock(), parts.zone)
    part = f" Notes were read in the newest {made.read:,} of {made.writes:,} writes." if made.read < made.writes else ""
    if not made.findings:
        return ui.empty(f"Nothing unusual: {PERIODS[view.period]}", part)
    items = []
    for each in made.findings[:12]:
        state = ui.BAD if each.weight >= 3 else ui.WARN
        said = [html.Strong(each.kind), ": ", ui.link(each.said, f"/audit?{each.view.query()}")]
        items.append(html.Li([ui.mark(state), *said]))
    rest = len(made.findings) - 12
    more = html.P(f"and {rest} more of less weight") if rest > 0 else None
    return html.Div([html.Ul(items, className="findings"), more, html.P(part, className="quiet") if part else None])


def counted(parts: Parts, view: View) -> ui.Part:
    now = parts.clock()
    total = parts.queries.total(view.filter(now, parts.zone))
    fixed = f"/audit?{view.fixed(now, parts.zone).query(after='')}"
    link = ui.link("a link that always shows this", fixed, id="permalink")
    return [html.Strong(f"{ui.number(total)} event{'s' if total != 1 else ''}"), ". ", link]


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.AUDITOR,
        Output("url", "search"),
        Input("f-apply", "n_clicks"),
        *(Input(f"f-{name}", "n_submit") for name in ("person", "patient", "address", "text")),
        *(State(f"f-{name}", "value") for name in FIELDS),
        prevent_initial_call=True,
    )
    def apply(*given: Any) -> Any:
        if not any(given[:5]):
            return no_update  # the form was only shown
        values = {name: str(value or "") for name, value in zip(FIELDS, given[5:], strict=True)}
        if values["start"] or values["end"]:
            changed = values["period"] in ("", "24h", "between")
            values["period"] = "between" if changed else values["period"]
        if values["period"] != "between":
            values["start"] = values["end"] = ""
        query = View(**values).query()
        return f"?{query}" if query else ""

    @callbacks.on(Role.AUDITOR, Output("findings", "children"), Input("findings", "id"), State("url", "search"))
    def find(_: str, query: str | None) -> Any:
        return guarded(lambda: found(parts, View.parse(query or "")))

    @callbacks.on(Role.AUDITOR, Output("audit-count", "children"), Input("audit-count", "id"), State("url", "search"))
    def count(_: str, query: str | None) -> Any:
        return guarded(lambda: counted(parts, View.parse(query or "")))

    @callbacks.on(Role.AUDITOR, Output("people", "children"), Input("people", "id"))
    def people(_: str) -> Any:
        return guarded(lambda: [html.Option(value=name) for name in rows.people(parts)])

    exporting.wire(callbacks, parts)


PAGE: Final = Page("/audit", "Audit", Role.AUDITOR, draw, wire)
