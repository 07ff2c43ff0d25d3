"""Holds exported rows against the journal: is it whole, by what `understudy audit verify` trusts, and does it have each
row just as it was exported?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from dashboard.data.exports import Row, row_of
from sidecar.events.store import Checkpoint
from sidecar.journal.verify import SigningError, verify_node
from sidecar.settings import Settings

LISTED: Final = 500
"""Rows up to which the answer names those that the journal holds."""


def held(
    settings: Settings, shipped: Callable[[], Iterable[Checkpoint]]
) -> Callable[[Mapping[str, Row]], Mapping[str, Any]]:
    """A function from event id → row to what `audit verify` says (ok, events, first_bad, signed, unsigned, key), and
    counts: matched, different, missing (of this node, no older than what the journal still holds, and not in it), each
    of these with its ids, and not_in_journal (the rest: older, or of another node).

    `shipped`: what the event store says of how far the journal had come.

    `ok` is None where nothing can be verified on this machine; `why` says why.
    """

    def compare(rows: Mapping[str, Row]) -> Mapping[str, Any]:
        paths = sorted((settings.data / "journal").glob("*.jsonl"))
        nothing = {"ok": None, "events": 0, "first_bad": None, "matched": 0, "different": 0, "missing": 0}
        if not paths:
            return {**nothing, "not_in_journal": len(rows), "why": "the journal is not on this machine: not compared"}
        try:
            verdict = verify_node(settings, shipped())
        except SigningError as error:
            return {**nothing, "not_in_journal": len(rows), "why": str(error)}
        matched, different, seen, oldest = list[str](), list[str](), set[str](), ""
        for path in paths:
            with path.open("rb") as file:
                for raw in file:
                    event = _event(raw)
                    if event is None:
                        continue
                    oldest = min(oldest or str(event.get("@timestamp")), str(event.get("@timestamp")))
                    ident = str(event.get("event", {}).get("id"))
                    if ident in rows and ident not in seen:
                        seen.add(ident)
                        (matched if rows[ident] == row_of(event) else different).append(ident)
        ours = (None, settings.node_name)
        missing = [id_ for id_, row in rows.items() if id_ not in seen and row.node in ours and row.at >= oldest]
        return {
            **verdict.as_json(),
            "matched": len(matched),
            "different": len(different),
            "missing": len(missing),
            "not_in_journal": len(rows) - len(seen) - len(missing),
            "different_ids": different[:100],
            "missing_ids": missing[:100],
            **({"matched_ids": matched} if len(rows) <= LISTED else {}),
        }

    return compare


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    event = line.get("event") if isinstance(line, dict) else None
    return event if isinstance(event, dict) else None
