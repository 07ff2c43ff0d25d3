"""Break-glass: who may, for some hours, do what access policies deny; since when, why, and what they did under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dash import Input, Output, State, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format, tones
from dashboard.values.filters import View
from dashboard.widgets import action_dialog
from sidecar.events.store import Filter

PATH: Final = "/audit/break-glass"


def draw(parts: Parts, asked: Visit) -> components.Part:
    parts.trail.look(asked.who, asked.address, "look", "break-glass")
    grants = parts.plane(asked.who.user).get("/break-glass")["grants"]
    terms = {"understudy.break_glass": [str(each["id"]) for each in grants]}
    earliest = min((int(each["since"]) for each in grants), default=0)
    counted = parts.queries.by(Filter(since=earliest, terms=terms), "understudy.break_glass") if grants else []
    counts = {key: count for (key,), count in counted}
    rows = [_row(parts, asked, each, counts.get(str(each["id"]), 0)) for each in grants]
    zone = time_format.zone_name(parts.clock(), parts.zone)
    columns = ["person", f"from, {zone}", f"to, {zone}", "by", "reason", "accesses", "state"]
    listed = components.table("Break-glass", columns, rows, (5,)) if rows else components.empty("It was never needed")
    return [
        html.H1("Break-glass"),
        html.P(
            "In an emergency a person may for some hours do what access policies deny. Start and end are in the trail, "
            "and every access under it is flagged. A revoked person stays out."
        ),
        _opening(parts.api) if asked.may(Role.OPERATOR) else None,
        components.card("Who, when and why", listed, ident="grants"),
        html.P(components.link("To the audit", "/audit")),
    ]


def _opening(api: str) -> components.Part:
    form = html.Form(
        [
            components.field("bg-person", "Person", "", f"as they sign in to {api}", maxLength=200, autoComplete="off"),
            html.Button("Open for this person …", id="bg-open", type="button", className="primary"),
        ]
    )
    return components.card("Open", form, ident="open-it")


def _row(parts: Parts, asked: Visit, grant: Mapping[str, Any], count: int) -> tuple[components.Part, ...]:
    end = grant["ended"] or grant["until"]
    view = View(period="all", glass=str(grant["id"]))
    state: components.Part = components.sign(tones.GOOD, "over")
    if grant["open"]:
        state = [components.sign(tones.WARN, "open"), " "]
        if asked.may(Role.OPERATOR):
            state.append(action_dialog.button("break-glass-end", str(grant["id"]), str(grant["user"])))
    return (
        grant["user"],
        time_format.day_and_time(int(grant["since"]), parts.zone),
        time_format.day_and_time(int(end), parts.zone),
        grant["by"],
        grant["reason"],
        components.link(components.number(count), f"/audit?{view.query()}"),
        state,
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.OPERATOR,
        Output("asked", "data", allow_duplicate=True),
        Input("bg-open", "n_clicks"),
        State("bg-person", "value"),
        prevent_initial_call=True,
    )
    def ask(clicks: int | None, person: str | None) -> Any:
        name = (person or "").strip()
        return (
            {"kind": "break-glass", "what": name, "number": f"page {parts.clock()}"} if clicks and name else no_update
        )


PAGE: Final = Page(PATH, "Break-glass", Role.AUDITOR, draw, wire, in_menu=False)
