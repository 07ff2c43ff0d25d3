"""Counts of the last period and of any span before, each event once: the store is asked only for what has changed.

Time is cut into blocks of 240 buckets: for 30 days an hour, of 15 s each; for other periods in proportion, but never
finer than a second. A block is counted when it is over, kept (see `kept`), and counted again when, and only when, the
store holds another number of events of it than was counted: events come late, and old days are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Final

from alerts.counting.block_store import Kept
from alerts.counting.counts import Cube, ask
from sidecar.events.store import EventStore, Filter, SpansUnknown
from sidecar.timeunits import SECOND

MONTH: Final = 30 * 86400
SETTLE: Final = 120
"""Seconds for which buckets are counted anew each time: most events come within them."""
_RECENT: Final = 26
"""Blocks told apart by bucket (the last two) or by four buckets; older ones count in whole. Of a month: 26 hours."""


class Rollups:
    """One thread uses it. `path`: where counts are kept; None: in memory."""

    def __init__(self, store: EventStore, limits: tuple[int, ...], period: int, path: Path | None = None) -> None:
        self._store = store
        self._limits = limits
        self._period = period
        self.bucket = max(1, int(Fraction(15 * period, MONTH)))
        self.block = 240 * self.bucket
        self._kept = Kept(path, f"{self.bucket}s {' '.join(map(str, limits))}", limits)
        self._wholes: dict[int, Cube] = {}
        self._fine: dict[int, dict[int, Cube]] = {}
        self._missing: set[int] = set()
        self._asked = self._read_to = 0
        self.trouble: str | None = None
        """Why some of the period is unknown, and stays so until somebody mends it."""

    def refresh(self, now: int, seconds: float | None = None) -> None:
        """Catches up to `now` (Unix seconds), the newest first, and stops on old blocks after so many `seconds`.

        Of a day that the store can tell nothing of (SpansUnknown) what was counted stays true, and the rest is unknown.
        Raises StoreUnavailable; what was counted stays true of its time.
        """
        self.trouble = None
        since, edge = self._floor(now - self._period), self._floor(now - SETTLE)
        self._count_open(edge, now)
        if edge > self._read_to or now < self._asked:
            self._wholes |= self._kept.wholes(max(since, self._read_to), edge)
            self._read_to = edge
            self._kept.forget(since - 2 * self._period)
        wrong, dark = self._differing(self._wholes, since, edge)
        self._missing = {*wrong, *dark} - self._wholes.keys()
        deadline = None if seconds is None else time.monotonic() + seconds
        for start in sorted(wrong, reverse=True):
            try:
                self._wholes[start] = self._count_block(start)
                self._missing.discard(start)
            except SpansUnknown as error:
                self.trouble = str(error)
                self._wholes.pop(start, None)
                self._missing.add(start)
            if deadline is not None and time.monotonic() > deadline:
                break
        self._asked = now
        self._slide(since, edge)

    def spans(self, now: int, spans: Iterable[int]) -> dict[int, Cube | None]:
        """The counts of the last so many seconds, None where not all is counted yet. A bucket counts in whole where
        its start is within."""
        points = self._points()
        unknown = max(self._missing) + self.block if self._missing else None
        found, running, at = dict[int, Cube | None](), Cube(self._limits), 0
        for span in sorted(set(spans)):
            while at < len(points) and points[at][0] >= now - span:
                running.add(points[at][1])
                at += 1
            found[span] = None if unknown is not None and now - span < unknown else running.copy()
        return found

    def wholes(self, since: int, until: int) -> dict[int, Cube]:
        """The counts of the blocks from `since` to `until`, which begin blocks, as the store holds them now. Raises
        SpansUnknown where it can tell nothing of one, and none was counted."""
        kept = self._kept.wholes(since, until)
        wrong, dark = self._differing(kept, since, until)
        if not dark <= kept.keys():
            self._volumes(since, until)
        for start in wrong:
            kept[start] = self._count_block(start)
        return kept

    def buckets(self, since: int, until: int) -> Iterator[tuple[int, Cube]]:
        """The counts of the buckets from the block of `since` on, as the store holds them now; a block at a time."""
        start = self._floor(since)
        edge = max(start, self._floor(min(until, int(time.time()) - SETTLE)))
        self.wholes(start, edge)
        for block in range(start, edge, self.block):
            yield from self._kept.fine(block, block + self.block).items()
        yield from self._ask(edge, until).items()

    def close(self) -> None:
        self._kept.close()

    def _floor(self, at: int) -> int:
        return at - at % self.block

    def _ask(self, since: int, until: int) -> dict[int, Cube]:
        if since >= until:
            return {}
        found = ask(self._store, since * SECOND, until * SECOND, self._limits, self.bucket * SECOND)
        return {at // SECOND: cube for at, cube in found.items()}

    def _volumes(self, since: int, until: int) -> dict[int, int]:
        """How many events the store holds of each block, of any kind: cheap at any size."""
        where = Filter(since=since * SECOND, until=until * SECOND)
        return {each.start // SECOND: each.count for each in self._store.count(where, self.block * SECOND)}

    def _differing(self, counted: Mapping[int, Cube], since: int, until: int) -> tuple[list[int], set[int]]:
        """The blocks of which the store holds another number of events than was counted, and those of which it can
        tell nothing."""
        if since >= until:
            return [], set()
        held, dark = self._told(since, until)
        known = {start: cube.events for start, cube in counted.items() if since <= start < until and start not in dark}
        differ = (start for start in held.keys() | known.keys() if held.get(start, 0) != known.get(start, 0))
        return sorted(differ), dark

    def _told(self, since: int, until: int) -> tuple[dict[int, int], set[int]]:
        """What the store holds of each block, and the blocks of which it can tell nothing."""
        try:
            return self._volumes(since, until), set()
        except SpansUnknown as error:
            self.trouble = str(error)
            dark = {
                start
                for begins, ends in error.spans
                for start in range(self._floor(max(since, begins // SECOND)), until, self.block)
                if start * SECOND < ends
            }
        held: dict[int, int] = {}
        lit = [start for start in range(since, until, self.block) if start not in dark]
        for _, run in groupby(enumerate(lit), lambda each: each[1] - each[0] * self.block):
            starts = [start for _, start in run]
            held |= self._volumes(starts[0], starts[-1] + self.block)
        return held, dark

    def _count_block(self, start: int) -> Cube:
        fine = self._ask(start, start + self.block)
        whole = Cube(self._limits)
        for cube in fine.values():
            whole.add(cube)
        self._kept.put(start, whole, fine)
        if start in self._fine:
            self._fine[start] = fine
        return whole

    def _count_open(self, edge: int, now: int) -> None:
        """Counts what is not over: its end each time, all of it where that does not add up to what the store holds."""
        behind = not self._asked or now < self._asked
        since = edge if behind else max(edge, self._asked - SETTLE)
        since -= since % self.bucket
        held = sum(self._volumes(edge, now).values())
        fresh = self._ask(since, now)
        kept = {at: cube for blocks in self._fine.values() for at, cube in blocks.items() if edge <= at < since}
        if since > edge and sum(cube.events for cube in (kept | fresh).values()) < held:
            kept, fresh = {}, self._ask(edge, now)
        for start in [start for start in self._fine if start >= edge]:
            del self._fine[start]
        for start, group in groupby(sorted((kept | fresh).items()), lambda each: self._floor(each[0])):
            self._fine[start] = dict(group)

    def _slide(self, since: int, edge: int) -> None:
        """Forgets what is too old, and makes coarser what has become so."""
        for start in [start for start in self._wholes if start < since]:
            del self._wholes[start]
        recent = edge - _RECENT * self.block
        for start in [start for start in self._fine if start < recent]:
            del self._fine[start]
        for start in range(recent, edge, self.block):
            if start not in self._fine and start in self._wholes:
                self._fine[start] = self._kept.fine(start, start + self.block)
            if start in self._fine and start < edge - 2 * self.block:
                self._fine[start] = self._coarser(self._fine[start])

    def _coarser(self, fine: Mapping[int, Cube]) -> dict[int, Cube]:
        merged: dict[int, Cube] = {}
        for at, cube in fine.items():
            merged.setdefault(at - at % (4 * self.bucket), Cube(self._limits)).add(cube)
        return merged

    def _points(self) -> list[tuple[int, Cube]]:
        """Everything that is counted, the newest first."""
        points = [(start, cube) for start, cube in self._wholes.items() if start not in self._fine]
        points += [point for fine in self._fine.values() for point in fine.items()]
        return sorted(points, key=lambda point: -point[0])
