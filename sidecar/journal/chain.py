"""One line of a journal held against the line before it. Pure, and fast: an audit checks millions."""

from __future__ import annotations

from collections.abc import Container, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from sidecar.journal.segment import chained, first_previous

KEYS: Final = ["segment", "sequence", "previous", "hash", "event", "bodies"]
"""What a line says, and nothing else: no hash covers more."""
Erased = Mapping[str, Container[int]]
"""Segment → the sequences of lines whose bodies may be missing, since a signed statement says that they were erased."""
NOTHING: Final[Erased] = {}


class Chain(NamedTuple):
    """How far one segment has been followed."""

    segment: str
    sequence: int
    hash: str


class Bad(Exception):
    """Why a line is bad."""


def link(raw: bytes, chain: Chain, erased: Erased = NOTHING) -> Chain:
    """The chain with this line, which continues it or begins another segment's. Raises Bad."""
    line = _parsed(raw, erased)
    segment, sequence, event = line["segment"], line["sequence"], line["event"]
    if segment != chain.segment:
        chain = Chain(segment, 0, first_previous(segment))
    if sequence != chain.sequence + 1:
        raise Bad(f"removed or reordered: sequence {sequence} where {chain.sequence + 1} belongs")
    if line["previous"] != chain.hash:
        raise Bad("altered: it does not continue the line before")
    about = dict(event["event"])
    if about.pop("hash", None) != line["hash"] or about.get("sequence") != sequence:
        raise Bad("altered: the event's sequence or hash is not the line's")
    if chained(chain.hash, {**event, "event": about}) != line["hash"]:
        raise Bad("altered: the event does not have its hash")
    _check_bodies(event, line["bodies"], sequence in erased.get(segment, ()))
    return Chain(segment, sequence, line["hash"])


def _parsed(raw: bytes, erased: Erased) -> dict[str, Any]:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Bad("altered: not JSON") from None
    if not isinstance(line, dict) or list(line) != KEYS:
        raise Bad("altered: not a line of a journal")
    event = line["event"]
    sound = type(line["segment"]) is str and type(line["sequence"]) is int
    if not sound or not isinstance(event, dict) or not isinstance(event.get("event"), dict):
        raise Bad("altered: not a line of a journal")
    if orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) != raw:
        blank = line["bodies"] is None and line["sequence"] in erased.get(line["segment"], ())
        if not blank or blanked(line, len(raw)) != raw:
            raise Bad("altered: not written as the journal writes it")
    return line


def blanked(line: dict[str, Any], length: int) -> bytes:
    """The line without its bodies, as long as it was: spaces take their place, so that no other line moves."""
    return orjson.dumps({**line, "bodies": None}).ljust(length - 1) + b"\n"


def _check_bodies(event: dict[str, Any], bodies: Any, erased: bool) -> None:
    said = event.get("understudy")
    digests = said.get("body", {}) if isinstance(said, dict) else {}
    if bodies is None:
        if digests and not erased:
            raise Bad("removed: its bodies are gone, and no signed statement says that they were erased")
        return
    http = bodies.get("http") if isinstance(bodies, dict) else None
    expected = {
        "@timestamp": event.get("@timestamp"),
        "event": {"id": event["event"].get("id")},
        "understudy": {"endpoint": said.get("endpoint") if isinstance(said, dict) else None},
        "http": http,
    }
    if (
        bodies != expected
        or not isinstance(http, dict)
        or not isinstance(digests, dict)
        or http.keys() != digests.keys()
    ):
        raise Bad("altered: the bodies are not this event's")
    for side, message in http.items():
        body = message.get("body") if isinstance(message, dict) else None
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, str) or message != {"body": {"content": content}}:
            raise Bad("altered: the bodies are not this event's")
        if sha256(content.encode()).hexdigest() != digests[side]:
            raise Bad(f"altered: the {side} body does not have its digest")
