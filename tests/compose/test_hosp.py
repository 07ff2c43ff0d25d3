"""The simulator answers as HOSP is known to, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from compose import traffic
from compose.hosp import control
from compose.hosp.data import generate
from compose.hosp.profiles import PROFILES
from compose.hosp.server import Simulator
from tests.stack import Got, ask, until
from tests.upstream import basic


@pytest.fixture
def hosp() -> Iterator[Simulator]:
    with Simulator("calm", seed=7, time_scale=0.01) as simulator:
        yield simulator


def call(hosp: Simulator, method: str, target: str, body: Any = None, accept: str = "application/json") -> Got:
    return ask(hosp.port, method, target, {"Authorization": basic(*hosp.users[0]), "Accept": accept}, body)


def test_the_api_as_it_is_known(hosp: Simulator) -> None:
    assert b"Server is online." in ask(hosp.port, "GET", "/").body
    for kind in ("hospitals", "staffs", "patients", "notes"):
        rows = call(hosp, "GET", f"/{kind}").json()
        ids = [row["id"] for row in rows]
        assert ids == sorted(ids, reverse=True)
        assert call(hosp, "GET", f"/{kind}/{ids[0]}.json").json() == rows[0]
        assert rows[0]["url"] == f"http://127.0.0.1:{hosp.port}/{kind}/{ids[0]}.json"
        assert "password" not in json.dumps(rows)
    assert call(hosp, "GET", "/staffs/me").json()["name"] == hosp.users[0][0]
    notes = call(hosp, "GET", "/notes?patient_id=17").json()
    assert {note["patient_id"] for note in notes} <= {17}
    made = call(hosp, "POST", "/notes", {"title": "T", "body": "B", "patient_id": 17, "staff_id": 2})
    assert made.status == 201
    path = f"/notes/{made.json()['id']}"
    assert call(hosp, "PATCH", path, {"title": "U"}).json()["title"] == "U"
    assert call(hosp, "DELETE", path).status == 204
    assert call(hosp, "GET", path).status == 404
    assert [entry["method"] for entry in control.applied(hosp.control_url)] == ["POST", "PATCH", "DELETE"]


def test_screening_is_pure_and_follows_the_images(hosp: Simulator) -> None:
    body = {"images": ["AAA", "BBB", "AAA"]}
    first, second = (call(hosp, "POST", "/patients/1/screen", body).json() for _ in range(2))
    assert first == second
    assert len(first["results"]) == 3
    assert first["results"][0] == first["results"][2]


def test_errors_are_rails_own(hosp: Simulator) -> None:
    assert ask(hosp.port, "GET", "/notes").status == 401
    stray = call(hosp, "GET", "/wp-login.php")
    assert (stray.status, stray.json()) == (500, {"status": 500, "error": "Internal Server Error"})
    page = call(hosp, "GET", "/wp-login.php", accept="text/html")
    assert page["Content-Type"].startswith("text/html")
    assert 1500 < len(page.body) < 2200
    assert call(hosp, "POST", "/notes", {"patient_id": 99_999}).status == 422
    assert call(hosp, "POST", "/notes", b"{").status == 400


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("status500", 0), ("applied_500", 1), ("reset", 0), ("applied_reset", 1)],
)
def test_scripted_faults_of_writes(hosp: Simulator, kind: str, applied: int) -> None:
    hosp.fault(kind, "/notes", "POST")
    if kind.endswith("reset"):
        with pytest.raises(OSError):
            call(hosp, "POST", "/notes", {"title": "x"})
    else:
        assert call(hosp, "POST", "/notes", {"title": "x"}).status == 500
    assert len(hosp.hosp.applied) == applied
    assert call(hosp, "POST", "/notes", {"title": "x"}).status == 201


def test_a_200_can_lie(hosp: Simulator) -> None:
    hosp.fault("invalid_json", "/patients")
    got = call(hosp, "GET", "/patients/1")
    assert got.status == 200
    with pytest.raises(json.JSONDecodeError):
        got.json()


def test_outage_refuses_and_ends(hosp: Simulator) -> None:
    control.set_profile(hosp.control_url, "outage")
    with pytest.raises(ConnectionRefusedError):
        call(hosp, "GET", "/notes")
    control.set_profile(hosp.control_url, "calm")
    assert call(hosp, "GET", "/hospitals").status == 200


def test_the_seed_makes_the_records() -> None:
    assert generate(3) == generate(3)
    assert generate(3) != generate(4)
    assert [len(table) for table in generate(3).tables.values()] == [6, 30, 400, 2000]


def test_an_ordinary_day_fails_a_little() -> None:
    with Simulator("ordinary", seed=1, time_scale=0.0001) as simulator:
        statuses = [call(simulator, "GET", "/notes/5").status for _ in range(300)]
    assert 3 <= statuses.count(500) <= 30


def test_the_vandal_writes(hosp: Simulator) -> None:
    assert PROFILES["vandal"].vandals > 0
    control.set_profile(hosp.control_url, "vandal")
    until(lambda: any(entry["body"].get("title") == "pwned" for entry in hosp.hosp.applied), 60, "vandalised")


def test_traffic_is_a_steady_mix(hosp: Simulator) -> None:
    stop, results = threading.Event(), list[traffic.Result]()
    thread = threading.Thread(target=traffic.run, args=(hosp.url, hosp.users, 80, 1, stop, results.append))
    thread.start()
    time.sleep(1.5)
    stop.set()
    thread.join(10)
    assert 50 < len(results) < 250
    assert all(result.ok for result in results)
    assert {"notes.list", "patients.read", "notes.create"} <= {result.endpoint for result in results}
