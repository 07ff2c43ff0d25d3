"""A write that met another change: as it was, ours, and the upstream's now, field by field, with what can be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dash import html

from dashboard.ui import components
from dashboard.widgets import action_dialog

Entry = Mapping[str, Any]


def table(entry: Entry, api: str) -> components.Part:
    """What the write says; of a conflict beside what the upstream shows."""
    payload, before, theirs = entry["payload"], entry.get("before"), entry.get("theirs")
    if not isinstance(payload, dict) or not isinstance(before, dict):
        return html.Pre(json.dumps(payload, indent=2, ensure_ascii=False))
    columns = ["field", "as it was", "as it should be" if theirs is None else "ours"]
    rows: list[tuple[components.Part, ...]]
    if theirs is None:
        rows = [(name, _text(before, name), _text(payload, name)) for name in payload]
    else:
        columns.append(f"at {api} now")
        rows = [(name, _text(before, name), _text(payload, name), _theirs(before, theirs, name)) for name in payload]
    return components.table("What the write changes", columns, rows)


def buttons(entry: Entry) -> components.Part:
    ident = str(entry["id"])
    if entry.get("theirs") is None:
        return html.Div([action_dialog.button(kind, ident) for kind in ("retry", "discard")], className="buttons")
    seen = f"{ident}@{entry['revision']}"
    made = [action_dialog.button("theirs", ident), action_dialog.button("ours", seen, ident)]
    if len(entry["payload"]) > 1:
        made.append(action_dialog.button("merge", seen, ident))
    return html.Div(made, className="buttons")


def _theirs(before: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> components.Part:
    """In bold where somebody changed it meanwhile."""
    same = name in before and before[name] == theirs.get(name)
    return _text(theirs, name) if same else html.Strong(_text(theirs, name))


def _text(record: Mapping[str, Any], name: str) -> str:
    if name not in record:
        return "–"
    value = record[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
