"""Bodies taken out of the journal for good, without breaking its chain.

A line keeps its place and its length: spaces take the bodies' room, so that nobody who reads on from an offset is lost,
not even in a segment that is being written. A signed statement says first what is erased, by whom and why: without it
`verify` would call the bodies missing. Doing it again, after a crash in between, ends it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sidecar.journal.chain import blanked
from sidecar.journal.keys import SigningKey
from sidecar.journal.statements import Statements

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A line that holds bodies: its segment's file, its sequence, and where it stands."""

    path: Path
    sequence: int
    offset: int
    raw: bytes

    @property
    def line(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.raw)
        return found


def holding(path: Path, wanted: Callable[[Line], bool], hint: bytes = b"") -> list[Place]:
    """The lines of a segment that hold bodies and are wanted. `hint`: bytes without which a line need not be read."""
    found, offset = [], 0
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n") and hint in raw and not raw.rstrip().endswith(b'"bodies":null}'):
                try:
                    line = orjson.loads(raw)
                except orjson.JSONDecodeError:
                    line = None  # `verify` tells
                if isinstance(line, dict) and isinstance(line.get("event"), dict) and wanted(line):
                    found.append(Place(path, line["sequence"], offset, raw))
            offset += len(raw)
    return found


def erase(places: Sequence[Place], statements: Statements, key: SigningKey, by: str, reason: str) -> None:
    """States, then erases. Raises BadStatement, SigningError and OSError; what was stated may then be there still."""
    if not places:
        return
    told: dict[str, list[list[int]]] = {}
    for place in places:
        runs = told.setdefault(place.path.stem, [])
        if runs and runs[-1][1] == place.sequence - 1:
            runs[-1][1] = place.sequence
        else:
            runs.append([place.sequence, place.sequence])
    statements.append(key, {"erased": told, "by": by, "reason": reason})
    for path in {place.path: None for place in places}:
        written = path.stat()
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for place in (place for place in places if place.path == path):
                os.pwrite(descriptor, blanked(place.line, len(place.raw)), place.offset)
            os.utime(descriptor, ns=(written.st_atime_ns, written.st_mtime_ns))  # retention goes by its age
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
