"""The weekly review: what was found in each week that is over, to be signed off finding by finding, then as a week."""

from __future__ import annotations

from datetime import date
from typing import Any, Final
from urllib.parse import parse_qs

from dash import ALL, Input, Output, State, ctx, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit, visit
from dashboard.data import findings, reviews
from dashboard.data.findings import Found
from dashboard.data.reviews import WHOLE, Item, NotSigned
from dashboard.page import Page
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.values.filters import ViewError
from sidecar.events.store import Filter
from sidecar.timeunits import DAY

SHOWN: Final = 8
"""Weeks back that wait to be reviewed."""
KEEP: Final = 600.0
"""Seconds for which it is believed which week was the first."""
PATH: Final = "/audit/review"


def draw(parts: Parts, asked: Visit) -> components.Part:
    week = _week(parts, asked.query)
    parts.trail.look(asked.who, asked.address, "look", f"the review of the week of {week}")
    return [
        html.H1("Weekly review"),
        _weeks(parts, week),
        html.Div(id="rv-said", role="alert"),
        html.Div(_items(parts, week), id="rv-items"),
        html.P(components.link("To the audit", "/audit")),
    ]


def weeks(parts: Parts) -> list[date]:
    """Those that are over, the latest first: the last one, and as many before it as have events. StoreUnavailable."""
    now = parts.clock()
    last = reviews.weeks(now, parts.zone, SHOWN)

    def oldest() -> int:
        since, _ = reviews.span(last[-1], parts.zone)
        return min((bucket.start for bucket in parts.queries.over_time(Filter(since=since), DAY)), default=now)

    first = reviews.monday(parts.queries.kept(("oldest", last[0]), KEEP, oldest), parts.zone)
    return [week for week in last if week >= first] or last[:1]


def _week(parts: Parts, query: str) -> date:
    """The one that is asked for, or the oldest that waits. Raises ViewError."""
    now = parts.clock()
    given = parse_qs(query.lstrip("?")).get("week", [""])[0]
    if given:
        try:
            return reviews.parse_week(given, now, parts.zone)
        except ValueError as error:
            raise ViewError(str(error)) from None
    last = weeks(parts)
    return last[0] if last[0] in parts.reviews.waiting(last) else (parts.reviews.waiting(last) or last)[0]


def _weeks(parts: Parts, chosen: date) -> components.Part:
    last = weeks(parts)
    waiting = set(parts.reviews.waiting(last))
    links = [
        components.link(
            [f"week of {time_format.day_of_year(week)}", " – to review" if week in waiting else " ✓"],
            f"{PATH}?week={week}",
            className="here" if week == chosen else "",
        )
        for week in last
    ]
    return html.Nav(links, className="tabs", **{"aria-label": "Weeks"})


def found(parts: Parts, week: date) -> Found:
    """Looked for again only when something was added to the week. Raises StoreUnavailable."""
    view, queries = reviews.view(week, parts.zone), parts.queries
    since, until = reviews.span(week, parts.zone)
    events = sum(bucket.count for bucket in queries.over_time(Filter(since=since, until=until), DAY, anew=True))

    def look() -> Found:
        return findings.look(queries, parts.contract, view, parts.clock(), parts.zone, findings.READ_WELL)

    made: Found = queries.while_same(("review", week), events, look)
    return made


def prepare(parts: Parts) -> None:
    """What is found in the week that the page opens at, where nobody has looked yet, before anybody waits for it.
    StoreUnavailable."""
    week = _week(parts, "")
    if not parts.reviews.written(week):
        found(parts, week)


def _items(parts: Parts, week: date) -> components.Part:
    def listed() -> components.Part:
        items = parts.reviews.of(week, lambda: found(parts, week))
        every = components.link("All events of that week", f"/audit?{reviews.view(week, parts.zone).query()}")
        return [html.P(every), *(_item(parts, item) for item in items)]

    return guarded(listed)


def _item(parts: Parts, item: Item) -> components.Part:
    whole = item.key == WHOLE
    said: components.Part = item.said if whole else components.link(item.said, f"/audit?{item.view}")
    state = tones.GOOD if item.signed_by else tones.BAD if item.weight >= 3 else tones.WARN
    heading = html.H2([components.mark(state), " ", "The whole week" if whole else item.kind, ": ", said])
    body = _signed(parts, item) if item.signed_by else _form(item, whole)
    return html.Section([heading, body], className="card review", **{"aria-label": f"{item.kind}: {item.said}"})


def _signed(parts: Parts, item: Item) -> components.Part:
    verdict = reviews.VERDICTS.get(item.verdict or "", "Reviewed")
    when = time_format.stamp(item.signed_at or 0, parts.zone)
    note = html.P(item.note, className="notes") if item.note else None
    return html.Div([html.P(f"{verdict}. Signed off by {item.signed_by} on {when}."), note])


def _form(item: Item, whole: bool) -> components.Part:
    name = f"{item.week}-{item.key}"
    note = {"type": "note", "item": name}
    hint = "may be left empty" if whole else "why, and what was done"
    parts = [] if whole else [components.choice({"type": "verdict", "item": name}, "What came of it", _CHOICES, "")]
    parts.append(components.field(note, "Note", "", hint, maxLength=reviews.NOTE, autoComplete="off"))
    label = "Sign off the week" if whole else "Sign off"
    ident = {"type": "sign", "item": name}
    said = {"aria-label": f"{label}: {item.said}"}
    return html.Form([*parts, html.Button(label, id=ident, type="button", className="primary", **said)])


_CHOICES: Final = list(reviews.VERDICTS.items())


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.AUDITOR,
        Output("rv-items", "children"),
        Output("rv-said", "children"),
        Input({"type": "sign", "item": ALL}, "n_clicks"),
        State({"type": "verdict", "item": ALL}, "value"),
        State({"type": "verdict", "item": ALL}, "id"),
        State({"type": "note", "item": ALL}, "value"),
        State({"type": "note", "item": ALL}, "id"),
        prevent_initial_call=True,
    )
    def sign(clicks: list[Any], verdicts: list[Any], of: list[Any], notes: list[Any], about: list[Any]) -> Any:
        if not ctx.triggered_id or not any(clicks):
            return no_update, no_update
        name = str(ctx.triggered_id["item"])
        week, key = name[:10], name[11:]
        verdict = {each["item"]: value for each, value in zip(of, verdicts, strict=True)}.get(name) or ""
        note = {each["item"]: value for each, value in zip(about, notes, strict=True)}.get(name) or ""
        asked = visit(PATH)
        try:
            item = parts.reviews.sign(week, key, asked.who.user, str(verdict), str(note))
        except NotSigned as error:
            return no_update, components.notice(tones.BAD, "Not signed off", str(error))
        parts.trail.note(asked.who, asked.address, "review", f"week of {week}: {item.kind}: {item.said}", str(note))
        return _items(parts, date.fromisoformat(week)), components.notice(tones.GOOD, "Signed off", item.said)


PAGE: Final = Page(PATH, "Weekly review", Role.AUDITOR, draw, wire, in_menu=False)
