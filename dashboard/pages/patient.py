"""One patient: everyone who looked at the record or its notes, or changed them, over the period."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Final

from dash import html

from dashboard import ui, when
from dashboard.access import Role
from dashboard.page import Page
from dashboard.pages import periods, rows
from dashboard.parts import Parts, Visit
from dashboard.view import View, ViewError
from dashboard.when import DAY
from sidecar.record.stores import Filter

LOOKED: Final = ("read", "list")
CHANGED: Final = ("create", "update", "delete")


def draw(parts: Parts, asked: Visit) -> ui.Part:
    view = View.parse(asked.query)
    if not view.patient:
        raise ViewError("patient: expected a patient's number; found nothing")
    where = view.filter(parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "a patient's page: " + ", ".join(view.words()))
    found = parts.queries.rows(where, rows.PAGE, view.after)
    return [
        html.H1(f"Patient {view.patient}"),
        periods.tabs("/audit/patient", view),
        ui.card("Everyone who was here", _people(parts, view, where), _lists(parts, where), ident="people-here"),
        ui.card("Events", rows.listed(parts, found, view), rows.pager("/audit/patient", view, found), ident="events"),
        html.P(ui.link("Filter and export these events", f"/audit?{view.query(after='')}", className="button")),
    ]


def _people(parts: Parts, view: View, where: Filter) -> ui.Part:
    looked: defaultdict[str, int] = defaultdict(int)
    changed: defaultdict[str, int] = defaultdict(int)
    other: defaultdict[str, int] = defaultdict(int)
    last: dict[str, int] = {}
    for bucket in parts.queries.over_time(where, DAY, "user.name", "event.action"):
        name, action = bucket.group
        kind = looked if action in LOOKED else changed if action in CHANGED else other
        kind[name] += bucket.count
        last[name] = max(last.get(name, 0), bucket.start)
    if not last:
        return ui.empty("Nobody, in this period")
    rows_ = []
    for name in sorted(last, key=lambda each: (-last[each], each)):
        person = ui.link(name, f"/audit/person?{replace(view, person=name, patient='', after='').query()}")
        day = f"{when.local(last[name], parts.zone):%a %-d %b %Y}"
        counts = (ui.number(kind[name]) for kind in (looked, changed, other))
        rows_.append((person if name else "Somebody who did not sign in", *counts, day))
    columns = ["person", "looked", "changed", "screened or other", "last on (UTC day)"]
    return ui.table(f"Everyone at Patient {view.patient}", columns, rows_, (1, 2, 3))


def _lists(parts: Parts, where: Filter) -> ui.Part:
    """Whole lists show every patient, and are not tied to one."""
    wide = Filter(since=where.since, until=where.until, terms={"event.action": ["list"]})
    kinds = [
        (kind, count)
        for (kind, patient), count in parts.queries.by(wide, "understudy.resource.type", "understudy.patient.id")
        if not patient and kind in _about_patients(parts)
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
