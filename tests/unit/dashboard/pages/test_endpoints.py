"""The endpoints while the event store is away: who answers is shown and can be changed, no word is good."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard.auth.sessions import Session
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.pages import endpoints
from tests.support.dashboard.plane import Plane

OPERATOR = Visit(Session("id", "Sam", Role.OPERATOR, "csrf", True), "10.0.0.1", "/endpoints", "period=24h")
STATE: dict[str, Any] = {
    "mode": "auto", "percent": 0, "reason": "", "changed_by": "", "answered_by": "upstream", "circuit": "closed",
    "circuit_reason": None, "ready": True, "ready_reason": None, "parity": None, "completeness": 1.0,
}  # fmt: skip
CUT: dict[str, Any] = {"circuit": "open", "circuit_reason": "refused"}


@pytest.fixture
def plane(plane: Plane) -> Plane:
    plane.told["/endpoints"] = [
        [
            {"id": "notes.list", "name": "GET /notes", **STATE},
            {"id": "patients.read", "name": "GET /patients/{id}", **STATE, **CUT},
            {
                "id": "patients.screen", "name": "POST /patients/{id}/screen", **STATE,
                "ready": False, "ready_reason": "only the upstream can answer this",
            },
        ]
    ]  # fmt: skip
    plane.told["/resources"] = [{}]
    return plane


def said(part: Any) -> str:
    return json.dumps(part, cls=PlotlyJSONEncoder, ensure_ascii=False)


def test_without_the_event_store_each_endpoint_can_still_be_taken_over(parts: Parts, plane: Plane) -> None:
    drawn = endpoints.drawn(parts, OPERATOR)  # nobody has made the store's tables
    assert "The event store does not answer: traffic is not known" in said(drawn["lost"])
    assert "takeover" in said(drawn["patients.read"])
    assert "HOSP refused connections" in said(drawn["patients.read"])
    for name in ("notes.list", "patients.read", "patients.screen"):
        assert "not known" in said(drawn[name])
        assert "answered" not in said(drawn[name]).replace("Who answers", "")
    assert [name for name in drawn if "." in name][0] == "patients.read", "what HOSP is not asked for comes first"
    assert drawn["rest"] is None, "nothing is called without traffic"


def test_of_what_only_the_upstream_can_do_no_takeover_is_offered(parts: Parts, plane: Plane) -> None:
    card = said(endpoints.drawn(parts, OPERATOR)["patients.screen"])
    assert "only HOSP can answer this" in card
    assert "takeover" not in card
