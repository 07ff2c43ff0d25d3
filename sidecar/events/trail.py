"""Who, what and when, for AUDIT_RETENTION: what stays of a journal segment when it goes. No bodies, no queries.

A file of DATA/trail for each segment, JSON Lines in gzip, under the segment's name and of its age. A segment is removed
only after its file is on disk.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.events.retention import matches
from sidecar.events.store import Event, Hold
from sidecar.journal.offsets import started
from sidecar.journal.writer import read_segment
from sidecar.storage.atomic_file import write_atomically
from sidecar.timeunits import parse_rfc3339

FOLDER: Final = "trail"
SUFFIX: Final = ".jsonl.gz"
PIECE: Final = 1 << 20
"""Bytes."""
SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "ecs": ("version",),
    "event": ("id", "kind", "action", "outcome", "category", "type", "hash", "sequence"),
    "http": ("request", "response"),
    "url": ("path",),
    "user": ("name",),
    "source": ("ip",),
    "service": ("name", "node"),
    "understudy": (
        "endpoint", "endpoint_id", "resource", "patient", "answered_by", "identity", "purpose", "verdict", "findings",
        "break_glass", "client", "reason", "deed",
    ),
}  # fmt: skip


def condensed(event: Event) -> dict[str, Any]:
    """Who, what, which record, when, from where and how it ended."""
    kept: dict[str, Any] = {"@timestamp": event.get("@timestamp")}
    for name, fields in SECTIONS.items():
        part = event.get(name)
        found = {field: part[field] for field in fields if field in part} if isinstance(part, Mapping) else {}
        if found:
            kept[name] = found
    return kept


def keep(segment: Path, folder: Path) -> None:
    """Writes the segment's file. Raises OSError: then the segment must stay."""
    lines = (line["event"] for line, _ in read_segment(segment) if isinstance(line.get("event"), dict))
    kept_lines = (orjson.dumps(condensed(event), option=orjson.OPT_APPEND_NEWLINE) for event in lines)
    content = gzip.compress(b"".join(kept_lines))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = folder / f"{segment.stem}{SUFFIX}"
    write_atomically(kept, content)
    age = segment.stat().st_mtime_ns
    os.utime(kept, ns=(age, age))


class DamagedTrail(ValueError):
    """A file of the trail is not as it was written; the message names it."""


def read(path: Path) -> Iterator[Event]:
    """The events of one file. Raises OSError, DamagedTrail."""
    try:
        with gzip.open(path) as file:
            while file.read(PIECE):  # its checksum comes last: nothing of what is damaged is told
                pass
            file.seek(0)
            for raw in file:
                yield orjson.loads(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile, orjson.JSONDecodeError) as error:
        raise DamagedTrail(f"{path.name} is damaged ({type(error).__name__})") from None


def files(data: Path) -> list[Path]:
    """The trail's files and the journal's segments, the oldest first; of a segment that is in both, the segment."""
    segments = {path.name.removesuffix(".jsonl"): path for path in (data / "journal").glob("*.jsonl")}
    kept = {path.name.removesuffix(SUFFIX): path for path in (data / FOLDER).glob(f"*{SUFFIX}")}
    return [path for _, path in sorted((kept | segments).items(), key=lambda each: started(each[0]))]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which events: all that is given holds. Times in ns since the epoch; since ≤ t < until."""

    since: int | None = None
    until: int | None = None
    user: str | None = None
    patient: str | None = None

    def holds(self, event: Event) -> bool:
        at = parse_rfc3339(str(event["@timestamp"]))
        said = event.get("understudy", {})
        return (
            (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and self.user in (None, event.get("user", {}).get("name"), said.get("deed", {}).get("user"))
            and self.patient in (None, said.get("patient", {}).get("id"))
        )


def everything(data: Path) -> Iterator[Event]:
    """All that is known of who did what on this node, segment by segment. Raises OSError, DamagedTrail."""
    for path in files(data):
        if path.name.endswith(SUFFIX):
            yield from read(path)
        else:
            yield from (line["event"] for line, _ in read_segment(path) if isinstance(line.get("event"), dict))


def drop_before(folder: Path, oldest: float, holds: Sequence[Hold]) -> list[str]:
    """Removes files last written before `oldest` (s since the epoch), but for what is held; returns their names."""
    gone = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.stat().st_mtime < oldest and not (holds and _held(path, holds)):
            path.unlink()
            gone.append(path.name)
    return gone


def _held(path: Path, holds: Sequence[Hold]) -> bool:
    """A file that cannot be read is: nobody can say that it is not."""
    try:
        return any(matches(hold, event) for event in read(path) for hold in holds)
    except (OSError, DamagedTrail):
        return True
