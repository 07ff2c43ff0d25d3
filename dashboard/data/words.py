"""Which writes say these words, in a title, a body or any field that was sent. Read, since bodies may be encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dashboard.data.event_queries import Queries
from dashboard.values.sentences import content
from sidecar.events.store import Filter

READ: Final = 5000
"""Writes that are read, the newest first; where there are more, it is said."""
PAGE: Final = 500
FOUND: Final = 50
"""Events that one address can name."""


@dataclass(frozen=True)
class Said:
    """`events`: ids of writes that say it, the newest first, at most FOUND; `read` of so many `writes` were read."""

    events: list[str]
    read: int
    writes: int


def said(queries: Queries, where: Filter, most: int = READ, page: int = PAGE) -> Said:
    """Of the filter, its text apart: the writes that have every word of it, of the newest `most`. StoreUnavailable."""
    words = (where.text or "").casefold().split()
    actions = where.terms.get("event.action") or ("create", "update", "call")
    asked = replace(where, text=None, terms={**where.terms, "event.action": list(actions)})
    found: list[str] = []
    read, cursor = 0, None
    while words and read < most and len(found) < FOUND:
        rows = queries.rows(asked, page, cursor)
        for event in rows.events:
            ident = event["event"]["id"]
            if holds(content(rows.bodies.get(ident), "request"), words):
                found.append(ident)
        read, cursor = read + len(rows.events), rows.cursor
        if cursor is None:
            return Said(found[:FOUND], read, read)
    return Said(found[:FOUND], read, queries.total(asked) if words else 0)


def holds(value: Any, words: list[str]) -> bool:
    """Whether what was sent has every word, in whichever of its texts."""
    text = " ".join(_texts(value)).casefold()
    return bool(text) and all(word in text for word in words)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]
