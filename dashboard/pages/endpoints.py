"""Each endpoint: its traffic, how long it takes, how it fails, who answers for it, and whether the standby could."""

from __future__ import annotations

from typing import Any, Final

from dash import html

from dashboard import figures, live, ui, when
from dashboard.access import Role
from dashboard.guard import Callbacks
from dashboard.page import Page
from dashboard.pages import doing
from dashboard.parts import Parts, Visit
from dashboard.queries import PEOPLE, Traffic, bucket_for
from dashboard.view import PERIODS, View
from dashboard.when import DAY
from sidecar.client import ControlError
from sidecar.record.stores import Filter

SHOWN: Final = ("1h", "24h", "7d", "30d")
_CIRCUITS: Final = {"closed": ui.GOOD, "open": ui.BAD, "half_open": ui.WARN}


def draw(parts: Parts, asked: Visit) -> ui.Part:
    view = View.parse(asked.query)
    periods = [
        ui.link(PERIODS[key], f"/endpoints?period={key}", className="here" if view.period == key else "")
        for key in SHOWN
    ]
    return [
        html.H1("Endpoints"),
        html.Nav(periods, className="tabs", **{"aria-label": "Period"}),
        *live.frame("endpoints", drawn(parts, asked), 5),
    ]


def drawn(parts: Parts, asked: Visit) -> live.Drawn:
    view = View.parse(asked.query)
    now = parts.clock()
    where = view.filter(now, parts.zone)
    traffic = parts.queries.traffic(where)
    try:
        states = parts.plane().get("/endpoints")
        lost = None
    except ControlError as error:
        states = [{"id": each.id, "name": each.name} for each in parts.contract.endpoints.values()]
        lost = ui.failed("The sidecar's control plane does not answer: who answers is not known", str(error))
    seen = [state for state in states if state["name"] in traffic or state.get("mode", "auto") != "auto"]
    rest = [state for state in states if state not in seen]
    seen.sort(key=lambda state: -traffic.get(state["name"], Traffic("")).total)
    outside = traffic.get("other")
    return {
        "lost": lost,
        **{state["id"]: _card(state, traffic.get(state["name"], Traffic(state["name"]))) for state in seen},
        **{state["id"]: None for state in rest},
        "rest": _rest(rest),
        "outside": html.P(f"{ui.number(outside.total)} requests outside the contract.") if outside else None,
        "as of": ui.as_of(now, parts.zone, 5),
    }


def _card(state: dict[str, Any], traffic: Traffic) -> ui.Part:
    ident = state["id"]
    verbs = ("takeover", "handback", "route") if "mode" in state else ()
    buttons = html.Div([doing.button(verb, ident) for verb in verbs], className="buttons") if verbs else None
    facts = html.Div(_facts(state, traffic), className="facts")
    return ui.card(state["name"], buttons, facts, ident=f"e-{ident.replace('.', '-')}", kind="endpoint")


def _facts(state: dict[str, Any], traffic: Traffic) -> ui.Part:
    answered = traffic.total - traffic.failed - traffic.uncertain
    ratio = answered / traffic.total if traffic.total else None
    unsure = f", {ui.number(traffic.uncertain)} without certainty" if traffic.uncertain else ""
    facts: list[tuple[str, ui.Part]] = [
        ("Traffic", f"{ui.many(traffic.total, 'request')}, {ui.percent(ratio)} answered{unsure}"),
        ("HOSP itself", _upstream(traffic)),
        ("Failures by kind", _kinds(traffic)),
        ("Time to answer", html.Span([_times(traffic), _latency(state["id"])])),
    ]
    if "mode" in state:
        share = f", {state['percent']:g}% of callers routed to the standby" if state.get("percent") else ""
        by = f" (by {state['changed_by']}: {state['reason']})" if state.get("changed_by") else ""
        circuit = ui.mark(_CIRCUITS.get(state["circuit"], ui.UNKNOWN), state["circuit"].replace("_", "-"))
        ready = ui.mark(ui.GOOD if state["ready"] else ui.WARN, state["ready_reason"] or "ready")
        facts += [
            ("Who answers", f"{_answerer(state['answered_by'])}{share}; {_mode(state['mode'])}{by}"),
            ("Circuit", html.Span([circuit, f" {state['circuit_reason'] or ''}"])),
            ("Could the standby?", ready),
            ("Parity", _of(state["parity"], "of compared answers were equal", "nothing was compared yet")),
            ("Completeness", _of(state["completeness"], "of its records are certain", "not known as a whole")),
        ]
    return html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts])


def _times(traffic: Traffic) -> str:
    times = {percent: when.took(value) for percent, value in traffic.percentiles.items()}
    return f"50%: {times[50.0]}, 95%: {times[95.0]}, 99%: {times[99.0]}" if times else "no data"


def _latency(ident: str) -> html.Span:
    return html.Span([" · ", ui.link("over time", f"/endpoints/latency?{View(text=ident).query()}")])


def _upstream(traffic: Traffic) -> str:
    """What HOSP gave of what it was asked, users or not seeing it."""
    asked = sum(count for outcome, count in traffic.upstream.items() if outcome in ("success", "failure", "unknown"))
    if not asked:
        return "was not asked"
    bad = traffic.upstream["failure"]
    unclear = f", {ui.number(traffic.upstream['unknown'])} unclear" if traffic.upstream["unknown"] else ""
    return f"{ui.number(bad)} of {ui.number(asked)} failed{unclear}"


_REASONS: Final = {
    "deadline": "HOSP was too late",
    "timeout": "HOSP was too late",
    "upstream_timeout": "HOSP was too late",
    "unverified": "the copy is not verified",
    "queued": "waits behind an unsettled write",
    "cannot_verify": "the caller could not be verified",
    "database": "our database was away",
    "internal": "our own error",
}


def _kinds(traffic: Traffic) -> str:
    """`12 × 503, HOSP was too late; 2 × 500 of HOSP`; the most frequent first."""
    said = []
    for (answerer, status, reason), count in traffic.kinds.most_common(4):
        why = _REASONS.get(reason, reason.replace("_", " ").replace("upstream", "HOSP:"))
        of = ", of HOSP" if answerer == "upstream" else ""
        said.append(f"{count:,} × {status or 'no answer'}{of}{f', {why}' if why else ''}")
    return "; ".join(said) or "none"


def _of(ratio: float | None, good: str, none: str) -> str:
    return none if ratio is None else f"{ui.percent(ratio)} {good}"


def _answerer(name: str) -> str:
    return {"upstream": "HOSP", "standby": "the standby"}.get(name, name)


def _mode(mode: str) -> str:
    return {"auto": "decided by its circuit", "standby": "taken over", "upstream": "held at HOSP"}.get(mode, mode)


def _rest(states: list[dict[str, Any]]) -> ui.Part:
    if not states:
        return None
    rows = []
    for state in states:
        known = "mode" in state
        who = _answerer(state["answered_by"]) if known else "not known"
        ready = (
            ui.mark(ui.GOOD if state.get("ready") else ui.WARN, state.get("ready_reason") or "ready") if known else "–"
        )
        rows.append((state["name"], who, ready, doing.button("takeover", state["id"]) if known else "–"))
    shown = ui.table("Endpoints without traffic", ["endpoint", "who answers", "could the standby?", "action"], rows)
    return ui.card(
        "Without traffic in this period", html.Details([html.Summary(f"{len(rows)} endpoints"), shown]), ident="idle"
    )


def latency(parts: Parts, asked: Visit) -> ui.Part:
    """One endpoint's percentiles over the last day."""
    ident = View.parse(asked.query).text
    endpoint = parts.contract.endpoints.get(ident)
    if endpoint is None:
        return [html.H1("Latency"), ui.notice(ui.BAD, "There is no such endpoint", ident)]
    now = parts.clock()
    where = Filter(since=now - DAY, terms={**PEOPLE, "understudy.endpoint": [endpoint.name]})
    interval = bucket_for(DAY, 60)
    times = parts.queries.percentiles(where, interval)
    drawn = ui.empty("No requests in the last 24 hours")
    if times:
        worst = max(found.get(99.0, 0) for _, found in times)
        says = f"99% of requests were answered within {when.took(worst)} even in the slowest half hour."
        rows = [
            (when.day_and_time(at, parts.zone), *(when.took(found[p]) for p in (50.0, 95.0, 99.0)))
            for at, found in times
        ]
        zone = when.zone_name(now, parts.zone)
        table = ui.table("Percentiles", [f"from, {zone}", "50%", "95%", "99%"], rows, (1, 2, 3))
        drawn = ui.graph("latency-graph", figures.latencies(times, parts.zone), says, table)
    return [
        html.H1(f"Latency of {endpoint.name}"),
        html.P("Last 24 hours, requests of people."),
        ui.card("Time to answer", drawn, ident="latency"),
        html.P(ui.link("To all endpoints", "/endpoints")),
    ]


def wire(callbacks: Callbacks, parts: Parts) -> None:
    live.wire(callbacks, parts, Role.OPERATOR, "endpoints", "/endpoints", drawn)


PAGE: Final = Page("/endpoints", "Endpoints", Role.OPERATOR, draw, wire)
LATENCY: Final = Page("/endpoints/latency", "Latency", Role.OPERATOR, latency, in_menu=False)
