"""One event: what a record was before is what was recorded with the event itself, also of what was deleted."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from typing import Any

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard.auth.sessions import Session
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.pages import event
from sidecar.timeunits import SECOND
from tests.support.dashboard import seed

BEFORE = {"id": 5, "title": "Round", "body": "well"}
SENT = {"title": "Round, corrected"}


def page(parts: Parts, action: str, before: Mapping[str, Any] | None, sent: Mapping[str, Any] | None) -> str:
    parts.store.install()
    document, _ = seed.event(time.time_ns() - SECOND, random.Random(1), kind="update", user="Dr Holt")
    document["event"]["action"] = action
    ident = document["event"]["id"]
    sides = {"request": sent, "before": before}
    content = {side: {"body": {"content": json.dumps(told)}} for side, told in sides.items() if told is not None}
    body = {"@timestamp": document["@timestamp"], "event": {"id": ident}, "http": content}
    parts.store.append([document], [body] if content else [])
    visit = Visit(Session("id", "Sam", Role.AUDITOR, "csrf", True), "10.0.0.1", "/audit/event", f"event={ident}")
    return json.dumps(event.draw(parts, visit), cls=PlotlyJSONEncoder, ensure_ascii=False)


@pytest.mark.parametrize(
    ("action", "before", "sent", "told", "not_told"),
    [
        ("update", BEFORE, SENT, ["Round, corrected", "as the standby knew it"], ["not known"]),
        ("update", None, SENT, ["not known", "was not recorded"], ["What was deleted"]),
        ("delete", BEFORE, None, ["What was deleted", "well", "as the standby knew it"], ["not recorded"]),
    ],
)  # fmt: skip
def test_what_it_was_before_is_shown(
    parts: Parts, action: str, before: Any, sent: Any, told: list[str], not_told: list[str]
) -> None:
    shown = page(parts, action, before, sent)
    assert ('"Round"' in shown) is (before is not None)
    assert [each for each in told if each not in shown] == []
    assert [each for each in not_told if each in shown] == []
