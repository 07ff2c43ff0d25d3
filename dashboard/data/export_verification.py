"""Holds exported rows against the journal: is it whole, and does it have each row just as it was exported?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from dashboard.data.exports import digest
from sidecar.events.store import Checkpoint
from sidecar.journal.verify import verify_node
from sidecar.settings import Settings

LISTED: Final = 500
"""Rows up to which the answer names those that the journal holds."""


def held(
    settings: Settings, shipped: Callable[[], Iterable[Checkpoint]]
) -> Callable[[Mapping[str, bytes]], Mapping[str, Any]]:
    """A function from event id → digest to: ok, events, first_bad, matched, different (with their ids), not_in_journal.

    `shipped`: what the event store says of how far the journal had come.

    `ok` is None where there is no journal on this machine.
    """

    def compare(rows: Mapping[str, bytes]) -> Mapping[str, Any]:
        known = shipped()
        paths = sorted((settings.data / "journal").glob("*.jsonl"))
        if not paths:
            return {
                "ok": None,
                "events": 0,
                "first_bad": None,
                "matched": 0,
                "different": 0,
                "not_in_journal": len(rows),
            }
        verdict = verify_node(settings, known)
        matched, different = list[str](), list[str]()
        for path in paths:
            with path.open("rb") as file:
                for raw in file:
                    event = _event(raw)
                    ident = str(event.get("event", {}).get("id")) if event else ""
                    if event and ident in rows:
                        same = rows[ident] == digest(event)
                        (matched if same else different).append(ident)
        elsewhere = len(rows) - len(matched) - len(different)
        counts = {"matched": len(matched), "different": len(different), "not_in_journal": elsewhere}
        listed = {"matched_ids": matched} if len(rows) <= LISTED else {}
        return {**verdict.as_json(), **counts, "different_ids": different[:100], **listed}

    return compare


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    event = line.get("event") if isinstance(line, dict) else None
    return event if isinstance(event, dict) else None
