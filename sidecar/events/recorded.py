"""What was recorded, event by event with its bodies: from journals on disk, and from the event store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.events.store import Filter, pages
from sidecar.events.store.factory import open_store
from sidecar.settings import Settings
from sidecar.timeunits import to_rfc3339

Recorded = tuple[Mapping[str, Any], Mapping[str, Any] | None]
"""An event and its bodies; None: none were recorded, or they cannot be had."""
BATCH: Final = 500


def in_journals(folders: Sequence[Path], since: int) -> Iterator[Recorded]:
    """What journals hold from `since` (ns since the epoch) on, segment by segment; bodies as they stand there, which is
    encrypted where there is a key. A torn tail is left out: `audit verify` tells of it."""
    first = to_rfc3339(since)
    for path in sorted(path for folder in folders for path in folder.glob("*.jsonl")):
        try:
            if path.stat().st_mtime_ns < since:
                continue
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue  # retention was quicker
        for raw in lines:
            try:
                line = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            if line["event"]["@timestamp"] >= first:
                yield line["event"], line["bodies"]


def in_store(settings: Settings, since: int, until: int | None = None, **terms: Sequence[str]) -> Iterator[Recorded]:
    """What the event store holds from `since` on and before `until`, the newest first. `terms`: accepted values by
    field, `__` for its dots. Raises StoreUnavailable."""
    where = Filter(since=since, until=until, terms={name.replace("__", "."): values for name, values in terms.items()})
    with closing(open_store(settings)) as store:
        for page in pages(store, where, BATCH):
            bodies = store.bodies([event["event"]["id"] for event in page.events])
            yield from ((event, bodies.get(event["event"]["id"])) for event in page.events)
