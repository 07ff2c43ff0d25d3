"""Each endpoint: its traffic, how long it takes, how it fails, who answers for it, and whether the standby could."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from dash import html

from alerts.counting.counts import OTHER
from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data.event_queries import PEOPLE, bucket_for
from dashboard.data.nodes import differing
from dashboard.data.replacement import ONLY_UPSTREAM
from dashboard.data.traffic import Traffic, traffic
from dashboard.page import Page
from dashboard.ui import charts, components, refresh
from dashboard.values import reasons, time_format, tones
from dashboard.values.filters import PERIODS, View
from dashboard.widgets import action_dialog, nodes_card
from sidecar.control.client import ControlError
from sidecar.events.store import Filter, StoreUnavailable
from sidecar.timeunits import DAY

log = logging.getLogger(__name__)
SHOWN: Final = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
"""The periods, in seconds."""
_CIRCUITS: Final = {"closed": tones.GOOD, "open": tones.BAD, "half_open": tones.WARN}


def draw(parts: Parts, asked: Visit) -> components.Part:
    period = _period(asked)
    periods = [
        components.link(PERIODS[key], f"/endpoints?period={key}", className="here" if period == key else "")
        for key in SHOWN
    ]
    return [
        html.H1("Endpoints"),
        html.Nav(periods, className="tabs", **{"aria-label": "Period"}),
        *refresh.frame("endpoints", drawn(parts, asked), 5),
    ]


def _period(asked: Visit) -> str:
    period = View.parse(asked.query).period
    return period if period in SHOWN else "24h"


def drawn(parts: Parts, asked: Visit) -> refresh.Drawn:
    now = parts.clock()
    known, blind = _traffic(parts, SHOWN[_period(asked)], now)
    try:
        states = parts.plane().get("/endpoints")
        lost = None
    except ControlError as error:
        states = [{"id": each.id, "name": each.name} for each in parts.contract.endpoints.values()]
        lost = components.failed("The sidecar's control plane does not answer: who answers is not known", str(error))
    others = differing(parts.nodes.each("/endpoints"), states) if lost is None else {}
    seen = [state for state in states if known is None or state["name"] in known or state.get("mode", "auto") != "auto"]
    rest = [state for state in states if state not in seen]
    of = {state["id"]: None if known is None else known.get(state["name"], Traffic("")) for state in seen}
    seen.sort(key=lambda state: _harm(of[state["id"]], state))
    outside = known.get(OTHER) if known else None
    return {
        "lost": [each for each in (lost, blind, nodes_card.silence(parts.nodes.health())) if each is not None] or None,
        **{state["id"]: _card(parts, state, of[state["id"]], others.get(state["id"], {})) for state in seen},
        **{state["id"]: None for state in rest},
        "rest": _rest(parts, rest),
        "outside": html.P(f"{components.number(outside.total)} requests outside the contract.") if outside else None,
        "as of": components.as_of(now, parts.zone, 5),
    }


def _traffic(parts: Parts, seconds: int, now: int) -> tuple[dict[str, Traffic] | None, components.Part]:
    """None while the event store is away, with a word for it: who answers is known, and can be changed."""
    try:
        return traffic(parts.queries, parts.counted, seconds, now), None
    except StoreUnavailable as error:
        log.warning("the event store does not answer (%s)", type(error).__name__)
    words = "Who answers is, and can be changed. This is tried again by itself."
    return None, components.notice(tones.WARN, "The event store does not answer: traffic is not known", words)


def _harm(traffic: Traffic | None, state: Mapping[str, Any]) -> tuple[int, int, int]:
    """The most harm to users first: what failed them, then what ended without certainty, then the busiest; where that
    is not known, what the upstream is not asked for."""
    if traffic is None:
        return -(state.get("circuit", "closed") != "closed"), 0, 0
    return -traffic.failed, -traffic.uncertain, -traffic.total


def _verbs(state: dict[str, Any]) -> list[str]:
    """What can be done here that would work."""
    if "mode" not in state:
        return []
    only_hosp = state["ready_reason"] == ONLY_UPSTREAM
    verbs = [] if only_hosp or state["mode"] == "standby" else ["takeover"]
    if state["mode"] != "auto":
        verbs.append("handback")
    return verbs if only_hosp else [*verbs, "route"]


def _card(parts: Parts, state: dict[str, Any], traffic: Traffic | None, others: Mapping[str, str]) -> components.Part:
    """`traffic`: None where it is not known. `others`: nodes that say that somebody else answers."""
    ident = state["id"]
    verbs = _verbs(state)
    buttons = [action_dialog.button(verb, ident, state["name"]) for verb in verbs]
    facts = html.Div(_facts(parts.api, state, traffic, others), className="facts")
    kind = "endpoint failing" if traffic is not None and traffic.failed else "endpoint"
    return components.card(
        state["name"],
        html.Div(buttons, className="buttons") if buttons else None,
        facts,
        ident=f"e-{ident.replace('.', '-')}",
        kind=kind,
    )


def _facts(api: str, state: dict[str, Any], traffic: Traffic | None, others: Mapping[str, str]) -> components.Part:
    facts = [("Traffic", "not known")] if traffic is None else _requests(api, state["id"], traffic)
    if "mode" in state:
        share = f", {state['percent']:g}% of callers go to the standby" if 0 < (state.get("percent") or 0) < 100 else ""
        why = f": {state['reason']}" if state["reason"] else ""
        by = f" ({reasons.actor(state['changed_by'])}{why})" if state.get("changed_by") else ""
        said = reasons.circuit(state["circuit"], state["circuit_reason"] or "", api)
        circuit = components.mark(_CIRCUITS.get(state["circuit"], tones.UNKNOWN), said)
        ready = _ready(state, api)
        facts += [
            ("Who answers", f"{_answerer(state['answered_by'], api)}{share}; {_mode(state['mode'], api)}{by}"),
            *([("Other nodes", _disagree(others, api))] if others else []),
            ("Circuit", circuit),
            ("Standby ready?", ready),
            ("Parity", _of(state["parity"], "of compared answers were equal", "nothing was compared yet")),
            ("Completeness", _of(state["completeness"], "of its records are certain", "not known as a whole")),
        ]
    return html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts])


def _ready(state: Mapping[str, Any], api: str) -> components.Part:
    said = reasons.unready(state["ready_reason"], api) or "ready"
    return components.mark(tones.GOOD if state["ready"] else tones.WARN, said)


def _requests(api: str, ident: str, traffic: Traffic) -> list[tuple[str, components.Part]]:
    answered = traffic.total - traffic.failed - traffic.uncertain
    ratio = answered / traffic.total if traffic.total else None
    unsure = f", {components.number(traffic.uncertain)} without certainty" if traffic.uncertain else ""
    return [
        ("Traffic", f"{components.many(traffic.total, 'request')}, {components.percent(ratio)} answered{unsure}"),
        (f"{api} itself", _upstream(traffic)),
        ("Failures by kind", _kinds(api, traffic)),
        ("Time to answer", html.Span([_times(traffic), _latency(ident)])),
    ]


def _times(traffic: Traffic) -> str:
    times = {percent: time_format.took(value) for percent, value in traffic.percentiles.items()}
    return f"50%: {times[50.0]}, 95%: {times[95.0]}, 99%: {times[99.0]}" if times else "no data"


def _latency(ident: str) -> html.Span:
    return html.Span([" · ", components.link("over time", f"/endpoints/latency?{View(text=ident).query()}")])


def _upstream(traffic: Traffic) -> str:
    """What the upstream gave of what it was asked, users or not seeing it."""
    asked = sum(count for outcome, count in traffic.upstream.items() if outcome in ("success", "failure", "unknown"))
    if not asked:
        return "was not asked"
    bad = traffic.upstream["failure"]
    unclear = f", {components.number(traffic.upstream['unknown'])} unclear" if traffic.upstream["unknown"] else ""
    return f"{components.number(bad)} of {components.number(asked)} failed{unclear}"


def _kinds(api: str, traffic: Traffic) -> str:
    """`12 × 503, HOSP was too late; 2 × 500, of HOSP`; the most frequent first."""
    said = []
    for (answerer, status, reason), count in traffic.kinds.most_common(4):
        why = reasons.failure(reason, api)
        of = f", of {api}" if answerer == "upstream" else ""
        said.append(f"{count:,} × {status or 'no answer'}{of}{f', {why}' if why else ''}")
    return "; ".join(said) or "none"


def _of(ratio: float | None, good: str, none: str) -> str:
    return none if ratio is None else f"{components.percent(ratio)} {good}"


def _answerer(name: str, api: str) -> str:
    return {"upstream": api, "standby": "the standby", "both": f"{api}, and the standby for a share"}.get(name, name)


def _disagree(others: Mapping[str, str], api: str) -> components.Part:
    """A node that was cut off from the others goes by what it saw."""
    said = "; ".join(f"{node} says: {_answerer(name, api)}" for node, name in others.items())
    return components.mark(tones.WARN, said)


def _mode(mode: str, api: str) -> str:
    return {"auto": "decided by its circuit", "standby": "taken over", "upstream": f"held at {api}"}.get(mode, mode)


def _rest(parts: Parts, states: list[dict[str, Any]]) -> components.Part:
    if not states:
        return None
    rows = []
    for state in states:
        known = "mode" in state
        who = _answerer(state["answered_by"], parts.api) if known else "not known"
        ready = _ready(state, parts.api) if known else "–"
        rows.append(
            (
                state["name"],
                who,
                ready,
                action_dialog.button("takeover", state["id"], state["name"]) if "takeover" in _verbs(state) else "–",
            )
        )
    shown = components.table("Endpoints without traffic", ["endpoint", "who answers", "standby ready?", "action"], rows)
    return components.card(
        "Without traffic in this period", html.Details([html.Summary(f"{len(rows)} endpoints"), shown]), ident="idle"
    )


def latency(parts: Parts, asked: Visit) -> components.Part:
    """One endpoint's percentiles over the last day."""
    ident = View.parse(asked.query).text
    endpoint = parts.contract.endpoints.get(ident)
    if endpoint is None:
        return [html.H1("Latency"), components.notice(tones.BAD, "There is no such endpoint", ident)]
    now = parts.clock()
    where = Filter(since=now - DAY, terms={**PEOPLE, "understudy.endpoint": [endpoint.name]})
    interval = bucket_for(DAY, 60)
    times = parts.queries.percentiles(where, interval)
    drawn = components.empty("No requests in the last 24 hours")
    if times:
        worst = max(found.get(99.0, 0) for _, found in times)
        says = (
            f"99% of requests were answered within {time_format.took(worst)} "
            f"even in the slowest {charts.span(interval).removeprefix('1 ')}."
        )
        rows = [
            (time_format.day_and_time(at, parts.zone), *(time_format.took(found[p]) for p in (50.0, 95.0, 99.0)))
            for at, found in times
        ]
        zone = time_format.zone_name(now, parts.zone)
        table = components.table("Percentiles", [f"from, {zone}", "50%", "95%", "99%"], rows, (1, 2, 3))
        drawn = components.graph("latency-graph", charts.latencies(times, parts.zone), says, table)
    return [
        html.H1(f"Latency of {endpoint.name}"),
        html.P("Last 24 hours, requests of people."),
        components.card("Time to answer", drawn, ident="latency"),
        html.P(components.link("To all endpoints", "/endpoints")),
    ]


def wire(callbacks: Callbacks, parts: Parts) -> None:
    refresh.wire(callbacks, parts, Role.OPERATOR, "endpoints", "/endpoints", drawn)


PAGE: Final = Page("/endpoints", "Endpoints", Role.OPERATOR, draw, wire)
LATENCY: Final = Page("/endpoints/latency", "Latency", Role.OPERATOR, latency, in_menu=False)
