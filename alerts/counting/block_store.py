"""Counted blocks of time, kept in a SQLite file of their own, so that a restart counts nothing twice.

It holds nothing that the event store cannot tell again. A file that cannot be read or written costs time, never
figures: then everything is kept in memory. Any number of processes may use one file.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from alerts.counting.counts import Cell, Cube
from sidecar.telemetry.logging import event

log = logging.getLogger(__name__)
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS blocks (
    shape TEXT, start INTEGER, whole BLOB NOT NULL, fine BLOB NOT NULL, PRIMARY KEY (shape, start)) WITHOUT ROWID;
"""


class Kept:
    """Blocks of one shape (how wide, which limits) by their start in Unix seconds."""

    def __init__(self, path: Path | None, shape: str, limits: tuple[int, ...]) -> None:
        self._shape = shape
        self._limits = limits
        self._spare: dict[int, tuple[bytes, bytes]] = {}
        self._connection = _open(path)

    def wholes(self, since: int, until: int) -> dict[int, Cube]:
        """The counts of whole blocks."""
        found = self._rows("whole", since, until)
        return {start: _cubes(whole, self._limits)[0] for start, whole in found.items()}

    def fine(self, since: int, until: int) -> dict[int, Cube]:
        """The buckets of the blocks that start there, by their own start."""
        found = self._rows("fine", since, until)
        return {at + offset: cube for at, fine in found.items() for offset, cube in _cubes(fine, self._limits).items()}

    def put(self, start: int, whole: Cube, fine: Mapping[int, Cube]) -> None:
        """Instead of what was kept of this block. `fine`: by the bucket's start."""
        blobs = _blob({0: whole}), _blob({at - start: cube for at, cube in fine.items()})
        try:
            self._connection.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", (self._shape, start, *blobs))
            self._spare.pop(start, None)
        except sqlite3.DatabaseError as error:
            self._spare[start] = blobs
            event(log, logging.WARNING, "rollup_not_kept", f"a counted block is kept in memory only: {error}")

    def forget(self, before: int) -> None:
        try:
            self._connection.execute("DELETE FROM blocks WHERE shape = ? AND start < ?", [self._shape, before])
        except sqlite3.DatabaseError as error:
            event(log, logging.WARNING, "rollup_not_forgotten", f"old counts stay: {error}")

    def close(self) -> None:
        self._connection.close()

    def _rows(self, column: str, since: int, until: int) -> dict[int, bytes]:
        sql = f"SELECT start, {column} FROM blocks WHERE shape = ? AND start >= ? AND start < ?"
        try:
            found = dict(self._connection.execute(sql, [self._shape, since, until]).fetchall())
        except sqlite3.DatabaseError as error:
            event(log, logging.WARNING, "rollup_unreadable", f"kept counts cannot be read: {error}")
            found = {}
        number = ("whole", "fine").index(column)
        return found | {at: blobs[number] for at, blobs in self._spare.items() if since <= at < until}


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        try:
            return _connected(path)
        except sqlite3.DatabaseError as error:
            event(log, logging.WARNING, "rollups_in_memory", f"{path}: {error}: counts are kept in memory")
    return _connected(":memory:")


def _connected(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.executescript(_SCHEMA)
    return connection


def _blob(cubes: Mapping[int, Cube]) -> bytes:
    """Cells once, then a row for each bucket: [offset, events, [[number of the cell, counts…], …]]."""
    numbers: dict[Cell, int] = {}
    rows = [
        [offset, cube.events, [[numbers.setdefault(cell, len(numbers)), *n] for cell, n in cube.cells.items()]]
        for offset, cube in cubes.items()
    ]
    return zlib.compress(orjson.dumps([list(map(list, numbers)), rows]), 1)


def _cubes(blob: bytes, limits: tuple[int, ...]) -> dict[int, Cube]:
    names, rows = orjson.loads(zlib.decompress(blob))
    cells = [Cell(*name) for name in names]

    def cube(events: int, counts: list[list[Any]]) -> Cube:
        return Cube(limits, events, {cells[number]: n for number, *n in counts})

    return {offset: cube(events, counts) for offset, events, counts in rows}
