"""The journal: the append-only, hash-chained file of exchanges, and the first place a record lands.

One per worker process, opened after the fork: no lock is shared between workers. One writer thread takes all that waits
as one batch, writes it with one write and, when durable, one fdatasync (group commit): while that runs, the next batch
gathers. Durable: `Ticket.wait` returns when the record is on disk, and `Ticket.on_disk` is the same for an event loop.
Async: both are at once; a record is in the kernel within milliseconds (what kill -9 can lose) and on disk within FLUSH
seconds (what a power cut can lose).

When a batch cannot be written its tickets raise RecordingFailed, the segment is cut back to its last whole line and
left, and the next batch tries a new segment: the journal recovers by itself. `gaps` counts such spells, `failures` the
events.

A line: {"segment", "sequence", "previous", "hash", "event", "bodies"}. The hash covers `previous` and the event (with
its sequence, without its hash), keys sorted. Bodies are outside the hash, their digests inside the event: a body can
be erased later. The first `previous` of a segment is the SHA-256 of its name.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.journal.reserve import Reserve
from sidecar.journal.segment import Segment, create, node_prefix

FLUSH: Final = 1.0
"""Seconds within which an async journal is synced."""
WAITING: Final = 20_000
"""Events that may wait for a disk that hangs; beyond it recording fails at once, so that memory stays bounded."""
Document = Mapping[str, Any]


class RecordingFailed(Exception):
    """The record could not be written (disk full, EIO, …) or not in time."""


class _Batch:
    """Those who wait for one sync. A turnstile: whoever passes lets the next one pass."""

    __slots__ = ("_lock", "_timer", "_told", "_waiters", "entries", "failure", "gate")

    def __init__(self) -> None:
        self.entries: list[tuple[Ticket, Document, Document | None]] = []
        self.failure: str | None = None
        self.gate = threading.Lock()
        self.gate.acquire()
        self._waiters: list[tuple[asyncio.Future[None], Ticket]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._told = False
        self._lock = threading.Lock()

    def wait_on_loop(self, ticket: Ticket, timeout: float) -> asyncio.Future[None]:
        """What `Ticket.on_disk` gives. Called on the loop, which is the same for all."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if not self._told:
                if self._timer is None:
                    self._timer = loop.call_later(timeout, self._give_up, timeout)
                self._waiters.append((waiter, ticket))
                return waiter
        _settle(waiter, ticket.failure or self.failure)
        return waiter

    def tell(self) -> None:
        """It is written, or has failed. Called by the writer."""
        with self._lock:
            self._told = True
            self.gate.release()
            waiters = self._waiters
        if waiters:
            try:
                waiters[0][0].get_loop().call_soon_threadsafe(self._tell, waiters)
            except RuntimeError:
                return  # the loop has ended, and nobody waits

    def _tell(self, waiters: list[tuple[asyncio.Future[None], Ticket]]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for waiter, ticket in waiters:
            _settle(waiter, ticket.failure or self.failure)

    def _give_up(self, timeout: float) -> None:
        for waiter, _ in self._waiters:
            _settle(waiter, f"not on disk after {timeout:g} s")


class Ticket:
    """One appended record on its way to disk."""

    __slots__ = ("_batch", "_durable", "failure")

    def __init__(self, batch: _Batch, durable: bool) -> None:
        self._batch = batch
        self._durable = durable
        self.failure: str | None = None

    def wait(self, timeout: float) -> None:
        """Returns once the record is on disk (async: at once). Raises RecordingFailed, also when time is up."""
        if not self._durable:
            return
        if not self._batch.gate.acquire(timeout=timeout):
            raise RecordingFailed(f"not on disk after {timeout:g} s")
        self._batch.gate.release()
        if failure := self.failure or self._batch.failure:
            raise RecordingFailed(failure)

    def on_disk(self, timeout: float) -> asyncio.Future[None]:
        """The same on an event loop: done once the record is on disk, or with RecordingFailed."""
        if self._durable:
            return self._batch.wait_on_loop(self, timeout)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def _settle(waiter: asyncio.Future[None], failure: str | None) -> None:
    if waiter.done():
        return
    if failure:
        waiter.set_exception(RecordingFailed(failure))
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
    ) -> None:
        self.syncs = self.events = self.failures = self.gaps = self._unsynced = 0
        self._reserve = reserve
        self._directory = directory
        self._prefix = f"{node_prefix(node)}-{worker}"
        self._durable, self._segment_bytes, self._sync = durable, segment_bytes, sync
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

    def append(self, event: Document, bodies: Document | None = None) -> Ticket:
        """Takes a record; the caller does not change it afterwards. Raises RecordingFailed when it cannot be taken."""
        with self._lock:
            if self._closing or len(self._batch.entries) >= WAITING:
                self.failures += 1
                self.gaps += not self._failing
                self._failing = True
                raise RecordingFailed("the journal is closed" if self._closing else "the disk does not keep up")
            ticket = Ticket(self._batch, self._durable)
            self._batch.entries.append((ticket, event, bodies))
            if len(self._batch.entries) == 1:
                self._ring()
        return ticket

    def close(self) -> None:
        """Writes and syncs what waits, then ends the writer."""
        with self._lock:
            self._closing = True
            self._ring()
        self._thread.join()
        if self._reserve is not None:
            self._reserve.close()

    def _ring(self) -> None:
        """With the lock held."""
        if self._bell.locked():
            self._bell.release()

    def _run(self) -> None:
        synced = time.monotonic()
        while batch := self._next(synced):
            if batch.entries:
                self._write(batch)
            if self._dirty and (self._durable or self._closing or time.monotonic() - synced >= FLUSH):
                self._flush(batch)
                synced = time.monotonic()
            batch.tell()
        if self._segment is not None:
            self._segment.close()

    def _next(self, synced: float) -> _Batch | None:
        """The next batch: what waits, or nothing but due to be flushed. None: closed, and all is written."""
        while True:
            with self._lock:
                now, waiting = time.monotonic(), len(self._batch.entries)
                due = synced + FLUSH if self._dirty else None
                if self._closing and not waiting and not self._dirty:
                    return None
                if self._closing or waiting or (due is not None and due <= now):
                    batch, self._batch = self._batch, _Batch()
                    return batch
            self._bell.acquire(timeout=-1 if due is None else due - now)

    def ready(self) -> bool:
        """Whether what happens now can be recorded, as far as can be known before: the disk has kept the last record,
        and room is set aside for the next ones. Without a reserve only the first."""
        return not self._failing and (self._reserve is None or self._reserve.held())

    def _write(self, batch: _Batch) -> None:
        try:
            self._put(batch)
        except OSError as error:
            if self._reserve is not None and self._reserve.spend(error):
                self._failed(None, error)
                try:
                    self._put(batch)
                except OSError as again:
                    error = again
                else:
                    return
            self.failures += sum(1 for ticket, _, _ in batch.entries if ticket.failure is None)
            self._failed(batch, error)

    def _put(self, batch: _Batch) -> None:
        """Raises OSError."""
        segment = self._segment = self._segment or create(self._directory, self._prefix)
        lines = []
        for ticket, event, bodies in batch.entries:
            try:
                lines.append(segment.line(event, bodies))
            except (TypeError, KeyError) as error:
                ticket.failure = f"no JSON document: {error}"
                self.failures += 1
        segment.write(b"".join(lines))
        self._unsynced += len(lines)
        self._dirty = self._unsynced > 0

    def _flush(self, batch: _Batch) -> None:
        assert self._segment is not None
        try:
            self._sync(self._segment.descriptor)
        except OSError as error:
            self._dirty = False
            self._failed(batch, error)
            return
        self._settle(self._segment)
        if self._segment.size >= self._segment_bytes:
            self._segment.close()
            self._segment = None

    def _settle(self, segment: Segment) -> None:
        segment.settle()
        self.syncs += 1
        self.events += self._unsynced
        self._unsynced, self._dirty, self._failing = 0, False, False

    def _failed(self, batch: _Batch | None, error: OSError) -> None:
        """After a failed sync nobody knows which pages are on disk: the segment is cut back and never used again.

        An async journal keeps whole lines written before: nobody was told that they failed.
        """
        if batch is not None:
            batch.failure = f"cannot record: {error.strerror or error}"
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.abandon(keep_written=not self._durable, sync=self._sync if self._dirty else None)
        self.failures += self._unsynced
        self.gaps += not self._failing
        self._unsynced, self._dirty, self._failing = 0, False, True


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
