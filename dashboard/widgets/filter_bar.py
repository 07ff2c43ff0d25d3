"""The filters of the audit as one bar: the period, whom and which patient; the rest unfolds. What is set is a chip.

A chip is a link to the same view without it, so that one click takes a filter away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from dash import Input, Output, State, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import people, time_format
from dashboard.values.filters import ACTIONS, ANSWERERS, OUTCOMES, View, ViewError
from dashboard.widgets import period_tabs

FIELDS: Final = ("start", "end", "person", "patient", "action", "resource", "outcome", "answered", "address", "text")
_SUBMIT: Final = ("person", "patient", "address", "text")
PATH: Final = "/audit"


def bar(parts: Parts, view: View) -> components.Part:
    return html.Div([period_tabs.tabs(PATH, view), _form(parts, view), _chips(parts, view)], id="filter")


def _chips(parts: Parts, view: View) -> components.Part:
    chips = [
        components.link(
            [html.Span("Take away: ", className="spoken"), words, html.Span(" ×", **{"aria-hidden": "true"})],
            f"{PATH}?{view.query(**{name: '', 'after': ''})}",
            className="chip",
        )
        for name, words in view.chips(parts.api).items()
    ]
    if len(chips) > 1:
        chips.append(components.link("Clear all", f"{PATH}?{View(period=view.period).query()}", className="chip"))
    return html.Nav(chips, className="chips", **{"aria-label": "Filters that are set"}) if chips else None


def _form(parts: Parts, view: View) -> components.Part:
    zone = time_format.zone_name(parts.clock(), parts.zone)
    since, until = _local(parts, view)
    kinds = [("", "any"), *((name, name) for name in parts.contract.resources)]
    endings = [(key, words) for key, (words, _) in OUTCOMES.items()]
    first = html.Div(
        [
            components.field(
                "f-person",
                "Person",
                people.shown(view.person),
                list="people",
                autoComplete="off",
                maxLength=400,
                placeholder="part of a name; or several",
            ),
            components.field(
                "f-patient",
                "Patient number",
                people.shown(view.patient),
                maxLength=200,
                autoComplete="off",
                placeholder="one or several",
            ),
            _button("quick"),
        ],
        className="quick",
    )
    more = [
        html.Summary("More filters"),
        html.Div(
            [
                components.field("f-start", f"From ({zone})", since, type="datetime-local", step="1"),
                components.field("f-end", f"To ({zone})", until, type="datetime-local", step="1"),
                components.field("f-address", "Address", view.address, "IP address, or 10.1.2.0/24", maxLength=200),
                components.field("f-text", "Words", view.text, "in title, body, path, name or browser", maxLength=200),
            ],
            className="fields",
        ),
        components.choice("f-action", "Did what", list(ACTIONS.items()), view.action),
        components.choice("f-outcome", "How it ended", endings, view.outcome),
        components.choice("f-resource", "To what", kinds, view.resource),
        components.choice(
            "f-answered",
            "Answered by",
            [(key, words.format(api=parts.api)) for key, words in ANSWERERS.items()],
            view.answered,
        ),
        _button("more"),
    ]
    return html.Form([html.Datalist(id="people"), first, html.Details(more, id="f-more")], id="f-form")


def _button(where: str) -> html.Button:
    """The browser writes down that it was pressed, as with what does something (assets/understudy.js)."""
    return html.Button("Show", id={"show": "filter", "what": where}, type="button", className="primary")


def _local(parts: Parts, view: View) -> tuple[str, str]:
    """From and To as the fields hold them: in the dashboard's zone, whatever zone the address names."""
    if view.period != "between":
        return "", ""
    ends = view.range(parts.clock(), parts.zone)
    since, until = (time_format.field_value(at, parts.zone) if at is not None else "" for at in ends)
    return since, until


def applied(parts: Parts, query: str, given: dict[str, str]) -> str:
    """The address of the view that the form asks for; what the form does not hold stays as it was. ViewError."""
    try:
        before = View.parse(query)
    except ViewError:
        before = View()
    old = dict(zip(("start", "end"), _local(parts, before), strict=True))
    view = replace(before, after="", **{name: given[name] for name in FIELDS if name not in ("start", "end")})
    if (given["start"], given["end"]) != (old["start"], old["end"]):
        start, end = given["start"], given["end"]
        view = replace(view, period="between" if start or end else "24h", start=start, end=end)
    if view.person != before.person:
        where = replace(view, person="", patient="", address="").filter(parts.clock(), parts.zone)
        known = [*parts.queries.values(where, "user.name"), *people.several(before.person)]
        view = replace(view, person=people.BETWEEN.join(people.named(view.person, known)))
    return replace(view, patient=people.BETWEEN.join(people.numbers(view.patient))).query()


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.AUDITOR,
        Output("url", "search"),
        Output("f-wrong", "children"),
        Input("sent", "data"),
        *(State(f"f-{name}", "value") for name in FIELDS),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def apply(_: Any, *given: Any) -> Any:
        values = {name: str(value or "").strip() for name, value in zip(FIELDS, given[:-1], strict=True)}
        found = guarded(lambda: applied(parts, given[-1] or "", values))
        if not isinstance(found, str):
            return no_update, found
        return (f"?{found}" if found else ""), ""

    @callbacks.on(Role.AUDITOR, Output("people", "children"), Input("people", "id"), State("url", "search"))
    def suggest(_: str, query: str | None) -> Any:
        def names() -> list[components.Part]:
            where = View(period="30d").filter(parts.clock(), parts.zone)
            return [html.Option(value=name) for name in parts.queries.values(where, "user.name")[:300]]

        return guarded(names)
