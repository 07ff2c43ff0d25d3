"""The standby: how complete and how true it is per resource, what waits to reach it, and what waits for people.

Parked writes are shown with what they say, since someone must decide about them; sampled differences never are.
"""

from __future__ import annotations

from typing import Any, Final

from dash import html

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.pages import discarded, evidence_of, replacement
from dashboard.ui import components, refresh
from dashboard.values import reasons, time_format, tones
from dashboard.values.sentences import singular
from dashboard.widgets import action_dialog, conflict, nodes_card

_ACTIONS: Final = {"create": "add", "update": "change", "delete": "delete"}
_STATES: Final = {
    "pending": "waits to be sent",
    "sending": "is being sent",
    "unclear": "may have arrived: being looked for",
    "parked": "waits for a decision",
}


def draw(parts: Parts, asked: Visit) -> components.Part:
    return [
        html.H1("Standby"),
        *refresh.frame("standby", drawn(parts, asked), 5),
    ]


def drawn(parts: Parts, _asked: Visit) -> refresh.Drawn:
    """Raises ControlError."""
    plane, now = parts.plane(), parts.clock()
    outbox, resources = plane.get("/outbox"), plane.get("/resources")
    parity = plane.get("/parity")["endpoints"]
    parked = outbox["parked"]
    waiting = [entry for entry in outbox["entries"] if entry["state"] != "parked"]
    return {
        "nodes": nodes_card.silence(parts.nodes.health()),
        "summary": _summary(parts, outbox, len(parked)),
        "parked": components.card(
            "Writes that need a decision",
            *([_parked(parts, entry, now) for entry in parked] or [components.empty("None", "No write is parked.")]),
            html.P(components.link("Discarded writes", discarded.PATH)),
            ident="parked",
        ),
        "outbox": components.card(f"Writes on their way to {parts.api}", _waiting(parts, waiting, now), ident="outbox"),
        "resources": components.card(
            "Resources",
            html.Div([_resource(parts, name, row) for name, row in resources.items()], className="resources"),
            html.P(
                components.link(
                    f"Replacing {parts.api}: what is proven, what is missing, the next step", replacement.PATH
                )
            ),
            ident="resources",
        ),
        "parity": components.card("Parity", _parity(parts, parity, now), ident="parity"),
        "as of": components.as_of(now, parts.zone, 5),
    }


def _summary(parts: Parts, outbox: dict[str, Any], parked: int) -> components.Part:
    if parked:
        return components.notice(
            tones.BAD,
            f"{parked} write{'s need' if parked > 1 else ' needs'} a decision",
            "Nobody else will make it.",
        )
    if outbox["pending"]:
        return components.notice(
            tones.WARN, f"{outbox['pending']} writes wait to reach {parts.api}", "They are sent by themselves."
        )
    return components.notice(tones.GOOD, "Nothing waits", f"Every write that was accepted has reached {parts.api}.")


def _parked(parts: Parts, entry: dict[str, Any], now: int) -> components.Part:
    what = (
        f"{_ACTIONS.get(entry['action'], entry['action'])} the {singular(entry['resource'])} {entry['record_id'] or ''}"
    )
    facts = [
        ("Who", entry["user"] or "nobody"),
        (
            "When",
            f"{time_format.day_and_time(entry['created_at'], parts.zone)} {time_format.zone_name(now, parts.zone)}",
        ),
        ("Why it is parked", reasons.write(entry["reason"] or "not said", parts.api)),
        ("Tried", components.many(entry["attempts"], "time")),
        ("What it says", conflict.table(entry, parts.api)),
    ]
    return html.Article(
        [
            html.H3(f"{entry['user'] or 'Somebody'} wanted to {what}".rstrip()),
            html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
            conflict.buttons(entry),
        ],
        className="parked",
    )


def _waiting(parts: Parts, entries: list[dict[str, Any]], now: int) -> components.Part:
    if not entries:
        return components.empty("None", f"No write waits for {parts.api}.")
    rows = [
        (
            " ".join((_ACTIONS.get(entry["action"], ""), singular(entry["resource"]), entry["record_id"] or "")),
            entry["user"],
            _STATES.get(entry["state"], entry["state"]),
            time_format.ago(entry["created_at"], now),
            entry["attempts"],
            reasons.write(entry["reason"] or "", parts.api),
        )
        for entry in entries[:100]
    ]
    return components.table("Writes on their way", ["write", "person", "state", "accepted", "tries", "why"], rows, (4,))


def _resource(parts: Parts, name: str, row: dict[str, Any]) -> components.Part:
    checks = [
        (row["complete"], "its whole collection is known", "its collection is not known as a whole"),
        (
            row["verified"],
            f"it was read again since {parts.api} may last have been changed unseen",
            f"{parts.api} may have been changed unseen since it was last read",
        ),
        (not row["in_doubt"], "no record is in doubt", f"{row['in_doubt']} records are in doubt"),
        (not row["parked"], "no write is parked", f"{row['parked']} writes are parked"),
    ]
    items = [
        html.Li(components.mark(tones.GOOD if ok else tones.WARN, good if ok else bad)) for ok, good, bad in checks
    ]
    items += [html.Li(components.mark(tones.BAD, doubt)) for doubt in row["doubts"]]
    owned = row["owner"] == "standby"
    promoted = row.get("promoted") or {}
    who = (
        f"the standby owns it (by {promoted.get('by')}: {promoted.get('reason') or 'no reason'})"
        if owned
        else f"{parts.api} owns it"
    )
    certain = "not known as a whole" if row["ratio"] is None else f"{components.percent(row['ratio'])} certain"
    waits = f"{components.many(row['pending'], 'write')} {'waits' if row['pending'] == 1 else 'wait'}"
    known = f"{components.many(row['known'], 'record')} known, {certain}; {waits}"
    return html.Article(
        [
            html.H3(name),
            html.P(f"{who}. {known}."),
            html.Details([html.Summary("Checklist for promotion"), html.Ul(items, className="checks")]),
            html.Div(action_dialog.button("demote" if owned else "promote", name), className="buttons"),
        ],
        className="resource",
    )


def _parity(parts: Parts, parity: dict[str, Any], now: int) -> components.Part:
    rows, samples = [], []
    for name, row in parity.items():
        if row.get("equal") or row.get("different") or row.get("unknown"):
            counts = (components.number(row.get(word, 0)) for word in ("equal", "different", "unknown"))
            rows.append((name, components.percent(row["ratio"]), *counts))
        for sample in row.get("samples", []):
            lines = [html.Li(line) for line in sample["said"]]
            stamp = (
                f"{name}, {time_format.day_and_time(sample['at'], parts.zone)} {time_format.zone_name(now, parts.zone)}"
            )
            samples.append(html.Li([stamp, html.Ul(lines)]))
    columns = ["endpoint", "equal of compared", "equal", "different", "standby did not know"]
    shown = (
        components.table("Parity, last 24 hours", columns, rows, (1, 2, 3, 4))
        if rows
        else components.empty("Nothing was compared yet")
    )
    found = html.Ul(samples) if samples else html.P("No difference was sampled.", className="quiet")
    explained = html.P(
        "Where they differ and in what kind of value; what the records say is not kept.", className="quiet"
    )
    return html.Div(
        [
            shown,
            html.Details([html.Summary(f"{len(samples)} sampled differences"), explained, found]),
            html.P(components.link("Evidence: what the standby may answer, and how it knows", evidence_of.PATH)),
            html.Div(action_dialog.button("backfill", ""), className="buttons"),
        ]
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    refresh.wire(callbacks, parts, Role.OPERATOR, "standby", "/standby", drawn)


PAGE: Final = Page("/standby", "Standby", Role.OPERATOR, draw, wire)
