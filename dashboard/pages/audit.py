"""Who did what to which record, when, from where, how it ended and who answered; findings first.

The address is the view. Every look is written to the trail before its rows are shown.
"""

from __future__ import annotations

from typing import Any, Final

from dash import Input, Output, State, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data import findings
from dashboard.page import Page
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.values.filters import ACTIONS, ANSWERERS, OUTCOMES, PERIODS, View
from dashboard.widgets import event_list, export_card

FIELDS: Final = (
    "period", "start", "end", "person", "patient", "action", "resource", "outcome", "answered", "address", "text"
)  # fmt: skip


def draw(parts: Parts, asked: Visit) -> components.Part:
    view = View.parse(asked.query)
    where = view.filter(parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "the audit: " + ", ".join(view.words()))
    found = parts.queries.rows(where, event_list.PAGE, view.after)
    return [
        html.H1("Who did what"),
        components.card(
            "Findings", html.Div(_waiting("Looking for what is unusual …"), id="findings"), ident="findings-card"
        ),
        components.card("Filter", _form(parts, view), ident="filter"),
        components.card(
            "Events",
            html.Div(
                [
                    html.P(", ".join(view.words()) + ".", className="quiet"),
                    html.P(_waiting("Counting …"), id="audit-count", role="status"),
                ]
            ),
            event_list.listed(parts, found, view),
            event_list.pager("/audit", view, found),
            ident="events",
        ),
        export_card.card(parts, asked, view),
        html.P(components.link("Who looked at the audit, and what was done in the dashboard", "/audit/looks")),
    ]


def _waiting(words: str) -> html.Span:
    return html.Span(words, className="loading")


def _form(parts: Parts, view: View) -> components.Part:
    now = parts.clock()
    zone = time_format.zone_name(now, parts.zone)
    people = html.Datalist(id="people")
    between = html.Div(
        [
            components.field("f-start", f"From ({zone})", view.start, type="datetime-local", step="1"),
            components.field("f-end", f"To ({zone})", view.end, type="datetime-local", step="1"),
        ],
        className="pair",
    )
    kinds = [("", "any"), *((name, name) for name in parts.contract.resources)]
    return html.Form(
        [
            components.choice("f-period", "When", list(PERIODS.items()), view.period),
            between,
            html.Div(
                [
                    components.field(
                        "f-person", "Person", view.person, list="people", autoComplete="off", maxLength=200
                    ),
                    components.field("f-patient", "Patient number", view.patient, inputMode="numeric", maxLength=40),
                    components.field("f-address", "Address", view.address, "IP address", maxLength=60),
                    components.field("f-text", "Words", view.text, "in path, query, name or browser", maxLength=200),
                ],
                className="fields",
            ),
            people,
            components.choice("f-action", "Did what", list(ACTIONS.items()), view.action),
            components.choice(
                "f-outcome", "How it ended", [(key, words) for key, (words, _) in OUTCOMES.items()], view.outcome
            ),
            html.Details(
                [
                    html.Summary("More"),
                    components.choice("f-resource", "To what", kinds, view.resource),
                    components.choice("f-answered", "Answered by", list(ANSWERERS.items()), view.answered),
                ],
                open=bool(view.resource or view.answered),
            ),
            html.Div(
                [
                    html.Button("Show", id="f-apply", type="button", className="primary"),
                    components.link("Clear", "/audit", className="button"),
                ],
                className="buttons",
            ),
        ],
        id="f-form",
    )


def found(parts: Parts, view: View) -> components.Part:
    made = findings.find(parts.queries, parts.contract, view, parts.clock(), parts.zone)
    part = f" Notes were read in the newest {made.read:,} of {made.writes:,} writes." if made.read < made.writes else ""
    if not made.findings:
        return components.empty(f"Nothing unusual: {PERIODS[view.period]}", part)
    items = []
    for each in made.findings[:12]:
        state = tones.BAD if each.weight >= 3 else tones.WARN
        said = [html.Strong(each.kind), ": ", components.link(each.said, f"/audit?{each.view.query()}")]
        items.append(html.Li([components.mark(state), *said]))
    rest = len(made.findings) - 12
    more = html.P(f"and {rest} more of less weight") if rest > 0 else None
    return html.Div([html.Ul(items, className="findings"), more, html.P(part, className="quiet") if part else None])


def counted(parts: Parts, view: View) -> components.Part:
    now = parts.clock()
    total = parts.queries.total(view.filter(now, parts.zone))
    fixed = f"/audit?{view.fixed(now, parts.zone).query(after='')}"
    link = components.link("a link that always shows this", fixed, id="permalink")
    return [html.Strong(f"{components.number(total)} event{'s' if total != 1 else ''}"), ". ", link]


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
        return guarded(lambda: [html.Option(value=name) for name in event_list.people(parts)])

    export_card.wire(callbacks, parts)


PAGE: Final = Page("/audit", "Audit", Role.AUDITOR, draw, wire)
