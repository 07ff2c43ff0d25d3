"""Discarded writes: what people were told was done and then was not, by whose decision and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dash import html

from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format
from dashboard.values.sentences import singular
from dashboard.widgets import conflict

PATH: Final = "/standby/discarded"
_TRIED: Final = {"create": "add", "update": "change", "delete": "delete"}


def draw(parts: Parts, asked: Visit) -> components.Part:
    """Raises ControlError."""
    entries = parts.plane().get("/outbox/discarded")["entries"]
    parts.trail.look(asked.who, asked.address, "look", "discarded writes")
    listed = [_entry(parts, entry) for entry in entries] or [components.empty("None", "No write was ever discarded.")]
    return [
        html.H1("Discarded writes"),
        html.P("The people who made them were told that they were done: they must be told that they are not."),
        components.card("The latest first", *listed, ident="discarded"),
        html.P(components.link("To the standby", "/standby")),
    ]


def _entry(parts: Parts, entry: Mapping[str, Any]) -> components.Part:
    what = (
        f"{_TRIED.get(entry['action'], entry['action'])} the {singular(entry['resource'])} {entry['record_id'] or ''}"
    )
    facts = [
        ("Made", time_format.stamp(entry["created_at"], parts.zone)),
        ("Discarded", f"by {entry['by'] or 'nobody known'}: {entry['reason'] or 'no reason was given'}"),
        ("What it said", conflict.table({**entry, "theirs": None}, parts.api)),
    ]
    return html.Article(
        [
            html.H3(f"{entry['user'] or 'Somebody'} wanted to {what}".rstrip()),
            html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
        ],
        className="parked",
    )


PAGE: Final = Page(PATH, "Discarded writes", Role.OPERATOR, draw, in_menu=False)
