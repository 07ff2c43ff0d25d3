"""Whether journals are as they were written: any line altered, reordered or removed is found, and the first is named.

Each segment's chain starts from the segment's own name, so a file may hold one segment or, exported, many. A chain
that was cut, made anew, or taken away as a whole proves nothing by itself: signed statements tell (statements.py), in a
file beside the journal or at the end of an export, and checkpoints kept in the event store. A torn last line (a crash
while it was written) is noted, and no failure. A missing body is one, unless a signed statement says it was erased.

Large files are checked in parts, by several processes: each line is held against the line before it only.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.journal.chain import Bad, Chain, Erased, link
from sidecar.journal.checkpoints import Checkpoint, known_checkpoints
from sidecar.journal.head import Head, own_key, read_head
from sidecar.journal.keys import SigningError as SigningError  # for who may import only this module
from sidecar.journal.offsets import started
from sidecar.journal.paths import STATEMENTS
from sidecar.journal.statements import EXPORTED, MARK, BadStatement, Statement, Told, is_statement, read
from sidecar.settings import Settings

PART: Final = 32 << 20
"""Bytes of a file that one process checks at a time."""
TAIL: Final = 1 << 16
Place = dict[str, str | int]


@dataclass
class Verdict:
    """`first_bad`: {"file", "line" (from 1), "why"}. `notes` are worth reading and no failures."""

    ok: bool = True
    events: int = 0
    first_bad: Place | None = None
    notes: list[str] = field(default_factory=list)
    signed: str | None = None
    """Up to when statements sign it (ISO 8601); None: nothing does."""
    key: str | None = None
    """Whose key signed last, in hex."""
    unsigned: int = 0
    """Events after what was signed: only their chain, and checkpoints, speak for them."""

    def bad(self, file: Path | str, line: int, why: str) -> None:
        if self.ok:
            self.ok, self.first_bad = False, {"file": str(file), "line": line, "why": why}

    def as_json(self) -> dict[str, Any]:
        """What `audit verify --format json` prints."""
        return {
            "ok": self.ok,
            "events": self.events,
            "first_bad": self.first_bad,
            "signed": self.signed,
            "unsigned": self.unsigned,
            "key": self.key,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class _Part:
    """Lines of one file that are checked in one go. `before`: the line that precedes them."""

    path: Path
    start: int
    stop: int
    before: bytes | None


@dataclass
class _Found:
    """What a part holds. `runs`: segments that begin here, with their first lines, counted from 1 here."""

    lines: int = 0
    runs: list[tuple[str, int]] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)
    """Segment → its last sequence here."""
    bad: tuple[int, str] | None = None
    torn: int | None = None
    """Bytes of a line that was being written when a crash came."""


@dataclass(frozen=True)
class _Expected:
    """What lines must agree with: signed heads and checkpoints, and where bodies may be missing."""

    signed: Mapping[str, Mapping[int, str]]
    kept: Mapping[str, tuple[int, str]]
    erased: Erased

    def meets(self, chain: Chain) -> None:
        """Raises Bad when the chain is not the one that was signed, or kept."""
        if self.signed.get(chain.segment, {}).get(chain.sequence, chain.hash) != chain.hash:
            raise Bad("rewritten: the hash is not what was signed")
        sequence, hash = self.kept.get(chain.segment, (0, ""))
        if sequence == chain.sequence and hash != chain.hash:
            raise Bad("rewritten: the hash is not the checkpoint's")


def verify(
    paths: Iterable[Path],
    checkpoints: Mapping[str, tuple[int, str]] | None = None,
    *,
    statements: Path | None = None,
    trusted: str | None = None,
    head: Head | None = None,
    processes: int = 1,
) -> Verdict:
    """Follows every chain in the files. Events are counted up to the first bad line.

    `checkpoints`: segment (or chain of statements) → (sequence, hash) that must be there. `statements`: the file of
    signed statements about these segments, each of which is a file of its own name; without it, they are looked for at
    the file's end. `trusted`: the public key (hex) that must have signed; events of which nothing is signed by it
    are a failure. `head`: how far the statements had come by what is kept beside the key. Raises OSError for what
    cannot be read.
    """
    paths = list(paths)
    verdict, told = Verdict(), Told()
    kept = {segment.removesuffix(".jsonl"): reached for segment, reached in (checkpoints or {}).items()}
    ends: dict[Path, int] = {}
    try:
        told = _told(paths, statements, trusted, ends)
    except BadStatement as bad:
        before = 0 if statements else sum(1 for _ in _between(paths[-1], 0, ends[paths[-1]]))
        verdict.bad(statements or paths[-1], max(1, before + bad.line), str(bad))
    own_files = statements is not None
    if statements is not None:
        _judge_statements(verdict, told, kept, head, statements)
    verdict.notes += [_changed(statements or paths[-1], *change) for change in told.unvouched()]
    expected = _Expected(told.points, kept, told.erased)
    parts = [part for path in paths for part in _parts(path, ends[path])]
    if processes > 1 and len(parts) > 1:
        # spawned, not forked: who calls may have threads
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (expected,)) as pool:
            _judge(verdict, told, expected, zip(parts, pool.map(_check_as_told, parts), strict=True), own_files)
            pool.shutdown(cancel_futures=True)
    else:
        _judge(verdict, told, expected, ((part, _check(part, expected)) for part in parts), own_files)
    if trusted is not None and told.last is None and verdict.events:
        verdict.bad(statements or paths[-1], 1, "not signed: no signed statement is there")
    return verdict


def _changed(path: Path, line: int, before: Statement, after: Statement) -> str:
    return (
        f"{path}, statement {line}: the signer changes unvouched, from {before.key[:16]} to {after.key[:16]}, at "
        f"{after.at[:19]}Z: what was signed before, up to {before.at[:19]}Z, only the old key proves"
    )


def verify_node(
    settings: Settings, shipped: Iterable[Checkpoint], trusted: str | None = None, processes: int = 1
) -> Verdict:
    """The whole journal of this node. `shipped`: what the event store says of how far it had come.

    Nothing under DATA is believed of itself: only what `trusted` (unset: the node's own key) has signed, and only a
    journal that is no older than the head kept beside that key: without one, that it was put back would not be noticed.
    Raises SigningError where neither can be read.
    """
    paths, statements = sorted((settings.data / "journal").glob("*.jsonl")), settings.data / STATEMENTS
    trusted, head = trusted or own_key(settings), read_head(settings.sign_head_file)
    if trusted is None:
        raise SigningError(f"UNDERSTUDY_SIGN_KEY: {settings.sign_key_file} cannot be read: no key to trust is known")
    known = known_checkpoints(shipped, settings)
    verdict = verify(paths, known, statements=statements, trusted=trusted, head=head, processes=processes)
    if head is None and verdict.events:
        verdict.bad(
            settings.sign_head_file, 0, "not there: how far the journal had been signed is known from DATA alone"
        )
    return verdict


def _told(paths: Sequence[Path], statements: Path | None, trusted: str | None, ends: dict[Path, int]) -> Told:
    """The statements. `ends`, filled in: where each file's lines end and, of an export, its statements begin."""
    lines = [] if statements is None else _whole(statements)
    ends |= {path: path.stat().st_size for path in paths}
    if statements is not None:
        return read(lines, trusted)
    told = Told()
    for path in paths:
        lines, ends[path] = _tail(path, ends[path])
        if lines:
            told = read(lines, trusted)
    if trusted is not None and told.last is None:
        raise BadStatement(0, "not signed: no signed statement is in it")
    return told


def _whole(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        return [raw for raw in file if raw.endswith(b"\n")]


def _tail(path: Path, size: int) -> tuple[list[bytes], int]:
    """The statements at a file's end, and where they begin. Found from the end: the file may be large."""
    start, tail = size, b""
    while start > 0:
        with path.open("rb") as file:
            begin = max(0, start - max(TAIL, len(tail)))
            file.seek(begin)
            tail = file.read(start - begin) + tail
            start = begin
        lines = tail.splitlines(keepends=True)[1 if start else 0 :]
        if lines and not is_statement(lines[0]):
            break
    found: list[bytes] = []
    for raw in reversed(tail.splitlines(keepends=True)[1 if start else 0 :]):
        if not is_statement(raw):
            break
        found.insert(0, raw)
    return found, size - sum(map(len, found))


def _parts(path: Path, stop: int) -> Iterator[_Part]:
    """The file in pieces that end at lines' ends."""
    start, before = 0, None
    with path.open("rb") as file:
        while start < stop:
            file.seek(min(start + PART, stop))
            if file.tell() < stop:
                file.readline()
                last = file.readline() if file.tell() < stop else b""
                end = min(file.tell(), stop)
            else:
                last, end = b"", stop
            yield _Part(path, start, end, before)
            start, before = end, last


def _judge(
    verdict: Verdict, told: Told, expected: _Expected, checked: Iterable[tuple[_Part, _Found]], own_files: bool
) -> None:
    """Puts the parts together, in order, up to the first bad line; then looks for what should be there and is not."""
    lines: dict[Path, int] = {}
    ends: dict[str, tuple[Path, int, int]] = {}
    seen, latest = set[str](), (0, "")
    signed_export = not own_files and told.last is not None
    for part, found in checked:
        before = lines.get(part.path, 0)
        for segment, line in found.runs:
            if own_files and segment != part.path.stem:
                verdict.bad(part.path, before + line, f"swapped: this is segment {segment}")
            elif segment in seen or (signed_export and started(segment) < latest):
                verdict.bad(part.path, before + line, f"reordered: segment {segment} does not belong here")
            seen.add(segment)
            latest = started(segment)
        if found.bad is not None:
            verdict.bad(part.path, before + found.bad[0], found.bad[1])
        lines[part.path] = before + found.lines
        verdict.events += found.lines
        ends.update({name: (part.path, lines[part.path], sequence) for name, sequence in found.reached.items()})
        if found.torn is not None:
            torn = f"line {lines[part.path] + 1} is torn, {found.torn} bytes: a crash while it was written"
            verdict.notes.append(f"{part.path}: {torn}")
        if found.bad is not None:
            return
    _judge_ends(verdict, told, expected, ends)


def _judge_ends(verdict: Verdict, told: Told, expected: _Expected, ends: Mapping[str, tuple[Path, int, int]]) -> None:
    heads = {segment: max(points) for segment, points in told.points.items()}
    demanded = {name: (at, "a checkpoint says it had") for name, (at, _) in expected.kept.items() if MARK not in name}
    demanded |= {name: (at, "it was signed up to") for name, at in heads.items() if at > demanded.get(name, (0, ""))[0]}
    for segment, (sequence, why) in sorted(demanded.items(), key=lambda item: started(item[0])):
        path, line, last = ends.get(segment, (f"{segment}.jsonl", 0, 0))
        if last < sequence and segment not in told.dropped:
            verdict.bad(path, line + 1, f"cut: segment {segment} ends at {last}, {why} {sequence}")
    if told.last is not None:
        verdict.signed, verdict.key = told.last.at, told.last.key
    for segment, (path, line, last) in ends.items():
        more = last - heads.get(segment, 0)
        verdict.unsigned += max(0, more)
        if more > 0 and told.last is not None and told.last.action == EXPORTED:
            verdict.bad(path, line, f"added: {more} events of segment {segment} came after the export was signed")


def _judge_statements(
    verdict: Verdict, told: Told, kept: Mapping[str, tuple[int, str]], head: Head | None, where: Path
) -> None:
    """The chain of statements must be as far as its checkpoint in the event store says, and the head beside the key."""
    hashes = {statement.sequence: statement.hash for statement in told.statements}
    demanded = [("a checkpoint", *point) for name, point in kept.items() if MARK in name]
    demanded += [("the head beside the key", head.sequence, head.hash)] if head is not None else []
    for who, sequence, hash in demanded:
        if not told.statements or told.statements[-1].sequence < sequence:
            last = told.statements[-1].sequence if told.statements else 0
            verdict.bad(where, len(hashes) + 1, f"cut: signed statements end at {last}, {who} says {sequence}")
        elif hashes.get(sequence, hash) != hash:
            verdict.bad(where, list(hashes).index(sequence) + 1, f"rewritten: the hash is not that of {who}")


_given: list[_Expected] = []
"""In a process of its own: what it was told when it began."""


def _begin(expected: _Expected) -> None:
    _given.append(expected)


def _check_as_told(part: _Part) -> _Found:
    return _check(part, _given[0])


def _check(part: _Part, expected: _Expected) -> _Found:
    found = _Found()
    chain = Chain("", 0, "")
    if part.before is not None:
        try:
            line = orjson.loads(part.before)
            chain = Chain(line["segment"], line["sequence"], line["hash"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return found  # that line is bad, and in the part before
    for raw in _between(part.path, part.start, part.stop):
        if not raw.endswith(b"\n") and _torn(raw):
            found.torn = len(raw)
            return found
        try:
            reached = link(raw, chain, expected.erased)
            expected.meets(reached)
        except Bad as bad:
            found.bad = found.lines + 1, str(bad)
            return found
        found.lines += 1
        if reached.segment != chain.segment:
            found.runs.append((reached.segment, found.lines))
        found.reached[reached.segment] = reached.sequence
        chain = reached
    return found


def _between(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (raw := file.readline()):
            start += len(raw)
            yield raw


def _torn(raw: bytes) -> bool:
    """Whether the end of a file is the beginning of a line, and not a line whose newline was altered."""
    try:
        orjson.loads(raw[:-1])
    except orjson.JSONDecodeError:
        return True
    return False
