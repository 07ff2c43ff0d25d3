"""The standby: how complete and how true it is per resource, what waits to reach HOSP, and what waits for a person.

Parked writes are shown with what they say, since someone must decide about them; sampled differences never are.
"""

from __future__ import annotations

import json
from typing import Any, Final

from dash import html

from dashboard import live, ui, when
from dashboard.access import Role
from dashboard.guard import Callbacks
from dashboard.page import Page
from dashboard.pages import doing
from dashboard.parts import Parts, Visit
from dashboard.sentences import singular

_ACTIONS: Final = {"create": "add", "update": "change", "delete": "delete"}
_STATES: Final = {
    "pending": "waits to be sent",
    "sending": "is being sent",
    "unclear": "may have arrived: being looked for",
    "parked": "waits for a decision",
}


def draw(parts: Parts, asked: Visit) -> ui.Part:
    return [
        html.H1("Standby"),
        *live.frame("standby", drawn(parts, asked), 5),
    ]


def drawn(parts: Parts, _asked: Visit) -> live.Drawn:
    """Raises ControlError."""
    plane, now = parts.plane(), parts.clock()
    outbox, resources = plane.get("/outbox"), plane.get("/resources")
    parity = plane.get("/parity")["endpoints"]
    parked = outbox["parked"]
    waiting = [entry for entry in outbox["entries"] if entry["state"] != "parked"]
    return {
        "summary": _summary(outbox, len(parked)),
        "parked": ui.card(
            "Writes that need a decision",
            *([_parked(parts, entry, now) for entry in parked] or [ui.empty("None", "No write is parked.")]),
            ident="parked",
        ),
        "outbox": ui.card("Writes on their way to HOSP", _waiting(parts, waiting, now), ident="outbox"),
        "resources": ui.card(
            "Resources",
            html.Div([_resource(name, row) for name, row in resources.items()], className="resources"),
            ident="resources",
        ),
        "parity": ui.card("Parity", _parity(parts, parity, now), ident="parity"),
        "as of": ui.as_of(now, parts.zone, 5),
    }


def _summary(outbox: dict[str, Any], parked: int) -> ui.Part:
    if parked:
        return ui.notice(
            ui.BAD, f"{parked} write{'s need' if parked > 1 else ' needs'} a decision", "Nobody else will make it."
        )
    if outbox["pending"]:
        return ui.notice(ui.WARN, f"{outbox['pending']} writes wait to reach HOSP", "They are sent by themselves.")
    return ui.notice(ui.GOOD, "Nothing waits", "Every write that was accepted has reached HOSP.")


def _parked(parts: Parts, entry: dict[str, Any], now: int) -> ui.Part:
    what = (
        f"{_ACTIONS.get(entry['action'], entry['action'])} the {singular(entry['resource'])} {entry['record_id'] or ''}"
    )
    facts = [
        ("Who", entry["user"] or "nobody"),
        ("When", f"{when.day_and_time(entry['created_at'], parts.zone)} {when.zone_name(now, parts.zone)}"),
        ("Why it is parked", entry["reason"] or "not said"),
        ("Tried", ui.many(entry["attempts"], "time")),
        ("What it says", html.Pre(json.dumps(entry["payload"], indent=2, ensure_ascii=False))),
    ]
    if entry.get("proposal"):
        facts.append(("Proposal", str(entry["proposal"])))
    return html.Article(
        [
            html.H3(f"{entry['user'] or 'Somebody'} wanted to {what}".rstrip()),
            html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
            html.Div([doing.button("retry", entry["id"]), doing.button("discard", entry["id"])], className="buttons"),
        ],
        className="parked",
    )


def _waiting(parts: Parts, entries: list[dict[str, Any]], now: int) -> ui.Part:
    if not entries:
        return ui.empty("None", "No write waits for HOSP.")
    rows = [
        (
            " ".join((_ACTIONS.get(entry["action"], ""), singular(entry["resource"]), entry["record_id"] or "")),
            entry["user"],
            _STATES.get(entry["state"], entry["state"]),
            when.ago(entry["created_at"], now),
            entry["attempts"],
            entry["reason"] or "",
        )
        for entry in entries[:100]
    ]
    return ui.table("Writes on their way", ["write", "person", "state", "accepted", "tries", "why"], rows, (4,))


def _resource(name: str, row: dict[str, Any]) -> ui.Part:
    checks = [
        (row["complete"], "its whole collection is known", "its collection is not known as a whole"),
        (
            row["verified"],
            "what is known was seen since the last gap",
            "traffic may have passed us by since it was seen",
        ),
        (not row["in_doubt"], "no record is in doubt", f"{row['in_doubt']} records are in doubt"),
        (not row["parked"], "no write is parked", f"{row['parked']} writes are parked"),
    ]
    items = [html.Li(ui.mark(ui.GOOD if ok else ui.WARN, good if ok else bad)) for ok, good, bad in checks]
    items += [html.Li(ui.mark(ui.BAD, doubt)) for doubt in row["doubts"]]
    owned = row["owner"] == "standby"
    promoted = row.get("promoted") or {}
    who = (
        f"the standby owns it (by {promoted.get('by')}: {promoted.get('reason') or 'no reason'})"
        if owned
        else "HOSP owns it"
    )
    certain = "not known as a whole" if row["ratio"] is None else f"{ui.percent(row['ratio'])} certain"
    waits = f"{ui.many(row['pending'], 'write')} {'waits' if row['pending'] == 1 else 'wait'}"
    known = f"{ui.many(row['known'], 'record')} known, {certain}; {waits}"
    return html.Article(
        [
            html.H3(name),
            html.P(f"{who}. {known}."),
            html.Details([html.Summary("Checklist for promotion"), html.Ul(items, className="checks")]),
            html.Div(doing.button("demote" if owned else "promote", name), className="buttons"),
        ],
        className="resource",
    )


def _parity(parts: Parts, parity: dict[str, Any], now: int) -> ui.Part:
    rows, samples = [], []
    for name, row in parity.items():
        if row.get("equal") or row.get("different") or row.get("unknown"):
            counts = (ui.number(row.get(word, 0)) for word in ("equal", "different", "unknown"))
            rows.append((name, ui.percent(row["ratio"]), *counts))
        for sample in row.get("samples", []):
            lines = [html.Li(line) for line in sample["said"]]
            stamp = f"{name}, {when.day_and_time(sample['at'], parts.zone)} {when.zone_name(now, parts.zone)}"
            samples.append(html.Li([stamp, html.Ul(lines)]))
    columns = ["endpoint", "equal of compared", "equal", "different", "standby did not know"]
    shown = (
        ui.table("Parity, last 24 hours", columns, rows, (1, 2, 3, 4)) if rows else ui.empty("Nothing was compared yet")
    )
    found = html.Ul(samples) if samples else html.P("No difference was sampled.", className="quiet")
    explained = html.P(
        "Where they differ and in what kind of value; what the records say is not kept.", className="quiet"
    )
    return html.Div(
        [
            shown,
            html.Details([html.Summary(f"{len(samples)} sampled differences"), explained, found]),
            html.Div(doing.button("backfill", ""), className="buttons"),
        ]
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    live.wire(callbacks, parts, Role.OPERATOR, "standby", "/standby", drawn)


PAGE: Final = Page("/standby", "Standby", Role.OPERATOR, draw, wire)
