"""Whether journals are as they were written: any line altered, reordered or removed is found, and the first is named.

Each segment's chain starts from the segment's own name, so a file may hold one segment or, exported, many. A torn last
line (a crash while it was written) is noted, and no failure. A tail cut off at a line's end leaves a perfect chain:
only checkpoints, kept elsewhere, tell. A missing body is no failure (it may have been erased); a changed one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.record.segment import chained, first_previous

_KEYS: Final = {"segment", "sequence", "previous", "hash", "event", "bodies"}
Place = dict[str, str | int]


@dataclass
class Verdict:
    """`first_bad`: {"file", "line" (from 1), "why"}. `notes` are worth reading and no failures."""

    ok: bool = True
    events: int = 0
    first_bad: Place | None = None
    notes: list[str] = field(default_factory=list)

    def bad(self, file: Path | str, line: int, why: str) -> None:
        if self.ok:
            self.ok, self.first_bad = False, {"file": str(file), "line": line, "why": why}

    def as_json(self) -> dict[str, Any]:
        """What `audit verify --format json` prints."""
        return {"ok": self.ok, "events": self.events, "first_bad": self.first_bad}


@dataclass
class _Chain:
    """How far one segment has been followed in one file, and whether its checkpoint was met."""

    sequence: int
    hash: str


class _Bad(Exception):
    """Why a line is bad."""


def verify(paths: Iterable[Path], checkpoints: Mapping[str, tuple[int, str]] | None = None) -> Verdict:
    """Follows every chain in the files. `checkpoints`: segment → (sequence, hash) that must be there.

    Events are counted up to the first bad line. Raises OSError for a file that cannot be read.
    """
    verdict, met = Verdict(), set[str]()
    wanted = {segment.removesuffix(".jsonl"): reached for segment, reached in (checkpoints or {}).items()}
    ends: dict[str, tuple[Path, int, int]] = {}
    for path in paths:
        if verdict.ok:
            _follow(path, verdict, wanted, met, ends)
    for segment, (sequence, _) in wanted.items():
        if verdict.ok and segment not in met:
            file, line, last = ends.get(segment, (f"{segment}.jsonl", 0, 0))
            verdict.bad(file, line + 1, f"cut: segment {segment} ends at {last}, a checkpoint says it had {sequence}")
    return verdict


def export(paths: Iterable[Path]) -> Iterator[bytes]:
    """Every whole line of the journals, byte for byte. `verify` takes them as one file."""
    for path in paths:
        with path.open("rb") as file:
            yield from (raw for raw in file if raw.endswith(b"\n"))


def _follow(
    path: Path,
    verdict: Verdict,
    wanted: Mapping[str, tuple[int, str]],
    met: set[str],
    ends: dict[str, tuple[Path, int, int]],
) -> None:
    chains: dict[str, _Chain] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n") and _torn(raw):
                verdict.notes.append(f"{path}: line {number} is torn, {len(raw)} bytes: a crash while it was written")
                return
            try:
                segment, chain = _link(raw, chains)
                _meets(segment, chain, wanted, met)
            except _Bad as bad:
                verdict.bad(path, number, str(bad))
                return
            ends[segment] = (path, number, chain.sequence)
            verdict.events += 1


def _torn(raw: bytes) -> bool:
    """Whether the end of a file is the beginning of a line, and not a line whose newline was altered."""
    return not _is_json(raw[:-1])


def _is_json(raw: bytes) -> bool:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _meets(segment: str, chain: _Chain, wanted: Mapping[str, tuple[int, str]], met: set[str]) -> None:
    sequence, expected = wanted.get(segment, (0, ""))
    if chain.sequence == sequence:
        if chain.hash != expected:
            raise _Bad("rewritten: the hash is not the checkpoint's")
        met.add(segment)


def _link(raw: bytes, chains: dict[str, _Chain]) -> tuple[str, _Chain]:
    """Checks a line against its chain, which it then extends."""
    line = _parsed(raw)
    segment = line["segment"]
    chain = chains.setdefault(segment, _Chain(0, first_previous(segment)))
    if line["sequence"] != chain.sequence + 1:
        raise _Bad(f"removed or reordered: sequence {line['sequence']} where {chain.sequence + 1} belongs")
    if line["previous"] != chain.hash:
        raise _Bad("altered: it does not continue the line before")
    event = line["event"]
    about = dict(event["event"])
    if about.pop("hash", None) != line["hash"] or about.get("sequence") != line["sequence"]:
        raise _Bad("altered: the event's sequence or hash is not the line's")
    if chained(chain.hash, {**event, "event": about}) != line["hash"]:
        raise _Bad("altered: the event does not have its hash")
    if line["bodies"] is not None:
        _check_bodies(event, line["bodies"])
    chain.sequence, chain.hash = line["sequence"], line["hash"]
    return segment, chain


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _Bad("altered: not JSON") from None
    if not isinstance(line, dict) or set(line) != _KEYS:
        raise _Bad("altered: not a line of a journal")
    if orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) != raw:
        raise _Bad("altered: not written as the journal writes it")
    event = line["event"]
    if not isinstance(line["segment"], str) or not isinstance(event, dict) or not isinstance(event.get("event"), dict):
        raise _Bad("altered: not a line of a journal")
    return line


def _check_bodies(event: dict[str, Any], bodies: Any) -> None:
    digests = event.get("understudy", {}).get("body", {})
    expected = {
        "@timestamp": event.get("@timestamp"),
        "event": {"id": event["event"].get("id")},
        "understudy": {"endpoint": event.get("understudy", {}).get("endpoint")},
        "http": bodies.get("http") if isinstance(bodies, dict) else None,
    }
    if bodies != expected or not isinstance(expected["http"], dict):
        raise _Bad("altered: the bodies are not this event's")
    for side, message in expected["http"].items():
        body = message.get("body") if isinstance(message, dict) else None
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, str) or message != {"body": {"content": content}}:
            raise _Bad("altered: the bodies are not this event's")
        if sha256(content.encode()).hexdigest() != digests.get(side):
            raise _Bad(f"altered: the {side} body does not have its digest")
