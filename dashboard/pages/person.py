"""One person: what they did, to whom, from where, over the period."""

from __future__ import annotations

from typing import Final

from dash import html

from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values.filters import ACTIONS, View, ViewError
from dashboard.widgets import event_list, period_tabs


def draw(parts: Parts, asked: Visit) -> components.Part:
    view = View.parse(asked.query)
    if not view.person:
        raise ViewError("person: expected a name; found nothing")
    where = view.filter(parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "a person's page: " + ", ".join(view.words()))
    actions = parts.queries.by(where, "event.action")
    patients = [(key, count) for (key,), count in parts.queries.by(where, "understudy.patient.id") if key]
    addresses = [(key, count) for (key,), count in parts.queries.by(where, "source.ip") if key]
    found = parts.queries.rows(where, event_list.PAGE, view.after)
    return [
        html.H1(view.person),
        period_tabs.tabs("/audit/person", view),
        components.tiles(
            components.tile(ACTIONS.get(key, key), components.number(count), "requests") for (key,), count in actions
        ),
        components.card(
            "Patients",
            components.table(
                "Patients and requests",
                ["patient", "requests"],
                [
                    (components.link(f"Patient {key}", _patient(view, key)), components.number(count))
                    for key, count in patients[:25]
                ],
                (1,),
            )
            if patients
            else components.empty("No patient in this period"),
            html.P(f"and {len(patients) - 25} more patients") if len(patients) > 25 else None,
            ident="patients",
        ),
        components.card(
            "Addresses",
            html.Ul([html.Li(f"{key}: {count:,} requests") for key, count in addresses[:10]])
            if addresses
            else components.empty("No address in this period"),
            ident="addresses",
        ),
        components.card(
            "Events",
            event_list.listed(parts, found, view),
            event_list.pager("/audit/person", view, found),
            ident="events",
        ),
        html.P(components.link("Filter and export these events", f"/audit?{view.query(after='')}", className="button")),
    ]


def _patient(view: View, patient: str) -> str:
    return f"/audit/patient?{View(period=view.period, start=view.start, end=view.end, patient=patient).query()}"


PAGE: Final = Page("/audit/person", "A person", Role.AUDITOR, draw, in_menu=False)
