"""Who did what to which record, when, from where, how it ended and who answered: the events, and what narrows them.

The address is the view. Every look is written to the trail before its rows are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from dash import Input, Output, State, html

from dashboard.auth.authorization import HOME, Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data import findings, words
from dashboard.page import Page
from dashboard.pages import break_glass, review
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import people, tones
from dashboard.values.filters import PERIODS, View
from dashboard.values.time_format import stamp
from dashboard.widgets import event_list, evidence_card, export_card, facets, filter_bar
from sidecar.settings import Settings
from sidecar.storage.status_files import told
from sidecar.timeunits import SECOND

LISTED: Final = 6
"""Findings that stand there at once; lesser ones unfold."""


def draw(parts: Parts, asked: Visit) -> components.Part:
    view = View.parse(asked.query)
    where = parts.queries.where(view, parts.clock(), parts.zone)
    parts.trail.look(asked.who, asked.address, "look", "the audit: " + ", ".join(view.words(parts.api)))
    rows = parts.queries.rows(where, event_list.PAGE, view.after)
    events = html.Section(
        [
            html.H2("Events", className="spoken", id="events-title"),
            html.P(_waiting("Counting …"), id="audit-count", role="status"),
            html.Div(_waiting("Reading what was written …") if view.text else None, id="audit-words", role="status"),
            event_list.listed(parts, rows, view),
            event_list.pager("/audit", view, rows),
        ],
        className="card",
        id="events",
        **{"aria-labelledby": "events-title"},
    )
    beside = html.Div(
        [
            components.card("Findings", html.Div(_waiting("Looking …"), id="findings"), ident="findings-card"),
            components.card(
                "Narrow down",
                html.Div(_waiting("Counting …"), id="audit-histogram"),
                html.Div([html.Div(id=f"audit-{name}") for name in facets.NAMES], className="facets"),
                ident="narrow",
            ),
        ],
        className="beside",
    )
    return [
        html.H1("Who did what"),
        _trust(verified(parts.settings, parts.clock(), lambda at: stamp(at, parts.zone))),
        filter_bar.bar(parts, view),
        html.Div(_unknown(parts, view, bool(rows.events)), id="f-wrong", role="alert"),
        html.Div([events, beside], className="case"),
        export_card.card(parts, asked, view),
        evidence_card.card(),
        _further(),
    ]


def _further() -> components.Part:
    """What belongs to the audit beside the events."""
    links = [
        html.Span([components.link("Weekly review", review.PATH), html.Span(id="audit-weeks")]),
        components.link("Evidence packs", "/audit/evidence"),
        components.link("Access log of a patient", HOME),
        components.link("Break-glass", break_glass.PATH),
        components.link("Who looked at the audit, and what was done in the dashboard", "/audit/looks"),
    ]
    items = html.Ul([html.Li(each) for each in links], className="plain")
    return components.card("More of the audit", items, ident="more-audit")


@dataclass(frozen=True)
class Trust:
    """Whether the journal behind the events is as it was written, for people."""

    tone: str
    words: str


def verified(settings: Settings, now: int, stamp: Callable[[int], str]) -> Trust:
    """By what the sidecar has found last, and when it last held. `now` in ns, as `stamp` takes it."""
    state = told(settings, "verified")
    ok, why = state.get("ok"), state.get("why")
    held = int(float(state["held"]) * SECOND) if isinstance(state.get("held"), int | float) else None
    since = "" if held is None else f" It last held at {stamp(held)}."
    if not state:
        return Trust(tones.WARN, "Whether the journal behind this is as it was written has not been checked yet.")
    if ok is False:
        return Trust(tones.BAD, f"The journal behind this is NOT verified: {why}.{since}")
    if ok is not True or held is None:
        return Trust(tones.WARN, f"Nobody can say whether the journal behind this is as it was written: {why}.{since}")
    if now - held > 2 * settings.verify_every * SECOND:
        return Trust(tones.WARN, f"The journal behind this has not been verified since {stamp(held)}.")
    return Trust(tones.GOOD, f"The journal behind this was verified at {stamp(held)}; what is newer is not yet.")


def _trust(found: Trust) -> html.P:
    return html.P(components.sign(found.tone, found.words), id="audit-trust")


def _waiting(words: str) -> html.Span:
    return html.Span(words, className="loading")


def _unknown(parts: Parts, view: View, any_found: bool) -> components.Part:
    """A name that matches nobody is told from a person who did nothing."""
    if any_found or not view.person:
        return None
    strangers = [name for name in people.several(view.person) if not parts.queries.is_known("user.name", name)]
    if not strangers:
        return None
    return components.notice(tones.WARN, f"Nobody is called {'; '.join(strangers)}", "No such name was ever recorded.")


def found(parts: Parts, view: View) -> components.Part:
    made = findings.find(parts.queries, parts.contract, view, parts.clock(), parts.zone)
    part = f" Notes were read in the newest {made.read:,} of {made.writes:,} writes." if made.read < made.writes else ""
    if not made.findings:
        period = PERIODS[view.period]
        return components.empty(f"Nothing unusual: {period}", part)
    items = [_finding(each) for each in made.findings]
    rest = items[LISTED:]
    more = html.Details([html.Summary(f"{len(rest)} lesser findings"), html.Ul(rest, className="findings")])
    listed = html.Ul(items[:LISTED], className="findings")
    return html.Div([listed, more if rest else None, html.P(part, className="quiet") if part else None])


def _finding(each: findings.Finding) -> html.Li:
    state = tones.BAD if each.weight >= 3 else tones.WARN
    said = [html.Strong(each.kind), ": ", components.link(each.said, f"/audit?{each.view.query()}")]
    return html.Li([components.mark(state), *said])


def weeks(parts: Parts, _view: View) -> str:
    """How many weeks wait for their review."""
    waiting = len(parts.reviews.waiting(review.weeks(parts)))
    return f": {components.many(waiting, 'week')} to review" if waiting else ": nothing waits"


def written(parts: Parts, view: View) -> components.Part:
    """Writes whose words hold those of the filter: their events are found by path and name, these by what they say."""
    if not view.text:
        return None
    found = words.said(parts.queries, _where(parts, view))
    part = f" Read were the newest {found.read:,} of {found.writes:,} writes." if found.read < found.writes else ""
    if not found.events:
        return html.P(f"No title or body says “{view.text}”.{part}", className="quiet")
    here = replace(view, text="", event=people.BETWEEN.join(found.events), after="")
    many = (
        f"{words.FOUND} or more writes say"
        if len(found.events) == words.FOUND
        else (f"{components.many(len(found.events), 'write')} {'says' if len(found.events) == 1 else 'say'}")
    )
    link = components.link(f"{many} “{view.text}” in title or body", f"/audit?{here.query()}")
    return html.P([html.Strong(link), part])


def counted(parts: Parts, view: View) -> components.Part:
    now = parts.clock()
    total = parts.queries.total(parts.queries.where(view, now, parts.zone))
    fixed = f"/audit?{view.fixed(now, parts.zone).query(after='')}"
    link = components.link("a link that always shows this", fixed, id="permalink")
    told = f", {', '.join(view.words(parts.api))}. "
    return [html.Strong(components.many(total, "event")), told, link]


def _facet(parts: Parts, name: str, view: View) -> components.Part:
    return facets.facet(parts, name, view, _where(parts, view))


def wire(callbacks: Callbacks, parts: Parts) -> None:
    def part(ident: str, draw: Any) -> None:
        """A part that is counted after the events stand there."""

        @callbacks.on(Role.AUDITOR, Output(ident, "children"), Input(ident, "id"), State("url", "search"))
        def show(_: str, query: str | None) -> Any:
            return guarded(lambda: draw(View.parse(query or "")))

    part("audit-weeks", lambda view: weeks(parts, view))
    part("audit-words", lambda view: written(parts, view))
    part("findings", lambda view: found(parts, view))
    part("audit-count", lambda view: counted(parts, view))
    part("audit-histogram", lambda view: facets.histogram(parts, view, _where(parts, view)))
    for name in facets.NAMES:
        part(f"audit-{name}", partial(_facet, parts, name))
    filter_bar.wire(callbacks, parts)
    export_card.wire(callbacks, parts)
    evidence_card.wire(callbacks, parts)


def _where(parts: Parts, view: View) -> Any:
    return parts.queries.where(view, parts.clock(), parts.zone)


PAGE: Final = Page("/audit", "Audit", Role.AUDITOR, draw, wire)
