"""Every event that the sidecar makes has only what ECS allows for its category."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import orjson
import pytest

from sidecar.events import audit_entries, trail
from sidecar.events.document import to_event
from sidecar.exchange import AnsweredBy, Exchange, Outcome, Purpose
from sidecar.http.messages import Request, Response
from sidecar.settings import PREFIX, load_settings
from tests.support.ecs import faults

ACTIONS = ("list", "read", "create", "update", "delete", "call", "other")
STARTED = 1_773_144_000_123_456_789


@pytest.mark.parametrize("action", ACTIONS)
def test_an_exchange(action: str) -> None:
    cases = product(Outcome, AnsweredBy, Purpose, ("allow", "report", "deny"), (None, "client_aborted"), (True, False))
    for outcome, by, purpose, verdict, reason, answered in cases:
        exchange = Exchange(
            id="0199-e", started=STARTED, ended=STARTED + 5, request=Request("GET", "/notes/7?a=1", [], b"x"),
            request_id="r", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", action=action,
            user="Dr Holt", outcome=outcome, answered_by=by, purpose=purpose, verdict=verdict, reason=reason,
            response=Response(200, [], b"{}") if answered else None,
        )  # fmt: skip
        event, _ = to_event(exchange, node="one", contract_secrets=frozenset(), body_cap=100)
        assert faults(event) == []
        assert faults(trail.condensed(event)) == []
        assert ("denied" in event["event"]["type"]) == (verdict == "deny")


def test_a_deed(tmp_path: Path) -> None:
    settings = load_settings({f"{PREFIX}DATA": str(tmp_path), f"{PREFIX}NODE": "one"})
    (tmp_path / "journal").mkdir()
    audit_entries.record(settings, "hold", "Ms Pell", "a complaint", user="Dr Holt", patient="3", about={"hold": "h"})
    (segment,) = (tmp_path / "journal").glob("*.jsonl")
    (event,) = [orjson.loads(line)["event"] for line in segment.read_bytes().splitlines()]
    assert faults(event) == []


def test_what_ecs_does_not_allow_is_named() -> None:
    event = {"ecs": {"version": "8.17.0"}, "event": {"kind": "event", "category": ["web"], "type": ["creation"]}}
    assert faults(event) == ["web: creation"]
    assert faults({"event": {"kind": "word", "outcome": "odd"}, "body": 1}) == [
        "ecs.version", "event.kind: word", "event.outcome: odd", "event.category and event.type: lists",
    ]  # fmt: skip
