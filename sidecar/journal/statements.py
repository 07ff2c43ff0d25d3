"""Signed statements about the journal: how far each segment had come, what was dropped, what was erased, and by whom.

They are lines as the journal's own, in one chain of their own, kept in a file beside the journal and repeated at the
end of an export. A statement's signature (Ed25519) covers all of it and the hash of the one before, so the last
signature vouches for every statement that is kept. What is said:

- `heads`: {segment: {"sequence", "hash"}} of segments that grew; with them `outbox`, how far it had come (the mark);
- `dropped`: {segment: why} of segments that retention removed;
- `erased`: {segment: [[first, last], …]} of lines whose bodies were erased (sequences), with `by` and `reason`;
- `next`: the public key that signs from here on (a rotation, told by the key before);
- `from`: the number of the oldest statement that is kept. Those before it are about segments that are gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sidecar.http.identifiers import uuid7
from sidecar.journal.chain import KEYS
from sidecar.journal.head import Head, keep_head
from sidecar.journal.keys import SigningKey, raw_public
from sidecar.journal.paths import STATEMENTS
from sidecar.journal.segment import chained, first_previous, node_prefix
from sidecar.settings import Settings
from sidecar.storage.atomic_file import write_atomically
from sidecar.storage.instance import SHORT, instance_of
from sidecar.timeunits import to_rfc3339

log = logging.getLogger(__name__)
MARK: Final = "@statements"
"""How the chain of statements is named: no segment of exchanges can have it in its name."""
SIGNED: Final = "journal_signed"
EXPORTED: Final = "journal_exported"
"""The action of the statement that ends an export: it names all that the export holds."""


class BadStatement(Exception):
    """A statement is not as it was signed; `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True)
class Statement:
    """One signed statement, checked."""

    sequence: int
    hash: str
    at: str
    action: str
    key: str
    said: Mapping[str, Any]


@dataclass
class Told:
    """What the statements of one journal say, taken together."""

    name: str | None = None
    points: dict[str, dict[int, str]] = field(default_factory=dict)
    """Segment → the hashes that its chain must have, by sequence."""
    dropped: set[str] = field(default_factory=set)
    erased: dict[str, set[int]] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    outbox: Mapping[str, int] | None = None
    """The outbox's mark that was last stated."""

    def unvouched(self) -> list[tuple[int, Statement, Statement]]:
        """Where the signer changes without the word of the key before: (line, the last before, the first after)."""
        found, named = [], set[str]()
        for line, (before, after) in enumerate(pairwise(self.statements), 2):
            named.update({before.key} | ({before.said["next"]} if "next" in before.said else set()))
            if after.key not in named:
                found.append((line, before, after))
        return found

    def extend(self, lines: Iterable[bytes]) -> None:
        """Takes further statements in. Raises BadStatement."""
        for number, raw in enumerate(lines, len(self.statements) + 1):
            statement, name = _checked(raw, self.last, number)
            if self.name not in (None, name):
                raise BadStatement(number, "removed or reordered: a statement of another journal")
            self.name = name
            self._add(statement)

    def _add(self, statement: Statement) -> None:
        said = statement.said
        for segment, head in said.get("heads", {}).items():
            self.points.setdefault(segment, {})[head["sequence"]] = head["hash"]
        self.outbox = said.get("outbox", self.outbox)
        self.dropped.update(said.get("dropped", {}))
        for segment, runs in said.get("erased", {}).items():
            for first, last in runs:
                self.erased.setdefault(segment, set()).update(range(first, last + 1))
        self.statements.append(statement)

    def vouch(self, trusted: str | None) -> None:
        """Raises BadStatement unless none is missing, and `trusted` (or a key that it named) signed the last one."""
        last = self.last
        if last is None:
            return
        if last.said.get("from") != self.statements[0].sequence:
            raise BadStatement(1, f"removed: statements from {last.said.get('from')} on belong before this one")
        trust = {trusted, last.key if trusted is None else trusted}
        for statement in self.statements:
            if statement.key in trust and "next" in statement.said:
                trust.add(statement.said["next"])
        if last.key not in trust:
            raise BadStatement(len(self.statements), f"signed by another key, {last.key}")

    def names_next(self, key: str) -> bool:
        """Whether this public key is vouched for and has not signed yet."""
        keys = {statement.key for statement in self.statements}
        return key not in keys and any(statement.said.get("next") == key for statement in self.statements)

    @property
    def last(self) -> Statement | None:
        return self.statements[-1] if self.statements else None


def is_statement(raw: bytes) -> bool:
    """Whether a line is one of a chain of statements, by its name; whether it is a true one, `read` tells."""
    return MARK.encode() in raw[:300].partition(b'","')[0]


def read(lines: Iterable[bytes], trusted: str | None) -> Told:
    """What the statements say. `trusted`: the public key (hex) that must vouch for them, or None: any.

    Raises BadStatement.
    """
    told = Told()
    told.extend(lines)
    told.vouch(trusted)
    return told


def _checked(raw: bytes, before: Statement | None, number: int) -> tuple[Statement, str]:
    try:
        line = orjson.loads(raw)
        event, about, said = line["event"], line["event"]["event"], line["event"]["understudy"]
        sequence, previous, signature = line["sequence"], line["previous"], said["signature"]
        whole = {**event, "event": {name: value for name, value in about.items() if name != "hash"}}
        unsigned = {**whole, "understudy": {name: value for name, value in said.items() if name != "signature"}}
        key, name = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["key"])), line["segment"]
        sound = about["hash"] == line["hash"] == chained(previous, whole) and about["sequence"] == sequence
        same = list(line) == KEYS and orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) == raw
        written = same and line["bodies"] is None
        key.verify(bytes.fromhex(signature), _signed(previous, unsigned))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadStatement(number, "altered: not a signed statement") from None
    except InvalidSignature:
        raise BadStatement(number, "altered: its signature does not fit") from None
    if not sound or not written:
        raise BadStatement(number, "altered: not as it was written")
    if before is not None and (sequence != before.sequence + 1 or previous != before.hash):
        raise BadStatement(number, "removed or reordered: it does not continue the statement before")
    if before is None and sequence == 1 and previous != first_previous(name):
        raise BadStatement(number, "altered: it does not begin its chain")
    return Statement(sequence, line["hash"], event["@timestamp"], about["action"], said["key"], said["signed"]), name


def _signed(previous: str, event: Mapping[str, Any]) -> bytes:
    return previous.encode() + orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


def statements_of(settings: Settings) -> Statements:
    """The signed statements about this node's journal."""
    node = f"{settings.node_name}.{instance_of(settings.data)[:SHORT]}"
    return Statements(settings.data / STATEMENTS, node, settings.sign_head_file)


class Statements:
    """The file of statements. Safe between processes: who writes holds a lock, and reads first what others wrote."""

    def __init__(self, path: Path, node: str, head: Path | None = None) -> None:
        """`head`: the file, outside DATA, that holds the last statement's place in the chain."""
        self._path, self._head = path, head
        self._name = node_prefix(node) + MARK
        self._told, self._read, self._inode = Told(), 0, -1
        self._reading = threading.RLock()

    @property
    def path(self) -> Path:
        return self._path

    def lines(self) -> list[bytes]:
        """The whole lines; a torn last one (a crash while it was written) was never told to anybody."""
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def told(self) -> Told:
        """What is said so far: read once, then only what is new. Raises BadStatement, OSError."""
        with self._reading:
            return self._read_on()

    def _read_on(self) -> Told:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return Told()
        if status.st_ino != self._inode or status.st_size < self._read:
            self._told, self._read, self._inode = Told(), 0, status.st_ino
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = [raw for raw in file if raw.endswith(b"\n")]
        self._told.extend(new)
        self._read += sum(map(len, new))
        return self._told

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds off other writers."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def append(self, key: SigningKey, said: Mapping[str, Any], alive: Sequence[str] | None = None) -> Statement:
        """Signs and keeps a statement, on disk when this returns. Raises BadStatement, OSError, SigningError.

        `alive`: the segments that are there; statements that are only about others are left out from now on.
        """
        with self.locked():
            told = self.told()
            kept = 0 if alive is None else _outlived(told, set(alive))
            raw = self.closing(key, said, told, kept, SIGNED)
            if kept or (self._path.exists() and self._path.stat().st_size > self._read):
                write_atomically(self._path, b"".join([*self.lines()[kept:], raw]))
            else:
                self._write(raw)
            told = self.told()
            assert told.last is not None
            assert told.name is not None
            self._keep_head(Head(told.name, told.last.sequence, told.last.hash, told.outbox))
            return told.last

    def _keep_head(self, head: Head) -> None:
        """What is signed is signed: that its head could not be kept is told, and the next one is as good."""
        if self._head is None:
            return
        try:
            keep_head(self._head, head)
        except OSError as error:
            fields = {"event.action": "head_not_kept"}
            log.error("the head of the journal is not kept: %s: %s", self._head, error, extra={"fields": fields})

    def closing(
        self, key: SigningKey, said: Mapping[str, Any], told: Told, kept: int = 0, action: str = EXPORTED
    ) -> bytes:
        """The next statement as a line, not kept: what an export ends with."""
        last = told.last
        name, sequence = told.name or self._name, last.sequence + 1 if last else 1
        previous, now = last.hash if last else first_previous(name), time.time_ns()
        oldest = told.statements[kept].sequence if kept < len(told.statements) else sequence
        private = key.private()
        about = {"id": uuid7(now), "kind": "state", "action": action, "sequence": sequence}
        event: dict[str, Any] = {
            "@timestamp": to_rfc3339(now),
            "event": about,
            "understudy": {"signed": {**said, "from": oldest}, "key": raw_public(private)},
        }
        signature = private.sign(_signed(previous, event)).hex()
        event["understudy"] = {**event["understudy"], "signature": signature}
        digest = chained(previous, event)
        line = {
            "segment": name,
            "sequence": sequence,
            "previous": previous,
            "hash": digest,
            "event": {**event, "event": {**about, "hash": digest}},
            "bodies": None,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _write(self, raw: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, raw)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rotate(key: SigningKey, statements: Statements) -> Path:
    """Signs with a new key from now on, which the old one vouches for. Returns where the old one was put.

    After a crash in between the old key goes on, and all that was signed holds. Raises what `append` does.
    """
    old = raw_public(key.private())
    new = key.path.with_name(f"{key.path.name}.{os.urandom(4).hex()}")
    vouch_for(SigningKey(new), key, statements)
    kept = key.path.with_name(f"{key.path.name}.{old[:16]}")
    if not kept.exists():
        os.link(key.path, kept)
    new.replace(key.path)
    statements.append(key, {"before": old})  # whoever has only the new key finds it at the end of the chain
    return kept


def vouch_for(successor: SigningKey, key: SigningKey, statements: Statements) -> None:
    """States that `successor`, made where there is none, signs after `key`, which goes on until it is replaced. Raises
    what `append` does."""
    statements.append(key, {"next": raw_public(successor.private())})


def _outlived(told: Told, alive: set[str]) -> int:
    """How many of the oldest statements are only about segments that are not there any more."""
    for number, statement in enumerate(told.statements):
        about = {*statement.said.get("heads", {}), *statement.said.get("erased", {})}
        if about & alive:
            return number
    return len(told.statements)
