"""The dashboard's application, its clock set by hand: what a page that renews itself, or a download, may not do."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from dashboard.app import create_app
from dashboard.auth.users import Role
from dashboard.pages.overview import PARTS
from dashboard.values.filters import View
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import load_settings
from sidecar.timeunits import MINUTE, SECOND
from tests.support.dashboard import seed
from tests.support.dashboard.alarms import Clock
from tests.support.dashboard.serving import PASSWORD, alone
from tests.support.stack import until

TICK = {"id": {"tick": "overview"}, "property": "n_intervals", "value": 1}


class Signed:
    """A signed-in auditor before a dashboard whose sidecar is away."""

    def __init__(self, data: Path, clock: Clock) -> None:
        settings = load_settings(alone(data))
        self.server = create_app(settings, clock)
        parts = self.server.extensions["understudy"][0]
        parts.users.add("auditor", Role.AUDITOR, PASSWORD)
        self.client: FlaskClient = self.server.test_client()
        assert self.client.post("/login", data={"name": "auditor", "password": PASSWORD}).status_code == 303
        cookie = self.client.get_cookie("_csrf_token")
        assert cookie is not None
        self.token = cookie.value

    def renewed(self, by: str = '{"tick":"overview"}.n_intervals') -> Any:
        """The overview's parts, as its open page asks for them. `by`: what it says has changed."""
        idents = [{"live": "overview", "part": name} for name in PARTS]
        body = {
            "output": '{"live":"overview","part":["ALL"]}.children',
            "outputs": [{"id": each, "property": "children"} for each in idents],
            "inputs": [TICK, {"id": "done", "property": "data"}],
            "state": [
                [{"id": each, "property": "children", "value": None} for each in idents],
                [{"id": each, "property": "id", "value": each} for each in idents],
                {"id": "url", "property": "search", "value": "?period=1h"},
            ],
            "changedPropIds": [by],
        }
        return self.client.post("/_dash-update-component", json=body, headers={"X-CSRFToken": self.token})


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time_ns())


@pytest.fixture
def signed(tmp_path: Path, clock: Clock) -> Signed:
    data = tmp_path / "data"
    store, dice = EmbeddedStore(data / "events.db"), random.Random(1)
    store.install()
    given = {"kind": "patient", "answered_by": "upstream", "outcome": "success", "status": 200}
    store.append([seed.event(clock.now - n * SECOND, dice, **given)[0] for n in range(1, 120)])
    store.close()
    return Signed(data, clock)


def test_a_session_that_nobody_uses_ends_though_its_page_renews_itself(signed: Signed, clock: Clock) -> None:
    for _ in range(29):
        clock.now += MINUTE
        assert signed.renewed().status_code == 200
        assert signed.client.get("/session").status_code == 200
    clock.now += 2 * MINUTE
    assert signed.renewed().status_code == 401
    assert signed.client.get("/session").status_code == 401
    assert signed.client.get("/").status_code == 302


def test_a_session_that_somebody_uses_goes_on(signed: Signed, clock: Clock) -> None:
    for _ in range(4):
        clock.now += 20 * MINUTE
        assert signed.renewed("done.data").status_code == 200
    assert signed.client.get("/").status_code == 200


def test_the_open_overview_calls_nothing_fine_once_the_sidecar_died(signed: Signed) -> None:
    """Every request of the last two minutes was answered, and now the control plane is gone."""

    def told() -> str:
        answer = signed.renewed().get_data(as_text=True)
        return answer if "of 119 requests" in answer or "Unknown" in answer else ""

    said: str = until(told, 30, "figures")
    assert "Unknown: the sidecar does not answer" in said
    assert "notice bad" in said
    assert "notice good" not in said


def test_no_table_of_altered_evidence_is_handed_out_and_the_trail_says_so(signed: Signed) -> None:
    parts = signed.server.extensions["understudy"][0]
    pack = parts.packs.make("auditor", View(), "A title", "")
    address = f"/audit/evidence/file?id={pack.id}&form="
    assert signed.client.get(f"{address}csv").status_code == 200
    with parts.engine.begin() as connection:
        connection.execute(text("UPDATE dashboard_packs SET content = replace(content, 'A title', 'Another')"))
    refused = signed.client.get(f"{address}csv&part=manifest")
    assert refused.status_code == 409
    assert "altered: it does not have the manifest" in refused.get_data(as_text=True)
    last = parts.trail.latest()[0]
    assert (last.action, last.outcome[:17]) == ("download", "refused: evidence")
    assert signed.client.get(f"{address}jsonl").status_code == 200, "as it stands, to be examined"
