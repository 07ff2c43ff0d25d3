"""What the page of the replacement says first is as good as it looks: green only where every check passes."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.auth.sessions import Session
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.pages.replacement import PATH, drawn
from dashboard.values.tones import GOOD, WARN
from tests.support.dashboard.plane import Plane

OPERATOR = Visit(Session("id", "Sam", Role.OPERATOR, "csrf", True), "10.0.0.1", PATH)
FIT: dict[str, Any] = {
    "complete": True, "verified": True, "private": False, "in_doubt": 0, "parked": 0, "pending": 0,
    "owner": "upstream", "doubts": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "screening", "tone"),
    [
        ({}, "ready", GOOD),
        ({"parked": 1, "doubts": ["x"]}, "ready", WARN),
        ({"private": True}, "ready", WARN),  # it may be promoted, though not every check passes
        ({"pending": 1}, "ready", WARN),
        ({"doubts": ["x"]}, "ready", WARN),  # every check passes, and yet the sidecar has doubts
        ({"owner": "standby"}, "ready", GOOD),
        ({"owner": "standby"}, "only the upstream can answer this", WARN),
    ],
)
def test_the_tone_is_good_only_where_nothing_is_missing(
    parts: Parts, plane: Plane, row: dict[str, Any], screening: str, tone: str
) -> None:
    plane.told["/resources"] = [{"notes": {**FIT, **row}}]
    plane.told["/evidence"] = [{"endpoints": {}}]
    plane.told["/endpoints"] = [[{"name": "POST /patients/{id}/screen", "ready_reason": screening}]]
    assert drawn(parts, OPERATOR)["answer"].className == f"notice {tone}"
