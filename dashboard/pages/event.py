"""One event under an address of its own: what was written, field by field, and what stands around it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dash import Input, Output, State, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit, visit
from dashboard.data import history
from dashboard.data.exports import row_of
from dashboard.page import Page
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.values.filters import View, ViewError, utc
from dashboard.values.sentences import at, content, sentence
from dashboard.widgets import event_list
from sidecar.events.store import Event, Filter
from sidecar.timeunits import MINUTE, parse_rfc3339

NEAR: Final = 4
"""Neighbours on each side."""
NEARLY: Final = 30 * MINUTE
LINES: Final = 10


def draw(parts: Parts, asked: Visit) -> components.Part:
    view = View.parse(asked.query)
    if not view.event or "\n" in view.event:
        raise ViewError("event: expected the id of one event")
    parts.trail.look(asked.who, asked.address, "look", f"one event: {view.event}")
    rows = parts.queries.rows(Filter(terms={"event.id": [view.event]}), 1)
    if not rows.events:
        words = "It may be older than what is kept, or its address was cut short."
        return [html.H1("One event"), components.notice(tones.WARN, "There is no such event", words)]
    event = rows.events[0]
    bodies = rows.bodies.get(view.event)
    moment = parse_rfc3339(event["@timestamp"])
    said = sentence(event, bodies, parts.api)
    return [
        html.H1(str(said)),
        html.P(f"{time_format.stamp(moment, parts.zone)}: {said.ending}; {said.answered} answered."),
        components.card("What was written", _written(parts, event, bodies), ident="written"),
        components.card(
            "How it is recorded", html.Pre(event_list.details(event, parts.api)), _proof(), ident="recorded"
        ),
        _history(parts, event),
        _neighbours(parts, event, moment),
        _day(parts, event, moment),
        html.P(components.link("To the audit", "/audit")),
    ]


def _written(parts: Parts, event: Event, bodies: Event | None) -> components.Part:
    """The recorded words: each field as it was before, and as it was written. Before is what was recorded with the
    event itself; what that lacks, what was recorded of the record earlier."""
    request, response = content(bodies, "request"), content(bodies, "response")
    if bodies is None:
        return components.empty("Nothing", "No words of it were recorded, or they were erased.")
    action = at(event, "event.action")
    before = history.before(parts.queries, event) if action in ("update", "delete") else None
    kept = content(bodies, "before")
    known = {**(before.record if before else {}), **(kept if isinstance(kept, Mapping) else {})}
    shown: list[components.Part] = []
    if isinstance(request, Mapping):
        changed = action in ("create", "update")
        names = ["field", "before", "written"] if changed else ["field", "sent"]
        rows = [
            (name, _value(known, name), _text(value)) if changed else (name, _text(value))
            for name, value in request.items()
        ]
        shown.append(components.table("Fields that were sent", names, rows))
    if action == "delete" and known:
        fields = [(name, _text(value)) for name, value in known.items()]
        shown.append(components.table("What was deleted", ["field", "before"], fields))
    if before is not None:
        did = "wrote" if before.wrote else "was shown"
        whom = f"{before.who} {did} it so on {time_format.stamp(before.at, parts.zone)}"
        shown.append(html.P(["Before: ", components.link(whom, address(before.event_id)), "."], className="quiet"))
    elif action in ("update", "delete"):
        said = "Before: as the standby knew it." if known else "What it was before was not recorded."
        shown.append(html.P(said, className="quiet"))
    for title, side, found in (
        ("Request as recorded", "request", request),
        ("Answer as recorded", "response", response),
    ):
        text = at(bodies, f"http.{side}.body.content")
        if text:
            words = json.dumps(found, indent=2, ensure_ascii=False) if found is not None else str(text)
            shown.append(html.Details([html.Summary(title), html.Pre(words)]))
    return html.Div(shown)


def _value(record: Mapping[str, Any], name: str) -> components.Part:
    return _text(record[name]) if name in record else html.Span("not known", className="quiet")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _proof() -> components.Part:
    return html.Div(
        [
            html.Button("Check it against the journal", id="ev-prove", type="button"),
            html.Div(id="ev-proof", role="status"),
        ]
    )


def _history(parts: Parts, event: Event) -> components.Part:
    kind, record = at(event, "understudy.resource.type"), at(event, "understudy.resource.id")
    if not kind or not record:
        return None
    rows = parts.queries.rows(Filter(terms=history.same_record(kind, record)), LINES)
    every = components.link("All of them", f"/audit?{View(period='all', resource=kind, record=record).query()}")
    lines = _lines(parts, rows.events, rows.bodies, event)
    return components.card("The same record", lines, html.P(every), ident="same-record")


def _neighbours(parts: Parts, event: Event, moment: int) -> components.Part:
    """What happened just before and after, whoever did it."""
    after = parts.queries.rows(Filter(since=moment, until=moment + NEARLY), 200)
    before = parts.queries.rows(Filter(since=moment - NEARLY, until=moment), NEAR)
    own = event["event"]["id"]
    later = [each for each in after.events if each["event"]["id"] != own][-NEAR:] if not after.cursor else []
    events = [*later, event, *before.events]
    bodies = {**after.bodies, **before.bodies}
    return components.card("Just before and after", _lines(parts, events, bodies, event), ident="neighbours")


def _day(parts: Parts, event: Event, moment: int) -> components.Part:
    name = at(event, "user.name")
    if not name:
        return None
    since, until = (time_format.midnight(moment, parts.zone, day) for day in (0, 1))
    where = Filter(since=since, until=until, terms={"user.name": [name]})
    rows, total = parts.queries.rows(where, LINES), parts.queries.total(where)
    view = View(period="between", start=utc(since), end=utc(until), person=name)
    every = components.link(f"All {components.many(total, 'event')} of that day", f"/audit?{view.query()}")
    lines = _lines(parts, rows.events, rows.bodies, event)
    return components.card(f"{name} that day", lines, html.P(every), ident="same-day")


def _lines(parts: Parts, events: Sequence[Event], bodies: Mapping[str, Event], own: Event) -> components.Part:
    def line(event: Event) -> components.Part:
        ident = event["event"]["id"]
        said = sentence(event, bodies.get(ident), parts.api)
        stamp = time_format.day_and_time(parse_rfc3339(event["@timestamp"]), parts.zone)
        words: Any = (
            components.link(str(said), address(ident)) if ident != own["event"]["id"] else html.Strong(str(said))
        )
        return html.Li([html.Time(stamp, dateTime=event["@timestamp"]), " ", words, f": {said.ending}"])

    return html.Ul([line(event) for event in events], className="findings")


def address(ident: str) -> str:
    return f"/audit/event?{View(event=ident).query()}"


def proven(said: Mapping[str, Any]) -> tuple[str, str]:
    """What the journal says of one event, as a state and in words."""
    if said["ok"] is None:
        return tones.UNKNOWN, f"Not verified: {said['why']}."
    if not said["ok"]:
        return tones.BAD, "The journal does not verify: something in it was changed or removed."
    if said["different"]:
        return tones.BAD, "The journal verifies, and holds this event with other content than is shown here."
    if said["missing"]:
        return tones.BAD, "The journal verifies and reaches back further than this event, and does not hold it."
    if said["matched"]:
        return tones.GOOD, "Proven: the journal verifies, and holds this event identical to what is shown here."
    return tones.WARN, "The journal verifies, but does not hold this event (any more)."


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.AUDITOR,
        Output("ev-proof", "children"),
        Input("ev-prove", "n_clicks"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def prove(clicks: int | None, query: str | None) -> Any:
        if not clicks:
            return no_update
        asked = visit("/audit/event", query)

        def check() -> components.Part:
            ident = View.parse(asked.query).event
            rows = parts.queries.rows(Filter(terms={"event.id": [ident]}), 1)
            found = parts.exports.proof({each["event"]["id"]: row_of(each) for each in rows.events})
            state, words = proven(found)
            parts.trail.note(asked.who, asked.address, "look", f"the journal's proof of {ident}")
            return components.notice(state, words)

        return guarded(check)


PAGE: Final = Page("/audit/event", "One event", Role.AUDITOR, draw, wire, in_menu=False)
