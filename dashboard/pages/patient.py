"""One patient: everyone who looked at the record or its notes, or changed them, over the period."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Final

from dash import html

from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format
from dashboard.values.filters import View, ViewError
from dashboard.widgets import event_list, period_tabs
from sidecar.events.store import Filter

SHOWN: Final = 50
"""People of whom it is said when they were there last."""
LOOKED: Final = ("read", "list")
CHANGED: Final = ("create", "update", "delete")


def draw(parts: Parts, asked: Visit) -> components.Part:
    view = View.parse(asked.query)
    if not view.patient:
        raise ViewError("patient: expected a patient's number; found nothing")
    where = parts.queries.where(view, parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "a patient's page: " + ", ".join(view.words(parts.api)))
    found = parts.queries.rows(where, event_list.PAGE, view.after)
    return [
        html.H1(f"Patient {view.patient}"),
        period_tabs.tabs("/audit/patient", view),
        components.card(
            "Who accessed this patient", _people(parts, view, where), _lists(parts, where), ident="people-here"
        ),
        components.card(
            "Events",
            event_list.listed(parts, found, view),
            event_list.pager("/audit/patient", view, found),
            ident="events",
        ),
        html.P(components.link("Filter and export these events", f"/audit?{view.query(after='')}", className="button")),
    ]


def _people(parts: Parts, view: View, where: Filter) -> components.Part:
    looked: defaultdict[str, int] = defaultdict(int)
    changed: defaultdict[str, int] = defaultdict(int)
    other: defaultdict[str, int] = defaultdict(int)
    everyone: Counter[str] = Counter()
    for (name, action), count in parts.queries.by(where, "user.name", "event.action"):
        kind = looked if action in LOOKED else changed if action in CHANGED else other
        kind[name] += count
        everyone[name] += count
    if not everyone:
        return components.empty("Nobody, in this period")
    rows_ = []
    chosen = [name for name, _ in everyone.most_common(SHOWN)]
    last = parts.queries.lasts(where, chosen)
    for name in sorted(chosen, key=lambda each: (-last[each], each)):
        person = components.link(name, f"/audit/person?{replace(view, person=name, patient='', after='').query()}")
        day = time_format.day_and_time(last[name], parts.zone) if last[name] else "–"
        counts = (components.number(kind[name]) for kind in (looked, changed, other))
        rows_.append((person if name else "Somebody who did not sign in", *counts, day))
    columns = [
        "person",
        "looked",
        "changed",
        "screened or other",
        f"last, {time_format.zone_name(parts.clock(), parts.zone)}",
    ]
    table = components.table(f"Everyone at Patient {view.patient}", columns, rows_, (1, 2, 3))
    total = f"{components.many(len(everyone), 'person').replace('persons', 'people')}, "
    total += f"{components.many(everyone.total(), 'access').replace('accesss', 'accesses')}"
    rest = f"; the {SHOWN} with most are listed, the filter shows the others" if len(everyone) > SHOWN else ""
    return html.Div([html.P(f"{total}{rest}."), table])


def _lists(parts: Parts, where: Filter) -> components.Part:
    """Whole lists show every patient, and are not tied to one."""
    terms = {"event.action": ["list"], "understudy.patient.id": [""]}
    wide = Filter(since=where.since, until=where.until, terms=terms)
    kinds = [
        (kind, count)
        for (kind,), count in parts.queries.by(wide, "understudy.resource.type")
        if kind in _about_patients(parts)
    ]
    if not kinds:
        return None
    words = " and ".join(
        f"{count:,} {'times' if count > 1 else 'time'} the list of all {kind}" for kind, count in kinds
    )
    return html.P(f"Beside these, people opened {words}, which shows this patient among all others.", className="quiet")


def _about_patients(parts: Parts) -> set[str]:
    return {name for name, resource in parts.contract.resources.items() if resource.subject_field}


PAGE: Final = Page("/audit/patient", "A patient", Role.AUDITOR, draw, in_menu=False)
