"""One person: what they did, to whom, from where, over the period."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import Final
from urllib.parse import parse_qs

from dash import html

from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import paging, people, time_format
from dashboard.values.filters import ACTIONS, View, ViewError
from dashboard.widgets import event_list, period_tabs
from sidecar.events.store import Filter
from sidecar.timeunits import HOUR

SHOWN: Final = 50
"""Patients on a page of the list; all are counted."""


def draw(parts: Parts, asked: Visit) -> components.Part:
    view = View.parse(asked.query)
    if not view.person:
        raise ViewError("person: expected a name; found nothing")
    where = parts.queries.where(view, parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "a person's page: " + ", ".join(view.words(parts.api)))
    actions = parts.queries.by(where, "event.action")
    patients = [(key, count) for (key,), count in parts.queries.by(where, "understudy.patient.id") if key]
    addresses = [(key, count) for (key,), count in parts.queries.by(where, "source.ip") if key]
    found = parts.queries.rows(where, event_list.PAGE, view.after)
    begins = parse_qs(asked.query.lstrip("?")).get("patients", ["0"])[0]
    first = paging.start(begins, SHOWN, len(patients))
    return [
        html.H1(people.shown(view.person)),
        period_tabs.tabs("/audit/person", view),
        components.tiles(
            components.tile(ACTIONS.get(key, key), components.number(count), "requests") for (key,), count in actions
        ),
        _usual(parts, view),
        components.card(
            f"Patients: {len(patients):,}",
            components.table(
                "Patients and requests",
                ["patient", "requests"],
                [
                    (components.link(f"Patient {key}", _patient(view, key)), components.number(count))
                    for key, count in patients[first : first + SHOWN]
                ],
                (1,),
            )
            if patients
            else components.empty("No patient in this period"),
            _pages(view, first, len(patients)),
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


def _pages(view: View, first: int, many: int) -> components.Part:
    if many <= SHOWN:
        return None
    last = min(first + SHOWN, many)
    links = [
        components.link(words, f"/audit/person?{view.query()}&patients={at}", className="button")
        for words, at in zip(("⟨ More requests", "Fewer requests ⟩"), paging.beside(first, SHOWN, many), strict=True)
        if at is not None
    ]
    said = html.Span(f"{first + 1:,} to {last:,} of {many:,}, by requests; the export holds all.", className="quiet")
    return html.Nav([*links, said], className="buttons", **{"aria-label": "Pages of patients"})


def _usual(parts: Parts, view: View) -> components.Part:
    """Today beside this person's days of the two weeks before: requests, and distinct patients."""
    now = parts.clock()
    today = time_format.midnight(now, parts.zone)
    where = Filter(since=time_format.midnight(now, parts.zone, -14), terms={"user.name": people.several(view.person)})
    requests: Counter[int] = Counter()
    seen: defaultdict[int, set[str]] = defaultdict(set)
    for bucket in parts.queries.over_time(where, HOUR, "understudy.patient.id"):
        day = time_format.midnight(bucket.start, parts.zone)
        requests[day] += bucket.count
        if bucket.group[0]:
            seen[day].add(bucket.group[0])
    worked = sorted(day for day in requests if day < today)
    if not worked:
        return html.P(
            "Nothing is known of their usual day: they were not here in the two weeks before.", className="quiet"
        )
    usual = median(requests[day] for day in worked), median(len(seen[day]) for day in worked)
    words = (
        f"Today {components.many(requests[today], 'request')} about {components.many(len(seen[today]), 'patient')}. "
        f"A usual day of theirs has {usual[0]:.0f} about {usual[1]:.0f} ({len(worked)} days of the last 14)."
    )
    return html.P(words, id="usual")


def _patient(view: View, patient: str) -> str:
    return f"/audit/patient?{View(period=view.period, start=view.start, end=view.end, patient=patient).query()}"


PAGE: Final = Page("/audit/person", "A person", Role.AUDITOR, draw, in_menu=False)
