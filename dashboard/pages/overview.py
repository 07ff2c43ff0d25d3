"""Are users being served, now and over the period? What HOSP gave, what users got, and what happened meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from dash import html

from dashboard import figures, live, ui, when
from dashboard.access import Role
from dashboard.figures import Moment
from dashboard.guard import Callbacks
from dashboard.page import Page
from dashboard.parts import Parts, Visit
from dashboard.queries import Slice, bucket_for
from dashboard.view import PERIODS, View
from dashboard.when import DAY, MINUTE
from sidecar.client import ControlError
from sidecar.record.stores import Filter

NOW: Final = 5 * MINUTE
"""What "now" is."""
FLOOR: Final = 0.99
"""The least that the client asked for; below it users are not being served."""
RENEWED: Final = 15
SHOWN: Final = ("1h", "24h", "7d", "30d")


def draw(parts: Parts, asked: Visit) -> ui.Part:
    view = View.parse(asked.query)
    periods = [
        ui.link(PERIODS[key], f"/?period={key}", className="here" if view.period == key else "") for key in SHOWN
    ]
    return [
        html.H1("Are users being served?"),
        html.Nav(periods, className="tabs", **{"aria-label": "Period"}),
        *live.frame("overview", drawn(parts, asked), RENEWED),
    ]


def drawn(parts: Parts, asked: Visit) -> live.Drawn:
    view, now = View.parse(asked.query), parts.clock()
    where = view.filter(now, parts.zone)
    slices, interval = _slices(parts, where, now)
    recent = _sum(parts.queries.slices(Filter(since=now - NOW), NOW))
    whole = _sum(slices)
    moments, missing = _moments(parts, where.since or now - DAY)
    return {
        "answer": _answer(recent, whole, PERIODS[view.period]),
        "missing": missing,
        "tiles": _tiles(parts, where, recent, whole),
        "traffic": ui.card(
            f"Traffic, {PERIODS[view.period]}", *_traffic(parts, slices, interval, moments), ident="traffic"
        ),
        "timeline": ui.card("What happened", _timeline(parts, moments, now), ident="timeline"),
        "as of": ui.as_of(now, parts.zone, RENEWED),
    }


def _slices(parts: Parts, where: Filter, now: int) -> tuple[list[Slice], int]:
    interval = bucket_for((where.until or now) - (where.since if where.since is not None else now - DAY))
    return parts.queries.slices(where, interval), interval


def _answer(recent: Slice, whole: Slice, period: str) -> ui.Part:
    """The question's answer, in a sentence."""
    over = f"{ui.percent(whole.ratio)} of {ui.number(whole.total)} requests were answered in the {period}."
    if recent.ratio is None:
        words = "No requests in the last 5 minutes: nobody is being served, or nobody asks."
        return ui.notice(ui.UNKNOWN, words, over if whole.total else "Nothing was recorded in the period either.")
    share = f"{ui.percent(recent.ratio)} of {ui.number(recent.total)} requests in the last 5 minutes were answered."
    if recent.ratio < FLOOR:
        return ui.notice(ui.BAD, "No, not all of them.", f"{share} {over}")
    if recent.standby > recent.upstream:
        return ui.notice(ui.WARN, "Yes, mostly by the standby.", f"{share} {over}")
    return ui.notice(ui.GOOD, "Yes.", f"{share} {over}")


def _tiles(parts: Parts, where: Filter, recent: Slice, whole: Slice) -> ui.Part:
    percentiles: dict[float, float] = {}
    for bucket in parts.queries.durations(where):
        percentiles = dict(bucket.percentiles)
    asked = whole.total
    hosp = whole.upstream / asked if asked else None
    return ui.tiles(
        [
            ui.tile("Users got", ui.percent(whole.ratio), f"{ui.number(whole.failed)} of {ui.number(asked)} failed"),
            ui.tile("HOSP gave", ui.percent(hosp), "of all requests, in time and whole"),
            ui.tile("The standby answered", ui.number(whole.standby), "requests that HOSP did not answer well"),
            ui.tile(
                "Time to answer",
                when.took(percentiles[50.0]) if percentiles else "no data",
                f"half are faster; 99% within {when.took(percentiles[99.0])}" if percentiles else "",
            ),
            ui.tile("Now", ui.number(recent.total), "requests in the last 5 minutes"),
        ]
    )


def _traffic(parts: Parts, slices: list[Slice], interval: int, moments: list[Moment]) -> list[ui.Part]:
    if not slices:
        return [ui.empty("No requests in this period", "As soon as the sidecar records one, it is shown here.")]
    whole = _sum(slices)
    says = (
        f"{ui.number(whole.upstream)} requests answered by HOSP, {ui.number(whole.standby)} by the standby, "
        f"{ui.number(whole.failed)} failed."
    )
    rows = [
        (when.day_and_time(part.start, parts.zone), *(ui.number(n) for n in (part.upstream, part.standby, part.failed)))
        for part in _coarser(slices, 24)
    ]
    start = f"from, {when.zone_name(slices[-1].start, parts.zone)}"
    shown = ui.table("Requests by who answered", [start, "HOSP", "standby", "failed"], rows, (1, 2, 3))
    return [ui.graph("traffic-graph", figures.traffic(slices, interval, parts.zone, moments), says, shown)]


def _moments(parts: Parts, since: int) -> tuple[list[Moment], ui.Part]:
    """Takeovers and marks, newest first; and a word when the control plane does not tell them."""
    try:
        plane = parts.plane()
        marks, transitions = plane.get("/marks"), plane.get("/transitions")
    except ControlError as error:
        return [], ui.notice(ui.WARN, "The sidecar's control plane does not answer", str(error))
    found = [Moment(mark["at"], "mark", f"{mark['text']} ({mark['by']})") for mark in marks]
    found += [moment for made in transitions if (moment := transition(made)) is not None]
    return sorted((moment for moment in found if moment.at >= since), key=lambda each: -each.at), None


def transition(made: dict[str, Any]) -> Moment | None:
    """A change of who answers, in words; None for a circuit's steps in between."""
    change = (made["before"], made["after"])
    if change == ("closed", "open") or made["after"] == "standby":
        verb = "the standby takes over"
    elif made["after"] in ("closed", "upstream") or (made["after"] == "auto" and made["before"] != "auto"):
        verb = "handed back to HOSP"
    else:
        return None
    by = f", by {made['by']}" if made.get("by") else ""
    reason = f": {made['reason']}" if made.get("reason") else ""
    return Moment(int(made["at"]), "takeover", f"{made['endpoint']}: {verb}{by}{reason}")


def _timeline(parts: Parts, moments: list[Moment], now: int) -> ui.Part:
    if not moments:
        return ui.empty("Nothing in this period", "Takeovers, alerts and marks are listed here.")
    items = []
    for moment in moments[:30]:
        stamp = html.Time(f"{when.day_and_time(moment.at, parts.zone)}")
        items.append(html.Li([html.Span(moment.kind, className=f"tag {moment.kind}"), " ", moment.said, " ", stamp]))
    more = html.P(f"and {len(moments) - 30} more") if len(moments) > 30 else None
    return html.Div([html.Ul(items, className="timeline"), more])


def _coarser(slices: list[Slice], most: int) -> list[Slice]:
    """The same in at most so many parts: a table is read, not looked at."""
    step = max(1, -(-len(slices) // most))
    return [replace(_sum(slices[n : n + step]), start=slices[n].start) for n in range(0, len(slices), step)]


def _sum(slices: list[Slice]) -> Slice:
    whole = Slice(0)
    for part in slices:
        whole.upstream += part.upstream
        whole.standby += part.standby
        whole.failed += part.failed
        whole.uncertain += part.uncertain
    return whole


def wire(callbacks: Callbacks, parts: Parts) -> None:
    live.wire(callbacks, parts, Role.AUDITOR, "overview", "/", drawn)


PAGE: Final = Page("/", "Overview", Role.AUDITOR, draw, wire)
