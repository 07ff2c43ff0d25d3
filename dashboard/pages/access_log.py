"""Who looked at the audit, and what was done in the dashboard: the trail, newest first."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlencode

from dash import html

from dashboard.auth.access_log import PAGE as SIZE
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format, tones
from dashboard.values.filters import ViewError


def draw(parts: Parts, asked: Visit) -> components.Part:
    given = {key: values[0] for key, values in parse_qs(asked.query.lstrip("?")).items()}
    before, user = given.get("before", ""), given.get("user", "")
    if before and not before.isdecimal():
        raise ViewError(f"before: expected the number of a line; found {before!r}")
    parts.trail.look(asked.who, asked.address, "look", "the trail" + (f" of {user}" if user else ""))
    lines = parts.trail.latest(int(before) if before else None, user)
    rows = []
    for line in lines:
        name = components.link(line.user or "(nobody)", f"/audit/looks?{urlencode({'user': line.user})}")
        good = tones.GOOD if line.outcome == "done" else tones.BAD
        rows.append(
            (
                time_format.day_and_time(line.at, parts.zone),
                name,
                line.action,
                line.subject,
                line.reason,
                components.sign(good, line.outcome),
                line.address,
            )
        )
    zone = time_format.zone_name(parts.clock(), parts.zone)
    columns = [f"time, {zone}", "person", "did", "what", "reason", "outcome", "from"]
    older = f"/audit/looks?{urlencode({'before': lines[-1].id, 'user': user})}" if len(lines) == SIZE else ""
    return [
        html.H1("Who looked at the audit"),
        html.P("Every look at the audit, every export, sign-in and action in this dashboard. This look is in it too."),
        html.P(components.link("Everyone's", "/audit/looks", className="button")) if user else None,
        components.card(
            "The trail",
            components.table("Entries of the trail", columns, rows) if rows else components.empty("Nothing yet"),
        ),
        html.P(components.link("Older ⟩", older, className="button")) if older else None,
    ]


PAGE: Final = Page("/audit/looks", "Looks", Role.AUDITOR, draw, in_menu=False)
