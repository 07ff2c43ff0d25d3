"""Ships the journal to the event store: every event exactly once by its id, whatever fails in between.

At least once from here, and at most once there, since the store keeps one document per event.id. A batch is settled
when every document is stored or has gone to the dead letters; then the store keeps a checkpoint and we keep the
offsets, in this order, so that a crash anywhere only means shipping again. What failed is tried again and nothing else
is; a document that the store refuses blocks nothing. While the store is down this waits, with full jitter and never
longer than 10 s, and the journal keeps all.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any, Final

from sidecar.events.retention import free_bodies, is_held
from sidecar.events.store import Event, EventStore, Rejected, StoreUnavailable
from sidecar.journal.erasure import Place
from sidecar.journal.offsets import Offsets, Progress
from sidecar.journal.segment import is_open
from sidecar.storage.atomic_file import write_atomically
from sidecar.timeunits import SECOND, parse_rfc3339

DOCUMENTS: Final = 500
BYTES: Final = 5 << 20
LONGEST_WAIT: Final = 10.0
FIRST_WAIT: Final = 0.1
IDLE: Final = 0.5
"""Seconds until the journal is looked at again when all of it is shipped."""
HOUSEKEEPING: Final = 600.0
_FILE_NAME = re.compile(r"[\w-]{1,100}")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lag:
    """What the journal holds and the store does not yet."""

    events: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """Told after a step, and every IDLE seconds at least: for metrics and for people. `trouble` is None while the store
    takes what it is given."""

    shipped: int
    dead_letters: int
    lag: Lag
    trouble: str | None


@dataclass
class _Batch:
    """Documents on their way, and where each segment stands once they have all arrived."""

    events: list[Event] = field(default_factory=list)
    bodies: list[Event] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    """(name, first characters) of lines that are no events."""
    ends: list[tuple[Progress, int, int, tuple[int, str] | None]] = field(default_factory=list)
    """(segment, offset after, lines, (last sequence, hash))."""
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.events) + len(self.bodies) >= DOCUMENTS - 1 or self.size >= BYTES

    def take(self, segment: Progress) -> None:
        """Adds lines of a segment until the batch is full."""
        at, count, last = segment.offset, 0, None
        for line, offset in segment.lines():
            if count and self.size + offset - at > BYTES:
                self.size = BYTES
                break
            if isinstance(line.get("event"), dict):
                self.events.append(line["event"])
                last = _link(line) or last
            else:
                self.damaged.append((f"{segment.path.stem}-at-{at}", str(line.get("damaged", line))[:200]))
            if isinstance(line.get("bodies"), dict):
                self.bodies.append(line["bodies"])
            self.size += offset - at
            at, count = offset, count + 1
            if self.full:
                break
        if count:
            self.ends.append((segment, at, count, last))


class Shipper:
    """Call `step` again and again, or `run` in a thread. One shipper per journal directory."""

    def __init__(
        self,
        journal: Path,
        store: EventStore,
        state: Path,
        dead_letters: Path,
        *,
        journal_retention: float = 7 * 86400,
        on_progress: Callable[[Report], None] = lambda report: None,
        uniform: Callable[[float, float], float] = random.uniform,
        may_drop: Callable[[], bool] = lambda: True,
        dropping: Callable[[Mapping[str, str]], bool] = lambda segments: True,
        body_retention: float = inf,
        erase: Callable[[Sequence[Place]], None] = lambda places: None,
        keep: Callable[[Path], None] = lambda segment: None,
    ) -> None:
        """Retentions are in seconds; `uniform` draws the jitter. `may_drop`: whether the wall clock, by which segments
        have an age, may be gone by. `dropping` is told of segments that are to be removed,
        with the reason; False keeps them. `erase` takes bodies out of the journal whose time has come. `keep` puts
        away what is to stay of a segment before it is removed; where it raises OSError, the segment stays too."""
        self.shipped = 0
        self.trouble: str | None = None
        self._store = store
        self._offsets = Offsets(journal, state)
        self._dead_letters = dead_letters
        self._journal_retention = journal_retention
        self._on_progress = on_progress
        self._may_drop = may_drop
        self._dropping = dropping
        self._body_retention = body_retention
        self._erase = erase
        self._keep = keep
        self._bodiless: set[Path] = set()
        self._uniform = uniform
        self._installed = False
        self._failures = 0
        self._not_before = 0.0
        self._cleaned = 0.0
        self._told = -inf
        self._batch: _Batch | None = None

    def run(self, stop: threading.Event) -> None:
        """Ships until `stop` is set. An error that nobody foresaw is logged, and does not end it."""
        while not stop.is_set():
            try:
                wait = self.step(time.time())
            except Exception as error:
                log.exception("shipping failed")
                wait = self._back_off(time.time(), error)
            stop.wait(wait)

    def step(self, now: float) -> float:
        """Ships at most one batch; returns the seconds after which to be called again. `now` in epoch seconds."""
        if now < self._not_before <= now + LONGEST_WAIT:  # a clock that was set back does not stop us
            return self._not_before - now
        try:
            more = self._ship()
            self._clean(now)
            wait = 0.0 if more else IDLE
            self._failures, self.trouble, self._not_before = 0, None, 0.0
        except (StoreUnavailable, OSError) as error:
            wait = self._back_off(now, error)
        if wait or not 0 <= now - self._told < IDLE:  # to count what is left takes as long as to ship a part of it
            self._told = now
            self._on_progress(Report(self.shipped, self.dead_letters, self.lag(now), self.trouble))
        return wait

    @property
    def dead_letters(self) -> int:
        """How many documents the store has refused, as long as their files are there."""
        return sum(1 for _ in self._dead_letters.glob("*.json"))

    def lag(self, now: float) -> Lag:
        """How many events are not shipped, and how old the oldest of them is."""
        waiting = [segment for segment in self._offsets.segments() if segment.unshipped > 0]
        oldest = [at for at in map(_first_time, waiting) if at is not None]
        age = max(0.0, now - min(oldest) / SECOND) if oldest else 0.0
        return Lag(sum(segment.unshipped for segment in waiting), age)

    def _ship(self) -> bool:
        """Whether there may be more to ship at once."""
        if not self._installed:
            self._store.install()
            self._installed = True
        batch = self._batch = self._batch or self._next()
        if not batch.ends:
            self._batch = None
            return False
        more = batch.full  # delivery empties it
        self._deliver(batch)
        self._settle(batch)
        return more

    def _next(self) -> _Batch:
        batch = _Batch()
        for segment in self._offsets.segments():
            if batch.full:
                break
            if segment.unshipped > 0:
                batch.take(segment)
        return batch

    def _deliver(self, batch: _Batch) -> None:
        """Leaves in the batch what has to be tried again, and raises StoreUnavailable when that is anything."""
        for name, text in batch.damaged:
            self._bury(name, {"why": "not a line of the journal", "line": text})
        batch.damaged = []
        if not batch.events and not batch.bodies:
            return
        done = self._store.append(batch.events, batch.bodies)
        for rejected in done.rejected:
            self._refused(rejected, batch.bodies)
        again = {id(document) for document in done.retry}
        self.shipped += done.stored
        batch.events = [event for event in batch.events if id(event) in again]
        batch.bodies = [body for body in batch.bodies if id(body) in again]
        if again:
            raise StoreUnavailable(f"{len(again)} documents were not taken for now")

    def _settle(self, batch: _Batch) -> None:
        for segment, _, _, last in batch.ends:
            if last is not None:
                self._store.checkpoint(segment.path.stem, *last)
        for segment, offset, lines, _ in batch.ends:
            segment.shipped(offset, lines)
        self._batch = None
        self._offsets.save()

    def _refused(self, rejected: Rejected, bodies: Sequence[Event]) -> None:
        document = rejected.document
        about = document.get("event")
        identity = about.get("id") if isinstance(about, dict) else None
        fit = isinstance(identity, str) and _FILE_NAME.fullmatch(identity)
        name = identity if fit else f"unnamed-{_digest(document)}"
        kind = ".body" if any(document is body for body in bodies) else ""
        self._bury(f"{name}{kind}", {"why": rejected.why, "document": document})

    def _bury(self, name: str, content: dict[str, Any]) -> None:
        # Only the kind of error: what follows may quote the document's values.
        log.warning("dead letter %s: %s", name, str(content["why"]).partition(":")[0][:100])
        write_atomically(self._dead_letters / f"{name}.json", json.dumps(content, indent=1).encode())

    def _back_off(self, now: float, error: Exception) -> float:
        if self.trouble is None:
            log.warning("the event store does not take events: %s", error)
        self._installed = self._installed and not isinstance(error, StoreUnavailable)
        self.trouble = str(error)
        self._failures += 1
        wait = self._uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 10)))
        self._not_before = now + wait
        return wait

    def _clean(self, now: float) -> None:
        """Removes old journal segments that are wholly shipped, unless they are still written to, or held.

        Of those that stay, bodies go when it is their time.
        """
        if abs(now - self._cleaned) < HOUSEKEEPING:
            return
        if not self._may_drop():
            self._cleaned = now
            return
        segments = self._offsets.segments()
        done = [each for each in segments if each.unshipped == 0 and not is_open(each.path)]
        ages = {segment.path: now - segment.path.stat().st_mtime for segment in done}
        old = [path for path, age in ages.items() if age > self._journal_retention]
        stale = [path for path, age in ages.items() if age > self._body_retention and path not in self._bodiless]
        holds = self._store.holds() if old or stale else ()
        old = [path for path in old if not is_held(path, holds) and self._kept(path)]
        if old and self._dropping({path.stem: "retention" for path in old}):
            for path in old:
                path.unlink()
        for path in stale:
            if path.exists():
                self._erase(free_bodies(path, holds))
                self._bodiless.add(path)
        self._cleaned = now

    def _kept(self, path: Path) -> bool:
        try:
            self._keep(path)
        except OSError as error:
            log.warning("a journal segment stays, as who did what could not be put away: %s", error)
            return False
        return True


def _link(line: Mapping[str, Any]) -> tuple[int, str] | None:
    """Where a line stands in its chain; None for what no journal wrote."""
    sequence, hash = line.get("sequence"), line.get("hash")
    if type(sequence) is int and 0 < sequence < 2**63 and isinstance(hash, str):
        return sequence, hash
    return None


def _digest(document: Event) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _first_time(segment: Progress) -> int | None:
    """The time of the first event not shipped, in nanoseconds."""
    for line, _ in segment.lines():
        try:
            return parse_rfc3339(line["event"]["@timestamp"])
        except (KeyError, TypeError, ValueError):
            continue
    return None
