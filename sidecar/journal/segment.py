"""One file of the journal: lines chained by hash, written at its end, cut back to the last good one when that fails."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson


def node_prefix(node: str) -> str:
    """A node's name as it begins the names of its segments."""
    return re.sub(r"[^\w.]", "_", node)


def first_previous(segment: str) -> str:
    """What the first line of a segment is chained to."""
    return sha256(segment.encode()).hexdigest()


def chained(previous: str, event: Mapping[str, Any]) -> str:
    """The hash of an event (with its sequence, without its hash) and of all before it."""
    return sha256(previous.encode() + orjson.dumps(event, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Segment:
    """An open segment. Its name is that of its file, without the suffix."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.name = path.stem
        self.descriptor = descriptor
        self.size = 0
        self._path = path
        self._settled = 0
        self._sequence = 0
        self._hash = first_previous(self.name)

    def line(self, event: Mapping[str, Any], bodies: Mapping[str, Any] | None) -> bytes:
        """The next line. Raises TypeError or KeyError for what is no JSON event; the chain is then as before."""
        sequence = self._sequence + 1
        about = {**event["event"], "sequence": sequence}
        filled = {**event, "event": about}
        about["hash"] = chained(self._hash, filled)
        line = {
            "segment": self.name,
            "sequence": sequence,
            "previous": self._hash,
            "hash": about["hash"],
            "event": filled,
            "bodies": bodies,
        }
        raw = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        self._sequence, self._hash = sequence, about["hash"]
        return raw

    def write(self, lines: bytes) -> None:
        """All of it, or OSError."""
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        self.size += len(lines)

    def settle(self) -> None:
        """All that was written is on disk."""
        self._settled = self.size

    def abandon(self, *, keep_written: bool, sync: Callable[[int], None] | None) -> None:
        """Cuts the file back to its last good line, removes it when nothing is left, and closes it."""
        good = self.size if keep_written else self._settled
        try:
            if good:
                os.ftruncate(self.descriptor, good)
            else:
                self._path.unlink()
            if sync is not None:
                sync(self.descriptor)
        except OSError:
            pass  # a torn tail stays: readers stop before it, and `verify` notes it
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)


def is_open(path: Path) -> bool:
    """Whether a process still writes to the segment: it holds a lock until it closes it, or dies."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def create(directory: Path, prefix: str) -> Segment:
    """A new, empty segment whose name is on disk: the directory is synced."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{prefix}-{time.time_ns()}.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError:
        os.close(descriptor)
        raise
    return Segment(path, descriptor)
