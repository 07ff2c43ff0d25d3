"""One person: what they did, to whom, from where, over the period."""

from __future__ import annotations

from typing import Final

from dash import html

from dashboard import ui
from dashboard.access import Role
from dashboard.page import Page
from dashboard.pages import periods, rows
from dashboard.parts import Parts, Visit
from dashboard.view import ACTIONS, View, ViewError


def draw(parts: Parts, asked: Visit) -> ui.Part:
    view = View.parse(asked.query)
    if not view.person:
        raise ViewError("person: expected a name; found nothing")
    where = view.filter(parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "a person's page: " + ", ".join(view.words()))
    actions = parts.queries.by(where, "event.action")
    patients = [(key, count) for (key,), count in parts.queries.by(where, "understudy.patient.id") if key]
    addresses = [(key, count) for (key,), count in parts.queries.by(where, "source.ip") if key]
    found = parts.queries.rows(where, rows.PAGE, view.after)
    return [
        html.H1(view.person),
        periods.tabs("/audit/person", view),
        ui.tiles(ui.tile(ACTIONS.get(key, key), ui.number(count), "requests") for (key,), count in actions),
        ui.card(
            "Patients",
            ui.table(
                "Patients and requests",
                ["patient", "requests"],
                [(ui.link(f"Patient {key}", _patient(view, key)), ui.number(count)) for key, count in patients[:25]],
                (1,),
            )
            if patients
            else ui.empty("No patient in this period"),
            html.P(f"and {len(patients) - 25} more patients") if len(patients) > 25 else None,
            ident="patients",
        ),
        ui.card(
            "Addresses",
            html.Ul([html.Li(f"{key}: {count:,} requests") for key, count in addresses[:10]])
            if addresses
            else ui.empty("No address in this period"),
            ident="addresses",
        ),
        ui.card("Events", rows.listed(parts, found, view), rows.pager("/audit/person", view, found), ident="events"),
        html.P(ui.link("Filter and export these events", f"/audit?{view.query(after='')}", className="button")),
    ]


def _patient(view: View, patient: str) -> str:
    return f"/audit/patient?{View(period=view.period, start=view.start, end=view.end, patient=patient).query()}"


PAGE: Final = Page("/audit/person", "A person", Role.AUDITOR, draw, in_menu=False)
