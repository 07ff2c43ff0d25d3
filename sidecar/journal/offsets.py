"""How far each journal segment has been shipped, and how much is left: kept in one small file, replaced atomically.

The file may be lost, or be older than the truth: shipping again changes nothing in the store. It is never ahead of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.journal.writer import read_segment
from sidecar.storage.atomic_file import write_atomically

CHUNK: Final = 1 << 20
log = logging.getLogger(__name__)


@dataclass
class Progress:
    """One segment: shipped up to `offset`; up to `scanned` its lines were counted, `unshipped` of them are left."""

    path: Path
    offset: int = 0
    scanned: int = 0
    unshipped: int = 0

    def scan(self) -> None:
        """Counts the lines that were added since the last time."""
        size = self.path.stat().st_size
        if size < self.scanned:  # cut back after a failed write
            self.scanned, self.unshipped = self.offset, 0
        if size <= self.scanned:
            return
        with self.path.open("rb") as file:
            file.seek(self.scanned)
            while chunk := file.read(min(CHUNK, size - self.scanned)):
                self.unshipped += chunk.count(b"\n")
                self.scanned += len(chunk)

    def shipped(self, offset: int, lines: int) -> None:
        """All lines up to `offset` are in the store: `lines` more than before."""
        self.offset = offset
        if offset >= self.scanned:
            self.scanned, self.unshipped = offset, 0
        else:
            self.unshipped -= lines

    def lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """What is not shipped yet: each whole line with the offset after it."""
        return read_segment(self.path, self.offset)


class Offsets:
    """The progress of all segments of a journal's directory."""

    def __init__(self, journal: Path, state: Path) -> None:
        self._journal = journal
        self._state = state
        self._known = self._load()

    def segments(self) -> list[Progress]:
        """All segments that are there, oldest first, their new lines counted."""
        there = {path.name: path for path in self._journal.glob("*.jsonl")}
        for name in self._known.keys() - there.keys():
            del self._known[name]
        found = []
        for name in sorted(there, key=started):
            progress = self._known.setdefault(name, Progress(there[name]))
            try:
                progress.scan()
            except FileNotFoundError:
                continue
            found.append(progress)
        return found

    def save(self) -> None:
        offsets = {name: progress.offset for name, progress in self._known.items() if progress.offset}
        write_atomically(self._state, json.dumps({"offsets": offsets}, indent=1).encode())

    def _load(self) -> dict[str, Progress]:
        try:
            offsets: Mapping[str, int] = json.loads(self._state.read_bytes())["offsets"]
            return {name: Progress(self._journal / name, int(at), int(at)) for name, at in offsets.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is damaged (%s): all segments are shipped again, which changes nothing", self._state, error)
            return {}


def started(name: str) -> tuple[int, str]:
    """When a segment was begun, from its name <node>-<worker>-<start>.jsonl; for ordering."""
    start = name.removesuffix(".jsonl").rpartition("-")[2]
    return (int(start) if start.isdecimal() else 0, name)
