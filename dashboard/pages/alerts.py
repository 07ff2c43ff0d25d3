"""Alerts: what fires and who works on it, what was, the notifications, and what the rules would have said.

What nobody evaluates is not shown as quiet: without an evaluator the page says so, and nothing is called fine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dash import html

from alerts import message
from alerts.lifecycle.lifecycle import BURNING, Alert, State
from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data import alert_titles, incidents, timeline
from dashboard.page import Page
from dashboard.ui import components, refresh
from dashboard.values import time_format, tones
from dashboard.widgets import action_dialog, backtest_card, incident_card, nodes_card
from sidecar.control.client import ControlError

RENEWED: Final = 5
SHOWN: Final = 50
"""Lines of history, without what was only noticed and never fired, and of the delivery log."""
LATELY: Final = 10
"""Lines of the history that stand there at once; those before unfold."""
_ORDER: Final = {State.FIRING: 0, State.ACKNOWLEDGED: 1, State.SILENCED: 2}
_STATES: Final = {
    "firing": (tones.BAD, "firing"),
    "acknowledged": (tones.WARN, "acknowledged"),
    "silenced": (tones.WARN, "silenced"),
    "resolved": (tones.GOOD, "resolved"),
    "changed": (tones.UNKNOWN, "silence changed"),
}


def draw(parts: Parts, asked: Visit) -> components.Part:
    return [html.H1("Alerts"), *refresh.frame("alerts", drawn(parts, asked), RENEWED), backtest_card.card()]


def drawn(parts: Parts, _asked: Visit) -> refresh.Drawn:
    """Raises SQLAlchemyError."""
    now = parts.clock()
    known = parts.alerts.all()
    history = [line for line in parts.alerts.history(8 * SHOWN) if line["state"] != State.PENDING][:SHOWN]
    deliveries = parts.alerts.deliveries(SHOWN)
    burning = sorted((each for each in known if each.state in BURNING), key=_rank)
    quiet = [each for each in known if each.state not in BURNING and each.silenced_until > now]
    evaluator = alert_titles.evaluator(parts.alerts_engine)
    return {
        "nodes": nodes_card.silence(parts.nodes.health()),
        "summary": _summary(burning, evaluator),
        "undelivered": _undelivered(deliveries),
        "burning": _burning(parts, burning, now),
        "runbooks": _runbooks(burning),
        "silences": components.card("Silenced, not firing now", _silences(parts, quiet), ident="silences")
        if quiet
        else None,
        "history": components.card("History", _history(parts, history, known, now), ident="history"),
        "deliveries": components.card("Notifications", _deliveries(parts, deliveries, now), ident="deliveries"),
        "as of": components.as_of(now, parts.zone, RENEWED),
    }


def _rank(alert: Alert) -> tuple[int, bool, int]:
    return _ORDER[alert.state], alert.severity != "page", -alert.fired_at


def _summary(burning: Sequence[Alert], evaluator: alert_titles.Evaluator) -> components.Part:
    """The page's answer. Only a living evaluator makes quiet good."""
    firing = [each for each in burning if each.state is State.FIRING]
    pages = sum(each.severity == "page" for each in firing)
    tickets = len(firing) - pages
    others = len(burning) - len(firing)
    rest = f"{others} more {'is' if others == 1 else 'are'} acknowledged or silenced." if others else ""
    said = " and ".join(components.many(count, word) for count, word in ((pages, "page"), (tickets, "ticket")) if count)
    if not evaluator.alive:
        was = f"It was {evaluator.holder} last. " if evaluator.holder else ""
        verb = "was" if len(firing) == 1 else "were"
        kept = f" When last evaluated, {said} {verb} firing." if firing else ""
        why = f"{was}Start “understudy alerts”: until then nothing new is noticed and nobody is told.{kept}"
        return components.notice(tones.BAD, "Alerts are not being evaluated", why)
    if firing:
        return components.notice(tones.BAD if pages else tones.WARN, f"{said} firing", rest or "Unacknowledged.")
    if burning:
        return components.notice(tones.WARN, "Every alert is acknowledged or silenced", rest.replace(" more", ""))
    return components.notice(tones.GOOD, "Nothing is firing", f"Evaluated by {evaluator.holder}.")


def _undelivered(deliveries: Sequence[Mapping[str, Any]]) -> components.Part:
    waiting = [each for each in deliveries if each["state"] == "waiting" and each["tries"]]
    refused = [each for each in deliveries if each["state"] == "refused"]
    if not waiting and not refused:
        return None
    counts = ((len(waiting), "not yet"), (len(refused), "never"))
    said = ", ".join(f"{components.many(count, 'message')} {how}" for count, how in counts if count)
    return components.notice(
        tones.WARN, f"Not all were delivered: {said}", "See “Notifications” for what receivers answered."
    )


def _burning(parts: Parts, burning: Sequence[Alert], now: int) -> components.Part:
    """An incident for each cause; the control plane may be gone, and then that is said where its word is missing."""
    if not burning:
        return None
    states: Sequence[Mapping[str, Any]] | None
    try:
        plane = parts.plane()
        states = plane.get("/endpoints")
        moments = timeline.marks(plane.get("/marks")) + timeline.takeovers(plane.get("/transitions"), parts.api)
    except ControlError:
        states, moments = None, []
    found = incidents.grouped(burning)
    shown = [
        incident_card.card(parts, each, states, moments, now, lambda alert: _alert(parts, alert, now)) for each in found
    ]
    several = sum(bool(each.open) for each in found) > 1
    everything = html.Div(action_dialog.button("acknowledge-all", ""), className="buttons") if several else None
    title = components.many(len(found), "incident")
    return components.card(title, *shown, everything, ident="burning")


def _alert(parts: Parts, alert: Alert, now: int) -> components.Part:
    """A line with its buttons; what stands behind it unfolds."""
    called = alert_titles.title(parts.promised, alert.name, alert.labels)
    state, words = _STATES[alert.state]
    state = tones.WARN if alert.severity != "page" and state == tones.BAD else state
    heading = html.H3([html.Span(alert.severity, className=f"tag {alert.severity}"), " ", called])
    since = f" since {_time(parts, alert.fired_at, now)}, {time_format.ago(alert.fired_at, now)}"
    said = [html.P([components.mark(state, words), since])]
    if alert.state is State.ACKNOWLEDGED:
        said.append(html.P(f"Acknowledged {_said(alert.acknowledged_by, alert.reason)}"))
    if alert.silenced_until > now:
        said.append(html.P(f"Silent until {_silent(parts, alert)}"))
    facts = alert_titles.facts(alert)
    more = html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))])
    buttons = [action_dialog.button("acknowledge", alert.key, called)] if alert.state is State.FIRING else []
    buttons.append(action_dialog.button("unsilence" if alert.silenced_until > now else "silence", alert.key, called))
    return html.Article(
        [
            html.Div([heading, *said], className="alert-says"),
            html.Div(buttons, className="buttons"),
            html.Details([html.Summary("Why, and how fast"), more]),
        ],
        className="alert",
        id=f"a-{alert.key}",
    )


def _runbooks(burning: Sequence[Alert]) -> components.Part:
    """The first step for each kind of alert that fires, and then the whole runbook; without one, that is said."""
    shown: list[components.Part] = []
    for name in dict.fromkeys(alert.name for alert in burning):
        try:
            first, _, rest = (message.RUNBOOKS / f"{name}.md").read_text().partition("\n")
        except OSError:
            shown.append(html.P(f"There is no runbook for {name}."))
            continue
        title, _, text = rest.strip().removeprefix("# ").partition("\n")
        step = html.P([html.Strong(f"{title}: "), *incident_card.with_commands(first.removeprefix("First: "))])
        shown += [step, html.Details([html.Summary("The runbook"), html.Pre(text.strip(), className="runbook")])]
    return components.card("Runbooks", *shown, ident="runbooks") if shown else None


def _silences(parts: Parts, quiet: Sequence[Alert]) -> components.Part:
    rows = []
    for alert in quiet:
        called = alert_titles.title(parts.promised, alert.name, alert.labels)
        rows.append(
            (called, alert.severity, _silent(parts, alert), action_dialog.button("unsilence", alert.key, called))
        )
    return components.table("Silenced alerts that do not fire", ["alert", "severity", "silent until", "action"], rows)


def _silent(parts: Parts, alert: Alert) -> str:
    until = _time(parts, alert.silenced_until, alert.silenced_until)
    return f"{until}, {_said(alert.silenced_by, alert.reason)}"


def _said(by: str, reason: str) -> str:
    return f"by {by}: {reason}" if reason else f"by {by}"


def _history(parts: Parts, history: Sequence[Mapping[str, Any]], known: Sequence[Alert], now: int) -> components.Part:
    if not history:
        return components.empty("No alert ever fired", "As soon as one does, it is listed here and stays.")
    labels = {alert.key: alert.labels for alert in known}
    rows = []
    for line in history:
        state, words = _STATES.get(str(line["state"]), (tones.UNKNOWN, str(line["state"])))
        called = alert_titles.title(parts.promised, line["name"], labels.get(line["key"], {}))
        by = _said(line["by"], line["reason"]) if line["by"] else ""
        rows.append(
            (
                time_format.day_and_time(line["at"], parts.zone),
                components.sign(state, words),
                line["severity"],
                called,
                by,
            )
        )
    columns = [f"time, {time_format.zone_name(now, parts.zone)}", "what", "severity", "alert", "by"]
    older = components.table("History of alerts before these", columns, rows[LATELY:]) if len(rows) > LATELY else None
    most = f"The latest {SHOWN}. “understudy alerts history” has more."
    return html.Div(
        [
            components.table("History of alerts", columns, rows[:LATELY]),
            html.Details([html.Summary(f"{len(rows) - LATELY} before these"), older]) if older is not None else None,
            html.P(most) if len(history) == SHOWN else None,
        ]
    )


def _deliveries(parts: Parts, deliveries: Sequence[Mapping[str, Any]], now: int) -> components.Part:
    if not deliveries:
        return components.empty(
            "No notification was sent", "Receivers are settings of “understudy alerts”: ALERT_WEBHOOK."
        )
    rows = []
    for each in deliveries:
        state, words = alert_titles.told(each, now)
        rows.append(
            (
                time_format.day_and_time(each["made_at"], parts.zone),
                each["channel"],
                alert_titles.told_of(parts.promised, each["content"]),
                components.sign(state, words),
                each["tries"],
                each["said"] or "",
            )
        )
    columns = [f"time, {time_format.zone_name(now, parts.zone)}", "to", "of", "outcome", "tries", "receiver's answer"]
    return components.table("Messages and what became of them", columns, rows, (4,))


def _time(parts: Parts, at: int, now: int) -> str:
    return f"{time_format.day_and_time(at, parts.zone)} {time_format.zone_name(now, parts.zone)}"


def wire(callbacks: Callbacks, parts: Parts) -> None:
    refresh.wire(callbacks, parts, Role.OPERATOR, "alerts", "/alerts", drawn)
    backtest_card.wire(callbacks, parts)


PAGE: Final = Page("/alerts", "Alerts", Role.OPERATOR, draw, wire)
