"""Evidence packs: the list, and one of them as it is printed and handed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from dash import html

from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data.evidence import Pack
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format, tones
from dashboard.widgets import signed_files


def draw(parts: Parts, asked: Visit) -> components.Part:
    ident = parse_qs(asked.query.lstrip("?")).get("id", [""])[0]
    if not ident:
        return _list(parts, asked)
    pack = parts.packs.find(ident)
    if pack is None:
        return [html.H1("Evidence pack"), components.notice(tones.BAD, "There is no such evidence pack")]
    parts.trail.look(asked.who, asked.address, "look", f"evidence pack {pack.id} “{pack.title}”")
    return _pack(pack)


def _list(parts: Parts, asked: Visit) -> components.Part:
    parts.trail.look(asked.who, asked.address, "look", "the list of evidence packs")
    rows = [
        (
            components.link(pack.title, f"/audit/evidence?id={pack.id}"),
            pack.user,
            time_format.day_and_time(pack.at, parts.zone),
            components.number(int(pack.head["events"])),
        )
        for pack in parts.packs.latest()
    ]
    zone = time_format.zone_name(parts.clock(), parts.zone)
    columns = ["title", "made by", f"made, {zone}", "events"]
    listed = components.table("Evidence packs", columns, rows, (3,)) if rows else components.empty("None yet")
    return [html.H1("Evidence packs"), components.card("All", listed, ident="packs")]


def _pack(pack: Pack) -> components.Part:
    head, signature = pack.head, pack.signature
    facts = [
        ("Made", f"{head['made_at']} by {head['made_by']}"),
        ("Chosen by", ", ".join(head["filters"])),
        ("Events", components.number(int(head["events"]))),
        ("Journal", _journal(head["journal_verifies"])),
        ("SHA-256 of the file", html.Code(signature["sha256"])),
        ("Signed with key", html.Code(signature["public_key"])),
        ("Signature", html.Code(signature["signature"])),
    ]
    address = f"/audit/evidence/file?id={pack.id}"
    return [
        html.H1(pack.title),
        html.Dl([html.Div([html.Dt(name), html.Dd(said)]) for name, said in facts], className="pack"),
        components.card("Files", signed_files.listed(address), ident="files"),
        components.card("Notes of the reviewer", html.P(head["notes"] or "None.", className="notes"), ident="notes"),
        html.Ol([_row(row) for row in pack.rows], className="evidence"),
    ]


def _journal(verifies: bool | None) -> components.Part:
    if verifies is None:
        return components.mark(tones.UNKNOWN, "not on this machine: not compared")
    return components.mark(tones.GOOD, "verifies") if verifies else components.mark(tones.BAD, "does NOT verify")


def _row(row: Mapping[str, Any]) -> html.Li:
    proven = row["journal"] == "proven"
    state = tones.GOOD if proven else tones.BAD if "DIFFERENT" in row["journal"] else tones.WARN
    from_ = f", from {row['address']}" if row["address"] else ""
    return html.Li(
        [
            html.Strong(row["sentence"]),
            html.P(f"{row['time']}: {row['outcome']}{from_}. Event {row['event']['event']['id']}.", className="quiet"),
            html.Pre(row["written"]) if row["written"] else None,
            html.P(components.sign(state, f"journal: {row['journal']}")),
        ]
    )


PAGE: Final = Page("/audit/evidence", "Evidence packs", Role.AUDITOR, draw, in_menu=False)
