"""Events as rows: a sentence each, with what stands behind it; and the way to the next page."""

from __future__ import annotations

from typing import Final

from dash import html

from dashboard.context import Parts
from dashboard.data.event_queries import Rows
from dashboard.ui import components
from dashboard.values import reasons, time_format, tones
from dashboard.values.filters import View
from dashboard.values.sentences import Sentence, at, sentence
from sidecar.events.store import Event, Filter
from sidecar.timeunits import DAY, parse_rfc3339

PAGE: Final = 30
_STATES: Final = {True: tones.GOOD, False: tones.BAD, None: tones.UNKNOWN}


def listed(parts: Parts, found: Rows, view: View) -> components.Part:
    if not found.events:
        return components.empty("Nothing was found", "Widen the period, or take away a filter.")
    items, day = [], ""
    for event in found.events:
        moment = parse_rfc3339(event["@timestamp"])
        if time_format.long_day(moment, parts.zone) != day:
            day = time_format.long_day(moment, parts.zone)
            zone = time_format.zone_name(moment, parts.zone)
            items.append(html.Li([html.H3(day), html.Span(zone, className="quiet")], className="day"))
        items.append(_row(parts, event, sentence(event, found.bodies.get(event["event"]["id"]), parts.api)))
    return html.Ol(items, className="events")


def _row(parts: Parts, event: Event, said: Sentence) -> html.Li:
    """Few components: each costs a browser as much as a hundred words do."""
    moment = parse_rfc3339(event["@timestamp"])
    address = at(event, "source.ip")
    how = f"{said.answered} answered in {time_format.took(at(event, 'event.duration') or 0)}"
    return html.Li(
        [
            components.link(
                html.Time(time_format.clock(moment, parts.zone), dateTime=event["@timestamp"]),
                f"/audit/event?{View(event=event['event']['id']).query()}",
                className="when",
                title="This event by itself: what was written, and what stands around it",
            ),
            html.Div([*_who(event, said), f" {said.did} ", *_subject(event, said)], className="said"),
            _glass(event),
            html.Div(said.ending, className=f"ending sign {_STATES[said.good]}"),
            html.Div(f"{how} · from {address}" if address else how, className="quiet"),
            html.Details([html.Summary("Details"), html.Pre(details(event, parts.api))]),
        ],
        className="event",
    )


def _glass(event: Event) -> components.Part:
    grant = at(event, "understudy.break_glass")
    if not grant:
        return None
    return components.link(
        "break-glass", f"/audit?{View(period='all', glass=str(grant)).query()}", className="tag page"
    )


def _who(event: Event, said: Sentence) -> list[components.Part]:
    """Who it was, with the name as a link."""
    name = at(event, "user.name")
    if not name or name not in said.who:
        return [said.who]
    before, _, after = said.who.partition(name)
    return [before, components.link(name, f"/audit/person?{View(person=name).query()}"), after]


def _subject(event: Event, said: Sentence) -> list[components.Part]:
    """The record, with its patient as a link."""
    patient = at(event, "understudy.patient.id")
    words = f"Patient {patient}"
    if not patient or words not in said.subject:
        return [said.subject]
    before, _, after = said.subject.partition(words)
    return [before, components.link(words, f"/audit/patient?{View(patient=patient).query()}"), after]


def details(event: Event, api: str) -> str:
    pairs = [
        ("Request", f"{at(event, 'http.request.method')} {at(event, 'url.path')}"),
        ("Query", at(event, "url.query")),
        ("Status", at(event, "http.response.status_code")),
        ("Identity", at(event, "understudy.identity")),
        ("Browser or program", at(event, "user_agent.original")),
        (f"Tries at {api}", len(at(event, "understudy.attempts") or [])),
        ("Why so", reasons.failure(at(event, "understudy.reason") or "", api)),
        ("Findings", ", ".join(at(event, "understudy.findings") or [])),
        ("Access policy", reasons.verdict(at(event, "understudy.verdict"))),
        ("Time in UTC", event["@timestamp"]),
        ("Request id", at(event, "http.request.id")),
        ("Event id", at(event, "event.id")),
        ("Hash in the journal", at(event, "event.hash")),
    ]
    return "\n".join(f"{name}: {value}" for name, value in pairs if value not in (None, "", 0))


def pager(path: str, view: View, found: Rows) -> components.Part:
    links = []
    if view.after:
        links.append(components.link("⟨ Newest", f"{path}?{view.query(after='')}", className="button"))
    if found.cursor:
        links.append(
            components.link("Older ⟩", f"{path}?{view.query(after=found.cursor)}", className="button", id="older")
        )
    return html.Nav(links, className="buttons", **{"aria-label": "Pages of events"}) if links else None


def people(parts: Parts) -> list[str]:
    """Names seen in the last thirty days, for suggestions."""
    where = Filter(since=parts.clock() - 30 * DAY)

    def ask() -> list[str]:
        return [group[0] for group, _ in parts.queries.by(where, "user.name") if group[0]][:300]

    names: list[str] = parts.queries.kept("people", 300.0, ask)
    return names
