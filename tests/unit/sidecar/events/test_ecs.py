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
from tests.support.gateway import FakeUpstream, InProcess
from tests.support.upstream import HOLT

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


def test_what_a_gateway_records(tmp_path: Path) -> None:
    upstream = FakeUpstream()
    upstream.state.patients[17] = {"id": 17, "name": "Rex"}
    with InProcess(tmp_path, upstream) as gateway:
        for method, target, body in (
            ("GET", "/patients/17", None), ("GET", "/notes", None),
            ("POST", "/notes", {"title": "a", "patient_id": 17}),
            ("PATCH", "/notes/1", {"title": "b"}), ("DELETE", "/notes/1", None), ("GET", "/no/such", None),
            ("POST", "/patients/17/screen", {"images": []}), ("BREW", "/", None), ("GET", "bad", None),
        ):  # fmt: skip
            gateway.ask(method, target, HOLT, body)
            gateway.ask(method, target, {}, body)
        upstream.fault = "reset"
        gateway.ask("GET", "/patients/17", HOLT)
        events = gateway.events()
    assert len(events) == 19
    assert {event["event"]["id"]: faults(event) for event in events if faults(event)} == {}
    assert {each for event in events for each in event["event"]["type"]} >= {"access", "creation", "change", "deletion"}


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
