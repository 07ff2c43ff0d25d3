"""The journal: the append-only, hash-chained file of exchanges, and the first place a record lands.

One per worker process, opened after the fork: no lock is shared between workers. One writer thread takes all that waits
as one batch, writes it with one write and, when durable, one fdatasync (group commit): while that runs, the next batch
gathers. Durable: `Ticket.wait` returns when the record is on disk, and `Ticket.on_disk` is the same for an event loop.
Async: both are at once; a record is in the kernel within milliseconds (what kill -9 can lose) and on disk within FLUSH
seconds (what a power cut can lose).

When a batch cannot be written its tickets raise RecordingFailed, the segment is cut back to its last whole line and
left, and the next batch tries a new segment: the journal recovers by itself. A disk that neither takes a batch nor
refuses it is waited for by each for PATIENCE, and by nobody once it has been silent for that long; what was given up is
written all the same, should the disk come back. `gaps` counts such spells, each of which is logged, `failures` the
events whose users were answered unrecorded.

A line: {"segment", "sequence", "previous", "hash", "event", "bodies"}. The hash covers `previous` and the event (with
its sequence, without its hash), keys sorted. Bodies are outside the hash, their digests inside the event: a body can
be erased later. The first `previous` of a segment is the SHA-256 of its name.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.journal.reserve import AGAIN, Reserve
from sidecar.journal.segment import Segment, create, node_prefix

log = logging.getLogger(__name__)
FLUSH: Final = 1.0
"""Seconds within which an async journal is synced."""
PATIENCE: Final = 5.0
"""Seconds after which a disk that does not answer counts as failed."""
WAITING: Final = 20_000
"""Events that may wait for a disk that hangs; beyond it recording fails at once, so that memory stays bounded."""
WAITING_BYTES: Final = 64 << 20
"""The same of what they hold, so that a few large ones do not take more than many small ones."""
Document = Mapping[str, Any]


class RecordingFailed(Exception):
    """The record could not be written (disk full, EIO, …) or not in time."""


class _Batch:
    """Those who wait for one sync. A turnstile: whoever passes lets the next one pass."""

    __slots__ = ("_lock", "_timer", "_told", "_waiters", "entries", "gate", "size")

    def __init__(self) -> None:
        self.entries: list[tuple[Ticket, Document, Document | None]] = []
        self.size = 0
        """Bytes that they hold, about."""
        self.gate = threading.Lock()
        self.gate.acquire()
        self._waiters: deque[tuple[float, asyncio.Future[None], Ticket]] = deque()
        """With the moment (of the loop) until which each waits, in that order."""
        self._timer: asyncio.TimerHandle | None = None
        self._told = False
        self._lock = threading.Lock()

    def wait_on_loop(self, ticket: Ticket, patience: float) -> asyncio.Future[None]:
        """What `Ticket.on_disk` gives. Called on the loop, which is the same for all, as is their patience."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        until = loop.time() + patience
        with self._lock:
            if not self._told:
                if self._timer is None:
                    self._timer = loop.call_at(until, self._sweep)
                self._waiters.append((until, waiter, ticket))
                return waiter
        _settle(waiter, ticket)
        return waiter

    def tell(self) -> None:
        """It is written, or has failed. Called by the writer."""
        with self._lock:
            self._told = True
            self.gate.release()
            loop = self._waiters[0][1].get_loop() if self._waiters else None
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._tell)
            except RuntimeError:
                return  # the loop has ended, and nobody waits

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        while self._waiters:
            _, waiter, ticket = self._waiters.popleft()
            _settle(waiter, ticket)

    def _sweep(self) -> None:
        """Gives up those whose time is up."""
        loop, late = asyncio.get_running_loop(), []
        with self._lock:
            if self._told:
                return
            while self._waiters and self._waiters[0][0] <= loop.time():
                _, waiter, ticket = self._waiters.popleft()
                late.append((waiter, ticket))
            self._timer = loop.call_at(self._waiters[0][0], self._sweep) if self._waiters else None
        for waiter, ticket in late:
            ticket.give_up()
            _settle(waiter, ticket)


class Ticket:
    """One appended record on its way to disk."""

    __slots__ = ("_batch", "_journal", "failure")

    def __init__(self, batch: _Batch, journal: Journal) -> None:
        self._batch = batch
        self._journal = journal
        self.failure: str | None = None

    def wait(self, timeout: float) -> None:
        """Returns once the record is on disk (async: at once). Raises RecordingFailed, also when time is up, and at
        once while the disk hangs."""
        hangs = self._journal.hangs()
        if self._journal.durable and self._batch.gate.acquire(timeout=0 if hangs else timeout):
            self._batch.gate.release()
        elif self._journal.durable or hangs:
            self.give_up()
        if self.failure:
            raise RecordingFailed(self.failure)

    def on_disk(self) -> asyncio.Future[None]:
        """The same on an event loop: done once the record is on disk, or with RecordingFailed after PATIENCE."""
        if self._journal.hangs():
            self.give_up()
        elif self._journal.durable:
            return self._batch.wait_on_loop(self, self._journal.patience)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _settle(done, self)
        return done

    def give_up(self) -> None:
        """Nobody waits for it any longer."""
        self._journal.lose([self], "the disk does not answer")


def _settle(waiter: asyncio.Future[None], ticket: Ticket) -> None:
    if waiter.done():
        return
    if ticket.failure:
        waiter.set_exception(RecordingFailed(ticket.failure))
    else:
        waiter.set_result(None)


class Journal:
    """`sync` is the seam for tests of failing disks."""

    def __init__(
        self,
        directory: Path,
        node: str,
        worker: int | str,
        *,
        durable: bool = True,
        segment_bytes: int = 64 << 20,
        sync: Callable[[int], None] = os.fdatasync,
        reserve: Reserve | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.syncs = self.events = self.failures = self.gaps = 0
        self._unsynced: list[Ticket] = []
        if reserve is not None:
            reserve.renew()
        self._reserve = reserve
        self._directory = directory
        self._prefix = f"{node_prefix(node)}-{worker}"
        self.durable, self.patience = durable, patience
        self._segment_bytes, self._sync = segment_bytes, sync
        self._began = math.inf
        """When the writer began with what it is at."""
        self._segment: Segment | None = None
        self._failing = self._dirty = self._closing = False
        self._batch = _Batch()
        self._lock = threading.Lock()
        self._bell = threading.Lock()
        """Rung (released) for the writer: something waits for it. Only the writer takes it."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events not yet written."""
        return len(self._batch.entries)

    def hangs(self) -> bool:
        """Whether the disk has not answered the writer for so long that nobody waits for it any more."""
        return time.monotonic() - self._began >= self.patience

    def append(self, event: Document, bodies: Document | None = None, size: int = 0) -> Ticket:
        """Takes a record; the caller does not change it afterwards. `size`: bytes that it holds, about. Raises
        RecordingFailed when it cannot be taken."""
        with self._lock:
            batch = self._batch
            ticket = Ticket(batch, self)
            full = len(batch.entries) >= WAITING or (batch.entries and batch.size + size > WAITING_BYTES)
            if not self._closing and not full:
                batch.entries.append((ticket, event, bodies))
                batch.size += size
                if len(batch.entries) == 1:
                    self._ring()
                return ticket
        why = "the journal is closed" if self._closing else "the disk does not keep up"
        self.lose([ticket], why)
        raise RecordingFailed(why)

    def lose(self, tickets: Iterable[Ticket], why: str) -> None:
        """What they stand for is answered unrecorded, and so will be what follows, until a sync succeeds."""
        self._count(tickets, why)
        with self._lock:
            begins, self._failing = not self._failing, True
            self.gaps += begins
        if begins:
            log.error("exchanges cannot be recorded: %s", why, extra={"fields": {"event.action": "recording_failed"}})

    def _count(self, tickets: Iterable[Ticket], why: str) -> None:
        """Each once: what was given up may fail later."""
        with self._lock:
            for ticket in tickets:
                if ticket.failure is None:
                    ticket.failure = why
                    self.failures += 1

    def close(self, patience: float | None = None) -> bool:
        """Writes and syncs what waits, then ends the writer. False: it has not ended within `patience` (s; None: it is
        waited for however long that takes), since the disk hangs; what it was at may still be written."""
        with self._lock:
            self._closing = True
            self._ring()
        self._thread.join(patience)
        if self._reserve is not None:
            self._reserve.close()
        return not self._thread.is_alive()

    def _ring(self) -> None:
        """With the lock held."""
        if self._bell.locked():
            self._bell.release()

    def _run(self) -> None:
        synced = time.monotonic()
        while batch := self._next(synced):
            self._began = time.monotonic()
            if batch.entries:
                self._write(batch)
            if self._dirty and (self.durable or self._closing or time.monotonic() - synced >= FLUSH):
                self._flush()
                synced = time.monotonic()
            self._began = math.inf
            batch.tell()
        if self._segment is not None:
            self._segment.close()

    def _next(self, synced: float) -> _Batch | None:
        """The next batch: what waits, or nothing but due to be flushed. None: closed, and all is written. Sees to the
        reserve meanwhile."""
        while True:
            with self._lock:
                now, waiting = time.monotonic(), len(self._batch.entries)
                due = synced + FLUSH if self._dirty else math.inf
                if self._closing and not waiting and not self._dirty:
                    return None
                if self._closing or waiting or due <= now:
                    batch, self._batch = self._batch, _Batch()
                    return batch
            if self._reserve is not None and not self._reserve.renew():
                due = min(due, now + AGAIN)
            self._bell.acquire(timeout=-1 if due == math.inf else max(0.0, due - now))

    def ready(self) -> bool:
        """Whether what happens now can be recorded, as far as can be known before: the disk has kept the last record,
        and room is set aside for the next ones. Without a reserve only the first. Never waits."""
        return not self._failing and not self.hangs() and (self._reserve is None or self._reserve.held)

    def _write(self, batch: _Batch) -> None:
        try:
            self._put(batch)
        except OSError as error:
            if self._reserve is not None and self._reserve.spend(error):
                self._failed(error)
                try:
                    self._put(batch)
                except OSError as again:
                    error = again
                else:
                    return
            self._failed(error, [ticket for ticket, _, _ in batch.entries])

    def _put(self, batch: _Batch) -> None:
        """Raises OSError."""
        segment = self._segment = self._segment or create(self._directory, self._prefix)
        lines, tickets = [], []
        for ticket, event, bodies in batch.entries:
            try:
                lines.append(segment.line(event, bodies))
                tickets.append(ticket)
            except (TypeError, KeyError) as error:
                self._count([ticket], f"no JSON document: {error}")
        segment.write(b"".join(lines))
        batch.entries.clear()  # the disk may take its time, and the documents need not wait for it
        self._unsynced += tickets
        self._dirty = bool(self._unsynced)

    def _flush(self) -> None:
        assert self._segment is not None
        try:
            self._sync(self._segment.descriptor)
        except OSError as error:
            self._dirty = False
            self._failed(error)
            return
        self._settle(self._segment)
        if self._segment.size >= self._segment_bytes:
            self._segment.close()
            self._segment = None

    def _settle(self, segment: Segment) -> None:
        segment.settle()
        self.syncs += 1
        self.events += len(self._unsynced)
        self._unsynced, self._dirty = [], False
        with self._lock:
            ends, self._failing = self._failing, False
        if ends:
            fields = {"event.action": "recording_again"}
            log.warning("exchanges are recorded again; %d were not so far", self.failures, extra={"fields": fields})

    def _failed(self, error: OSError, unwritten: Iterable[Ticket] = ()) -> None:
        """After a failed sync nobody knows which pages are on disk: the segment is cut back and never used again.

        An async journal keeps whole lines written before: nobody was told that they failed.
        """
        self.lose([*unwritten, *self._unsynced], f"cannot record: {error.strerror or error}")
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.abandon(keep_written=not self.durable, sync=self._sync if self._dirty else None)
        self._unsynced, self._dirty = [], False


def read_segment(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Each whole line from `offset` with the offset after it; stops before a torn last line.

    A whole line that is no JSON object (nobody but a vandal writes one) comes as {"damaged": its first 200 characters}.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            offset += len(raw)
            try:
                line = orjson.loads(raw)
            except orjson.JSONDecodeError:
                line = None
            yield (line if isinstance(line, dict) else {"damaged": raw[:200].decode("utf-8", "replace")}), offset
