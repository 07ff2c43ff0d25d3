"""Acknowledged writes of which a database has no entry, told from what was recorded."""

from __future__ import annotations

from typing import Any

from sidecar.contract import Contract
from sidecar.standby.outbox.missing import Fate, missing, reached

HOSP = Contract.load("hosp")


def event(request: str, purpose: str = "user", by: str = "standby", status: int = 201, **more: Any) -> dict[str, Any]:
    """One of a create; `tries` are the outcomes of its attempts."""
    tries = more.pop("tries", ())
    return {
        "@timestamp": f"2026-11-27T10:00:0{request[-1]}Z",
        "event": {"id": f"{request}-{purpose}", "action": more.get("action", "create")},
        "http": {"request": {"id": request}, "response": {"status_code": status}},
        "user": {"name": "Dr Holt"},
        "understudy": {
            "endpoint_id": "notes.create", "purpose": purpose, "answered_by": by, "resource": {"type": "notes"},
            "attempts": [{"outcome": outcome} for outcome in tries],
        },
    }  # fmt: skip


BODIES = {"http": {"response": {"body": {"content": '{"id": 2000000007}'}}}}


def fates(recorded: list[dict[str, Any]], known: set[tuple[str, str]] = frozenset()) -> dict[str, Fate]:  # type: ignore[assignment]
    return {each.request_id: each.fate for each in missing([(one, None) for one in recorded], HOSP, known)}


def test_what_was_accepted_and_never_sent_is_lost() -> None:
    (found,) = missing([(event("r1"), BODIES), (event("r1"), None)], HOSP, set())
    assert found.line() == "lost: 2026-11-27T10:00:01Z notes.create 2000000007 r1 Dr Holt"
    (found,) = missing([(event("r1"), None)], HOSP, set())
    assert found.record == "-"


def test_an_entry_that_is_there_is_not_missing() -> None:
    assert fates([event("r1"), event("r2")], {("r1", "notes.create"), ("r2", "notes.update")}) == {"r2": Fate.LOST}


def test_what_reached_the_upstream_is_told_from_what_may_have() -> None:
    recorded = [
        event("r1"), event("r1", "replay", "upstream", tries=["success"]),
        event("r2", tries=["unknown"]),
        event("r3"), event("r3", "replay", "upstream", 500, tries=["unknown"]),
        event("r4"), event("r4", "replay", "upstream", 0, tries=["failure"]),
        event("r5"), event("r5", "replay", "upstream", tries=["success"]),
        event("r5", "replay", "upstream", 500, tries=["unknown"]),
    ]  # fmt: skip
    expected = {"r1": Fate.REACHED, "r2": Fate.UNCLEAR, "r3": Fate.UNCLEAR, "r4": Fate.LOST, "r5": Fate.REACHED}
    assert fates(recorded) == fates(recorded[::-1]) == expected


def test_what_the_upstream_answered_was_refused_or_was_only_read_is_nobodys_loss() -> None:
    others = [event("r1", by="upstream"), event("r2", status=503, by="understudy"), event("r3", action="list")]
    assert fates([*others, event("r4", status=404)]) == {}


def test_of_what_was_replayed_the_ids_upstream_are_told_where_they_were_recorded() -> None:
    answered = {"http": {"response": {"body": {"content": '{"id": 11}'}}}}
    recorded = [
        (event("r1", "replay", "upstream"), answered), (event("r1", "replay", "upstream"), None),
        (event("r2", "replay", "upstream"), None), (event("r3", "replay", "upstream", 500, tries=["unknown"]), None),
        (event("r4"), BODIES),
    ]  # fmt: skip
    expected = {("r1", "notes.create"): "11", ("r2", "notes.create"): "-"}
    assert reached(recorded, HOSP) == reached(recorded[::-1], HOSP) == expected
