"""The simulator answers as HOSP is known to, and fails as it is told to."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from compose.hosp import client
from compose.hosp.data import generate
from compose.hosp.profiles import PROFILES
from compose.hosp.server import Simulator
from tests.support.stack import Got, ask, until
from tests.support.upstream import basic


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
    assert [entry["method"] for entry in client.applied(hosp.control_url)] == ["POST", "PATCH", "DELETE"]


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
    client.set_profile(hosp.control_url, "outage")
    with pytest.raises(ConnectionRefusedError):
        call(hosp, "GET", "/notes")
    client.set_profile(hosp.control_url, "calm")
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
    client.set_profile(hosp.control_url, "vandal")
    until(lambda: any(entry["body"].get("title") == "pwned" for entry in hosp.hosp.applied), 60, "vandalised")


def test_control_scripts_faults_and_counts(hosp: Simulator) -> None:
    client.fault(hosp.control_url, kind="status500", path_prefix="/hospitals", times=2)
    assert [call(hosp, "GET", "/hospitals").status for _ in range(3)] == [500, 500, 200]
    told = client.requests(hosp.control_url)
    assert told["counts"] == {"GET /hospitals": 3}
    assert told["max_in_flight"] >= 1
    with pytest.raises(urllib.error.HTTPError, match="400"):
        client.fault(hosp.control_url, kind="no-such-fault")


def test_whoever_has_the_whole_answer_has_nothing_under_way(hosp: Simulator) -> None:
    """A gateway that keeps to a number of places sends its next request at that moment, and is within them."""
    for ident in range(1, 201):
        call(hosp, "GET", f"/notes/{ident}")
    assert hosp.requests()["max_in_flight"] == 1
    assert hosp.most_awaited <= 1


@pytest.mark.parametrize("kind", ["reset", "applied_reset"])
def test_a_reset_is_a_reset(hosp: Simulator, kind: str) -> None:
    hosp.fault(kind, "/notes", "POST")
    with pytest.raises(ConnectionResetError) as caught:
        call(hosp, "POST", "/notes", {"title": "x"})
    assert not isinstance(caught.value, http.client.RemoteDisconnected)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_truncated_ends_before_its_length(hosp: Simulator, method: str) -> None:
    hosp.fault("truncated", "/notes", method)
    with pytest.raises(http.client.IncompleteRead):
        call(hosp, method, "/notes", {"title": "x"} if method == "POST" else None)


@pytest.mark.parametrize(("kind", "least"), [("slow:20", 0.2), ("hang", 0.3), ("applied_hang", 0.3)])
def test_slow_faults_take_their_time(hosp: Simulator, kind: str, least: float) -> None:
    hosp.fault(kind, "/notes/")
    began = time.monotonic()
    assert call(hosp, "GET", "/notes/9").status == 200
    assert time.monotonic() - began >= least


def test_an_id_is_never_given_twice(hosp: Simulator) -> None:
    first = call(hosp, "POST", "/notes", {"title": "x"}).json()["id"]
    assert call(hosp, "DELETE", f"/notes/{first}").status == 204
    assert call(hosp, "POST", "/notes", {"title": "y"}).json()["id"] == first + 1


def test_deleting_a_patient_deletes_its_notes(hosp: Simulator) -> None:
    note = call(hosp, "GET", "/notes?patient_id=3").json()[0]["id"]
    assert call(hosp, "DELETE", "/patients/3").status == 204
    assert call(hosp, "GET", f"/notes/{note}").status == 404


def test_a_renamed_member_of_staff_keeps_the_password(hosp: Simulator) -> None:
    (_, password), me = hosp.users[0], call(hosp, "GET", "/staffs/me").json()["id"]
    old = basic(*hosp.users[0])
    assert call(hosp, "PUT", f"/staffs/{me}", {"name": "Dr New Name"}).status == 200
    assert client.applied(hosp.control_url)[-1]["method"] == "PUT"
    assert ask(hosp.port, "GET", "/staffs/me", {"Authorization": old}).status == 401
    assert ask(hosp.port, "GET", "/staffs/me", {"Authorization": basic("Dr New Name", password)}).json()["id"] == me


def test_a_password_is_set_and_never_told(hosp: Simulator) -> None:
    me = call(hosp, "GET", "/staffs/me").json()
    old = basic(*hosp.users[0])
    assert b"s3cret" not in call(hosp, "PATCH", f"/staffs/{me['id']}", {"password": "s3cret"}).body
    assert "s3cret" not in json.dumps(client.applied(hosp.control_url))
    assert ask(hosp.port, "GET", "/staffs/me", {"Authorization": old}).status == 401
    assert ask(hosp.port, "GET", "/staffs/me", {"Authorization": basic(me["name"], "s3cret")}).status == 200


def test_a_reference_of_another_type_is_missing(hosp: Simulator) -> None:
    assert call(hosp, "POST", "/notes", {"patient_id": [1]}).status == 422


def test_gzip_only_when_asked_and_worth_it(hosp: Simulator) -> None:
    headers = {"Authorization": basic(*hosp.users[0]), "Accept-Encoding": "gzip"}
    plain, packed = call(hosp, "GET", "/patients"), ask(hosp.port, "GET", "/patients", headers)
    assert (plain["Content-Encoding"], packed["Content-Encoding"]) == ("", "gzip")
    assert gzip.decompress(packed.body) == plain.body
    assert ask(hosp.port, "GET", "/patients/1", headers)["Content-Encoding"] == ""


def test_urls_follow_the_forwarded_host(hosp: Simulator) -> None:
    headers = {"Authorization": basic(*hosp.users[0]), "X-Forwarded-Host": "h.example", "X-Forwarded-Proto": "https"}
    assert ask(hosp.port, "GET", "/notes/1", headers).json()["url"] == "https://h.example/notes/1.json"


def test_while_it_is_down_its_port_is_nobody_elses(hosp: Simulator) -> None:
    port = hosp.port
    for _ in range(2):
        hosp.set_profile("outage")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        hosp.set_profile("calm")
        assert call(hosp, "GET", "/hospitals").status == 200
    assert hosp.port == port


def test_it_ends_where_its_address_is_gone(hosp: Simulator) -> None:
    hosp._host = "192.0.2.1"  # nobody's: as a namespace's that was removed
    hosp.close()
    assert hosp._reserved is None
