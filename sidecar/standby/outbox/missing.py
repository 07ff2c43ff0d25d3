# pure
"""Writes that users were told are done, and of which a database that was put back has no entry. From what was recorded.

Each is lost, as far as the records go: it was accepted and never seen to reach the upstream; or it is unclear: what was
sent for it may have taken effect; or it has reached the upstream, and only the database does not know that it has.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from sidecar.contract import Action, Contract

Key = tuple[str, str]
"""A write: its request's id, and its endpoint's."""


class Fate(StrEnum):
    LOST = "lost"
    UNCLEAR = "unclear"
    REACHED = "reached"


@dataclass(frozen=True)
class Missing:
    """`record`: the id by which its user knows it, or "-" where no body was recorded; `at`: ISO 8601."""

    fate: Fate
    at: str
    endpoint: str
    record: str
    request_id: str
    user: str

    def line(self) -> str:
        return f"{self.fate}: {self.at} {self.endpoint} {self.record} {self.request_id} {self.user}"


def missing(
    recorded: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]], contract: Contract, known: Container[Key]
) -> list[Missing]:
    """In the order of time. `recorded`: events with their bodies, each at most once or more often, in any order."""
    accepted: dict[Key, tuple[Mapping[str, Any], Mapping[str, Any] | None]] = {}
    sent: dict[Key, Fate] = {}
    for event, bodies in recorded:
        if not _writes(event):
            continue
        key = str(event["http"]["request"]["id"]), str(event["understudy"]["endpoint_id"])
        if _was_accepted(event):
            accepted[key] = event, bodies if bodies is not None else accepted.get(key, (None, None))[1]
        for fate in _sent(event):
            if sent.get(key) is not Fate.REACHED:
                sent[key] = fate
    found = [
        Missing(
            sent.get(key, Fate.LOST),
            str(event["@timestamp"]),
            key[1],
            _record(contract, event, bodies),
            key[0],
            str(event.get("user", {}).get("name", "-")),
        )  # fmt: skip
        for key, (event, bodies) in accepted.items()
        if key not in known
    ]
    return sorted(found, key=lambda each: each.at)


def reached(
    recorded: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]], contract: Contract
) -> dict[Key, str]:
    """The writes that replay was seen to have done, with the ids of their records upstream ("-": not recorded)."""
    found: dict[Key, str] = {}
    for event, bodies in recorded:
        if _writes(event) and Fate.REACHED in _sent(event):
            key = str(event["http"]["request"]["id"]), str(event["understudy"]["endpoint_id"])
            if found.get(key, "-") == "-":
                found[key] = _record(contract, event, bodies)
    return found


def _writes(event: Mapping[str, Any]) -> bool:
    about = event.get("event", {}).get("action")
    return about in (Action.CREATE, Action.UPDATE, Action.DELETE) and "endpoint_id" in event.get("understudy", {})


def _status(event: Mapping[str, Any]) -> int:
    return int(event["http"].get("response", {}).get("status_code", 0))


def _was_accepted(event: Mapping[str, Any]) -> bool:
    said = event["understudy"]
    return said["purpose"] == "user" and said["answered_by"] == "standby" and 200 <= _status(event) < 300


def _sent(event: Mapping[str, Any]) -> Iterator[Fate]:
    """What the attempts of an exchange, a user's or replay's, came to."""
    said = event["understudy"]
    if said["purpose"] == "replay" and 200 <= _status(event) < 300:
        yield Fate.REACHED
    if any(attempt["outcome"] != "failure" for attempt in said["attempts"]):
        yield Fate.UNCLEAR


def _record(contract: Contract, event: Mapping[str, Any], bodies: Mapping[str, Any] | None) -> str:
    about = event["understudy"].get("resource", {})
    if "id" in about:
        return str(about["id"])
    resource = contract.resources.get(str(about.get("type")))
    try:
        answered = orjson.loads((bodies or {})["http"]["response"]["body"]["content"])
        return str(answered[resource.id_field]) if resource is not None else "-"
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return "-"
