"""The control plane over a real socket: what it shows, what it refuses, and the client's one-line errors."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from werkzeug.serving import make_server

from sidecar.access.break_glass import BreakGlass
from sidecar.access.policy_store import Rulebook
from sidecar.contract import Contract
from sidecar.control.app import create_control
from sidecar.control.client import Control, ControlError
from sidecar.control.services import ControlServices
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.server.phase import Phase
from sidecar.settings import Settings
from sidecar.standby.outbox.entries import Outbox
from sidecar.standby.outbox.entries import outbox as entries
from sidecar.standby.outbox.review import Desk
from sidecar.standby.outbox.sealing import Seal
from sidecar.standby.promotion import Promotion
from sidecar.storage.database import open_engine
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Mode
from tests.support.tables import lay

TOKEN = "t0ken"


PARKED = {
    "id": "w1", "endpoint": "notes.update", "type": "notes", "action": "update", "record": "5", "user": "Dr Holt",
    "method": "PATCH", "target": "/notes/5", "request_id": "r1", "fields": '{"title": "Night"}', "whole": True,
    "state": "parked", "sent": True, "attempts": 3, "reason": "conflict", "proposal": "retry", "accepted_at": 1,
    "due": 1, "token": 0,
}  # fmt: skip


class FakeStandby:
    """Knows notes, and nothing else."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def completeness(self) -> Mapping[str, Any]:
        whole = {"complete": True, "verified": True, "in_doubt": 0}
        return {
            "notes": {"ratio": 0.5, **whole, "in_doubt": 3},
            "patients": {"ratio": None, **whole, "complete": False},
            "staffs": {"ratio": 1.0, **whole},
        }

    def evidence(self) -> Mapping[str, Any]:
        return {}

    def ready(self, endpoint_id: str) -> tuple[bool, str]:
        return (True, "complete") if endpoint_id == "notes.list" else (False, "nothing is known")

    def unproven(self, endpoint_id: str) -> str | None:
        return "item is unproven" if endpoint_id == "patients.read" else None

    def revoke(self, user: str) -> None:
        self.revoked.add(user)

    def restore(self, user: str) -> None:
        self.revoked.discard(user)


class FakeParity:
    def ratio(self, endpoint: str) -> float | None:
        return 0.99 if endpoint == "notes.list" else None

    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def sampled(self) -> Mapping[str, Any]:
        return {}


class Plane:
    def __init__(self, data: Path, token: str | None) -> None:
        self.engine = open_engine(Settings(data=data))
        lay(self.engine)
        contract = Contract.load("hosp")
        self.switchboard, self.standby = Switchboard(self.engine, contract.endpoints, "control"), FakeStandby()
        self.switchboard.tick()
        self.started = 0
        outbox = Outbox(contract, self.engine, data / "outbox.version")
        promotion = Promotion(
            contract, self.engine, outbox, self.standby.completeness, FakeParity().ratio, self.standby.unproven,
            least_parity=0.99,
        )  # fmt: skip
        with self.engine.begin() as connection:
            connection.execute(insert(entries).values(PARKED))
        settings = Settings(data=data, control_token=token)
        app = create_control(
            ControlServices(
                settings=settings, contract=contract, engine=self.engine, standby=self.standby,
                switchboard=self.switchboard, parity=FakeParity(),
                desk=Desk(self.engine, outbox, lambda: Seal(data / "seal-key")),
                promotion=promotion, policies=Rulebook([], self.engine, brake=True),
                break_glass=BreakGlass(self.engine),
                open_store=lambda: EmbeddedStore(data / "events.db"), phase=lambda: Phase.SERVING,
                shipper=lambda: {"unshipped": 7}, start_backfill=self.start,
                backfill=lambda: {"running": True},
            )
        )  # fmt: skip
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.settings = Settings(control_listen=("127.0.0.1", self.server.server_port), control_token=token)
        self.control = Control(self.settings)

    def start(self) -> None:
        self.started += 1

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=5)
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}"} | headers)
        answer = connection.getresponse()
        kind, text = answer.headers["Content-Type"], answer.read()
        connection.close()
        return answer.status, kind, json.loads(text) if "json" in kind else text.decode()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.engine.dispose()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    (tmp_path / "metrics").mkdir()  # of its own: every *.db in there is read as a process's counts
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    plane = Plane(tmp_path, TOKEN)
    yield plane
    plane.close()


def test_health_and_readiness(plane: Plane) -> None:
    assert plane.ask("GET", "/healthz")[0] == 200
    assert plane.ask("GET", "/readyz")[0] == 200
    assert plane.ask("GET", "/ready/notes.list")[0] == 200
    status, kind, body = plane.ask("GET", "/ready/patients.list")
    assert (status, kind, body["detail"]) == (503, "application/problem+json", "nothing is known")
    assert plane.ask("GET", "/ready/nothing")[0] == 404


def test_takeover_route_and_handback(plane: Plane) -> None:
    row = plane.control.post("/endpoints/notes.list/takeover", {"reason": "maintenance"})
    assert (row["mode"], row["answered_by"], row["reason"]) == ("standby", "standby", "maintenance")
    assert row["parity"] == 0.99
    assert plane.switchboard.state("notes.list").mode is Mode.STANDBY
    assert plane.control.post("/endpoints/notes.list/route", {"percent": 12.5})["percent"] == 12.5
    assert plane.control.post("/endpoints/notes.list/handback")["answered_by"] == "upstream"
    rows = {row["id"]: row for row in plane.control.get("/endpoints")}
    assert (rows["notes.list"]["completeness"], rows["patients.list"]["completeness"]) == (0.5, None)
    assert (rows["notes.list"]["ready"], rows["patients.list"]["ready_reason"]) == (True, "nothing is known")
    assert [made["after"] for made in plane.control.get("/transitions")] == ["auto", "percent", "standby"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/endpoints/notes.list/route", b'{"percent": 101}', "percent"),
        ("/endpoints/notes.list/route", b'{"percent": true}', "percent"),
        ("/endpoints/notes.list/route", b'{"percent": NaN}', "percent"),
        ("/endpoints/notes.list/route", b"{}", "percent"),
        ("/endpoints/notes.list/takeover", b'{"reason": 1}', "reason"),
        ("/revocations", b'{"user": "ann", "revoked": "yes"}', "revoked"),
        ("/revocations", b"{}", "user"),
        ("/marks", b'{"text": " "}', "text"),
        ("/marks", b"[1]", None),
        ("/marks", b"{", None),
    ],
)
def test_bad_input_names_the_field(plane: Plane, path: str, body: bytes, field: str | None) -> None:
    status, kind, told = plane.ask("POST", path, body)
    assert (status, kind, told.get("field")) == (400, "application/problem+json", field)


def test_actions_need_the_token(plane: Plane) -> None:
    for header in ("", "Bearer wrong", f"Basic {TOKEN}", "Bearer t\xf6ken"):
        status, _, body = plane.ask("POST", "/endpoints/notes.list/takeover", Authorization=header)
        assert status == 401
        assert TOKEN not in json.dumps(body)
    assert plane.switchboard.state("notes.list").mode is Mode.AUTO


def test_without_a_token_actions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metrics").mkdir()  # of its own: every *.db in there is read as a process's counts
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    plane = Plane(tmp_path, None)
    try:
        status, _, body = plane.ask("POST", "/marks", b'{"text": "x"}', Authorization="Bearer ")
        assert status == 403
        assert "UNDERSTUDY_CONTROL_TOKEN" in body["detail"]
    finally:
        plane.close()


def test_the_rest(plane: Plane) -> None:
    plane.control.post("/revocations", {"user": "ann", "revoked": True})
    assert plane.standby.revoked == {"ann"}
    plane.control.post("/revocations", {"user": "ann", "revoked": False})
    assert plane.standby.revoked == set()
    plane.control.post("/marks", {"text": "release 7"})
    assert [mark["text"] for mark in plane.control.get("/marks")] == ["release 7"]
    assert plane.ask("POST", "/backfill")[0] == 202
    assert plane.started == 1
    assert plane.control.get("/backfill") == {"running": True}
    told = plane.control.get("/outbox")
    assert (told["pending"], [entry["id"] for entry in told["parked"]]) == (0, ["w1"])
    assert told["node"], "of several sidecars on one machine, whose it is"
    assert plane.control.get("/outbox/w1")["payload"] == {"title": "Night"}
    assert plane.ask("GET", "/outbox/w2")[0] == 404
    assert plane.control.post("/outbox/w1/retry")["state"] == "unclear"
    assert plane.ask("POST", "/outbox/w1/discard", b'{"reason": "twice"}')[0] == 409  # it is no longer parked
    assert plane.control.get("/standby")["resources"]["notes"]["ratio"] == 0.5
    assert plane.control.get("/parity")["endpoints"]["notes.list"]["ratio"] == 0.99
    status, _, why = plane.ask("POST", "/resources/notes/promote")
    assert (status, "3 notes are in doubt" in why["detail"]) == (409, True)
    assert plane.control.post("/resources/notes/promote", {"force": True})["overruled"] == ["3 notes are in doubt"]
    assert plane.control.get("/resources")["notes"]["owner"] == "standby"
    assert plane.control.post("/resources/staffs/promote")["overruled"] == []
    owned = {row["id"] for row in plane.control.get("/endpoints") if row["owned"]}
    assert "staffs.list" in owned, "the upstream is not asked about it any more"
    assert not owned & {"patients.list", "patients.screen"}
    status, _, why = plane.ask("POST", "/resources/patients/promote")
    assert (status, "what patients.read answers is not proven: item is unproven" in str(why)) == (409, True), why
    assert plane.control.post("/resources/notes/demote")["owner"] == "upstream"
    assert plane.ask("POST", "/resources/mice/promote")[0] == 404
    assert plane.ask("DELETE", "/marks")[0] == 405


def test_metrics_show_shared_state_and_leave_out_the_unknown(plane: Plane) -> None:
    plane.switchboard.takeover("notes.list", "ops")
    status, kind, text = plane.ask("GET", "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert 'understudy_circuit_state{endpoint="GET /notes"} 0.0' in text
    assert 'understudy_standby_completeness_ratio{resource="notes"} 0.5' in text
    assert "understudy_journal_unshipped_events 7.0" in text
    assert 'resource="patients"' not in text


def test_the_clients_errors_are_one_line(plane: Plane) -> None:
    with pytest.raises(ControlError, match=r"^hosp has no endpoint 'x'$|no endpoint 'x'"):
        plane.control.post("/endpoints/x/takeover")
    with pytest.raises(ControlError, match="CONTROL_TOKEN is not set"):
        Control(Settings()).post("/marks", {"text": "x"})
    listener = make_server("127.0.0.1", 0, lambda *_: [])
    port = listener.server_port
    listener.server_close()
    with pytest.raises(ControlError) as caught:
        Control(Settings(control_listen=("127.0.0.1", port))).get("/endpoints")
    assert str(caught.value) == f"the sidecar's control plane does not answer at 127.0.0.1:{port} (is it running?)"


def test_what_shows_records_needs_the_token_also_to_be_read(plane: Plane) -> None:
    for path in ("/outbox", "/outbox/w1", "/parity", "/break-glass", "/policies"):
        assert plane.ask("GET", path, Authorization="")[0] == 401
        assert plane.ask("GET", path)[0] == 200
    assert plane.ask("GET", "/policies/report", Authorization="")[0] == 401
    assert plane.ask("GET", "/endpoints", Authorization="")[0] == 200


def test_nothing_is_told_under_a_strangers_name(plane: Plane) -> None:
    """A page at evil.example, whose name was made to resolve to us (DNS rebinding)."""
    for path in ("/outbox", "/endpoints", "/marks", "/standby"):
        assert plane.ask("GET", path, Host="evil.example:8081")[0] == 421
        assert plane.ask("GET", path, Host="sidecar:8081")[0] == 200
    assert plane.ask("POST", "/revocations", b'{"user": "Dr Holt"}', Host="evil.example")[0] == 421
    assert plane.ask("GET", "/healthz", Host="hosp.example.org")[0] == 200
