"""Are users being served, now and over the period? What HOSP gave, what users got, and what happened meanwhile."""

from __future__ import annotations

import logging
from typing import Any, Final

from dash import Input, Output, html
from sqlalchemy.exc import SQLAlchemyError

from alerts.counting.counts import Tally
from alerts.objectives import burn_rate
from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data import alert_titles, latencies, timeline
from dashboard.data.event_queries import bucket_for
from dashboard.data.slo_figures import Slice
from dashboard.data.timeline import Group, Moment
from dashboard.page import Page
from dashboard.ui import charts, components, refresh
from dashboard.ui.error_notices import guarded
from dashboard.values import time_format, tones
from dashboard.values.filters import PERIODS, View
from dashboard.widgets import nodes_card, objectives_card
from sidecar.control.client import ControlError
from sidecar.events.store import StoreUnavailable
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)
NOW: Final = 300
"""Seconds: what "now" is."""
FLOOR: Final = 0.99
"""The least that the client asked for; below it users are not being served."""
RENEWED: Final = 10
SHOWN: Final = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
"""The periods, in seconds."""
LISTED: Final = 25


def draw(parts: Parts, asked: Visit) -> components.Part:
    period = _period(asked)
    periods = [
        components.link(PERIODS[key], f"/?period={key}", className="here" if period == key else "") for key in SHOWN
    ]
    first = _first(parts, asked) if parts.counted.ready else _counting()
    return [
        html.H1("Are users being served?"),
        html.Nav(periods, className="tabs", **{"aria-label": "Period"}),
        *refresh.frame("overview", first, RENEWED),
    ]


def _period(asked: Visit) -> str:
    period = View.parse(asked.query).period
    return period if period in SHOWN else "24h"


def _first(parts: Parts, asked: Visit) -> refresh.Drawn:
    """While the event store is away: what the sidecar and the alerts tell, and that the rest is not known."""
    try:
        return drawn(parts, asked)
    except StoreUnavailable as error:
        log.warning("the event store does not answer (%s)", type(error).__name__)
    now = parts.clock()
    happened, missing, alive = _happened(parts, now - SHOWN[_period(asked)] * SECOND)
    words = "Unknown: the event store does not answer."
    detail = "The sidecar does." if alive else "Nor does the sidecar: users may not be served."
    return {
        **dict.fromkeys(PARTS),
        "answer": components.notice(tones.BAD, words, f"{detail} This is tried again by itself."),
        "missing": missing,
        "timeline": components.card("What happened", _timeline(parts, happened, now), ident="timeline"),
        "as of": components.as_of(now, parts.zone, RENEWED),
    }


def _renewed(parts: Parts, asked: Visit) -> refresh.Drawn:
    """Raises StoreUnavailable where there is something to be left standing."""
    return drawn(parts, asked) if parts.counted.ready else _first(parts, asked)


PARTS: Final = ("answer", "failing", "missing", "versus", "traffic", "timeline", "objectives", "nodes", "as of")


def _counting() -> refresh.Drawn:
    """Before everything was counted once, after a start: the rest follows by itself."""
    words = html.P("Counting the requests of the last 30 days …", className="loading", role="status", id="o-counting")
    return {**dict.fromkeys(PARTS), "answer": words}


def drawn(parts: Parts, asked: Visit) -> refresh.Drawn:
    period, now = _period(asked), parts.clock()
    seconds = SHOWN[period]
    interval = bucket_for(seconds * SECOND)
    slices = parts.counted.traffic(seconds, interval // SECOND)
    recent, whole = parts.counted.recent(NOW), _sum(slices)
    happened, missing, alive = _happened(parts, now - seconds * SECOND)
    return {
        "answer": _answer(recent, whole, PERIODS[period], alive),
        "failing": _failing(parts, asked),
        "missing": missing,
        "versus": _versus(parts, seconds),
        "traffic": components.card(
            f"Traffic, {PERIODS[period]}", *_traffic(parts, slices, interval, happened, now), ident="traffic"
        ),
        "timeline": components.card("What happened", _timeline(parts, happened, now), ident="timeline"),
        "objectives": objectives_card.card(parts),
        "nodes": nodes_card.card(parts, parts.nodes.health()),
        "as of": components.as_of(now, parts.zone, RENEWED),
    }


def _answer(recent: Slice, whole: Slice, period: str, alive: bool) -> components.Part:
    """The question's answer, in a sentence. Past requests say nothing of now while the sidecar does not answer."""
    over = (
        f"{components.percent(whole.ratio)} of {components.number(whole.total)} requests were answered in the {period}."
    )
    if not alive:
        words = "Unknown: the sidecar does not answer. Users may not be served."
        return components.notice(tones.BAD, words, f"Until it stopped: {over}" if whole.total else "")
    if recent.ratio is None:
        words = "No requests in the last 5 minutes: nobody is being served, or nobody asks."
        return components.notice(
            tones.UNKNOWN, words, over if whole.total else "Nothing was recorded in the period either."
        )
    whole_number, part = components.number(recent.total), components.percent(recent.ratio)
    share = f"{part} of {whole_number} requests in the last 5 minutes were answered."
    if recent.ratio < FLOOR:
        return components.notice(tones.BAD, "No, not all of them.", f"{share} {over}")
    if recent.standby > recent.upstream:
        return components.notice(tones.WARN, "Yes, mostly by the standby.", f"{share} {over}")
    return components.notice(tones.GOOD, "Yes.", f"{share} {over}")


def _failing(parts: Parts, asked: Visit) -> components.Part:
    """Endpoints that fail users now, by name, the most harm first."""
    found = parts.counted.failing(NOW)
    if not found:
        return None
    items = [
        html.Li(components.mark(tones.BAD, f"{name}: {failed:,} of {total:,} failed in the last 5 minutes"))
        for name, failed, total in found[:8]
    ]
    more = html.P(f"and {len(found) - 8} more") if len(found) > 8 else None
    where = components.link("All endpoints", "/endpoints?period=1h") if asked.may(Role.OPERATOR) else None
    return components.card("Failing now", html.Ul(items, className="plain"), more, where, ident="failing")


def _versus(parts: Parts, seconds: int) -> components.Part:
    """HOSP gave 95.9%, users got 99.99%: two views of the first promise, kept apart."""
    both = parts.promised.headline
    tallies = dict(zip((each.objective.view for each in both), parts.counted.over(both, seconds), strict=True))
    users, hosp = tallies.get("users"), tallies.get("hosp")
    shown = [
        _got(f"{parts.api} gave", hosp, "asked of it failed") if hosp else None,
        _got("Users got", users, "failed") if users else None,
        components.tile(
            "The standby saved", components.number(users.saved), f"that {parts.api} failed or was not asked"
        )
        if users
        else None,
        _speed(parts, seconds),
    ]
    return html.Div([html.Dl(shown, className="tiles versus"), _uncounted(parts, users, hosp)])


def _got(label: str, tally: Tally, what: str) -> components.Part:
    share = burn_rate.sli(tally.counts)
    if share is None:
        return components.tile(label, "no data", "no request was asked")
    detail = f"{components.number(tally.counts.bad)} of {components.number(tally.total)} requests {what}"
    return components.tile(label, components.percent(float(share)), detail)


def _speed(parts: Parts, seconds: int) -> components.Part:
    percentiles = latencies.whole(parts.queries, seconds, parts.clock())
    if not percentiles:
        return components.tile("Time to answer", "no data")
    slowest = f"half are faster; 99% within {time_format.took(percentiles[99.0])}"
    return components.tile("Time to answer", time_format.took(percentiles[50.0]), slowest)


def _uncounted(parts: Parts, users: Tally | None, hosp: Tally | None) -> components.Part:
    """What neither figure counts, so that nobody wonders."""
    users, hosp = users or Tally(), hosp or Tally()
    left_out = (
        (users.client_left, "whose client left"),
        (users.test, "of tests"),
        (users.outside_contract, "outside the contract"),
    )
    said = [f"{components.number(count)} {what}" for count, what in left_out if count]
    words = f"{parts.api} was not asked {components.number(hosp.not_asked)} times. " if hosp.not_asked else ""
    words += f"Not counted: {', '.join(said)}." if said else ""
    return html.P(words, className="quiet small") if words else None


def _traffic(
    parts: Parts, slices: list[Slice], interval: int, happened: list[Moment], now: int
) -> list[components.Part]:
    whole = _sum(slices)
    if not whole.total:
        return [components.empty("No requests in this period", "As soon as the sidecar records one, it is shown here.")]
    unsure = f", {components.number(whole.uncertain)} ended without certainty" if whole.uncertain else ""
    says = (
        f"{components.number(whole.upstream)} requests answered by {parts.api}, "
        f"{components.number(whole.standby)} by the standby, "
        f"{components.number(whole.failed)} failed{unsure}."
    )
    rows = [
        (
            time_format.day_and_time(part.start, parts.zone),
            *(components.number(n) for n in (part.upstream, part.standby, part.failed, part.uncertain)),
        )
        for part in _coarser(slices, 24)
    ]
    start = f"from, {time_format.zone_name(slices[-1].start, parts.zone)}"
    columns = [start, parts.api, "standby", "failed", "uncertain"]
    shown = components.table("Requests by who answered", columns, rows, (1, 2, 3, 4))
    return [
        components.graph(
            "traffic-graph", charts.traffic(slices, interval, parts.zone, happened, now, parts.api), says, shown
        )
    ]


def _happened(parts: Parts, since: int) -> tuple[list[Moment], components.Part, bool]:
    """Takeovers, alerts and marks that reach into the period; a word for what could not be asked; is it alive?"""
    found: list[Moment] = []
    missing, alive = [], True
    try:
        plane = parts.plane()
        found += timeline.marks(plane.get("/marks")) + timeline.takeovers(plane.get("/transitions"), parts.api)
    except ControlError as error:
        alive = False
        missing.append(
            components.notice(
                tones.WARN,
                "The sidecar's control plane does not answer: takeovers and marks are missing",
                str(error),
            )
        )
    try:
        labels = {alert.key: alert.labels for alert in parts.alerts.all()}
        history = parts.alerts.history(1000)
        found += timeline.alerts(
            history, lambda line: alert_titles.title(parts.promised, line["name"], labels.get(line["key"], {}))
        )
    except SQLAlchemyError as error:
        missing.append(
            components.notice(
                tones.WARN, "The alerts' database does not answer: alerts are missing", type(error).__name__
            )
        )
    if (silent := nodes_card.silence(parts.nodes.health())) is not None:
        missing.append(silent)
    return [each for each in found if each.until is None or each.until >= since], missing or None, alive


def _timeline(parts: Parts, happened: list[Moment], now: int) -> components.Part:
    if not happened:
        return components.empty("Nothing in this period", "Takeovers, alerts and marks are listed here.")
    groups = timeline.grouped(happened)
    items = [html.Li(_group(parts, group, now)) for group in groups[:LISTED]]
    more = html.P(f"and {len(groups) - LISTED} before these") if len(groups) > LISTED else None
    return html.Div([html.Ul(items, className="timeline"), more])


def _group(parts: Parts, group: Group, now: int) -> list[components.Part]:
    first, others = group.first, group.others
    kind = "page" if first.grave else first.kind if first.kind != "alert" else first.said
    lasted = "" if first.kind == "mark" else _lasted(first, now)
    stamp = html.Time(f"{time_format.day_and_time(first.at, parts.zone)}{lasted}")
    tag = html.Span(kind, className=f"tag {kind}")
    if not others:
        return [tag, html.Span(str(first) if first.kind != "alert" else first.what), stamp]
    listed = html.Ul([html.Li(f"{each.what}{_lasted(each, now)}") for each in (first, *others)])
    said = f": {first.said}" if first.kind == "takeover" else ""
    return [tag, html.Details([html.Summary(f"{first.what} and {len(others)} more{said}"), listed]), stamp]


def _lasted(moment: Moment, now: int) -> str:
    if moment.until is None:
        return f", for {time_format.took(max(0, now - moment.at))} so far"
    return f", for {time_format.took(max(0, moment.until - moment.at))}"


def _coarser(slices: list[Slice], most: int) -> list[Slice]:
    """The same in at most so many parts: a table is read, not looked at."""
    step = max(1, -(-len(slices) // most))
    return [_sum(slices[n : n + step]) for n in range(0, len(slices), step)]


def _sum(slices: list[Slice]) -> Slice:
    whole = Slice(slices[0].start)
    for part in slices:
        whole = whole.plus(part)
    return whole


def wire(callbacks: Callbacks, parts: Parts) -> None:
    refresh.wire(callbacks, parts, Role.AUDITOR, "overview", "/", _renewed)

    @callbacks.on(
        Role.AUDITOR,
        Output("done", "data", allow_duplicate=True),
        Input("o-counting", "id"),
        prevent_initial_call="initial_duplicate",
    )
    def counted(_ident: str) -> Any:
        """Renews the parts as soon as there is something to show; that the store does not answer they say."""
        guarded(parts.counted.everything)
        return parts.clock()


PAGE: Final = Page("/", "Overview", Role.AUDITOR, draw, wire)
