"""Writes as their users meet them: accepted once, applied once, whatever the upstream does."""

from __future__ import annotations

import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Got, Sidecar, until
from tests.support.upstream import HOLT, Upstream, basic

AMES = {"Authorization": basic("Dr Ames")}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients.update({17: {"id": 17, "name": "Rex"}, 18: {"id": 18, "name": "Mia"}})
        server.state.notes[5] = {"id": 5, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}
        yield server


@pytest.fixture
def sidecar(upstream: Upstream, tmp_path: Path) -> Iterator[Sidecar]:
    fast = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "700ms", "bypass_after": "30s"}
    with Sidecar(upstream.url, tmp_path / "data", workers="2", **fast) as running:
        for path in ("/", "/notes", "/patients", "/staffs/me"):
            assert running.ask("GET", path, HOLT).status == 200
        for name in ("notes.list", "patients.list", "patients.read", "notes.read"):
            until(lambda name=name: running.plane("GET", f"/ready/{name}").status == 200, what=name)
        yield running


def note(sidecar: Sidecar, title: str, patient: int = 17, **more: Any) -> Got:
    return sidecar.ask("POST", "/notes", HOLT, {"title": title, "patient_id": patient, **more})


def titles(sidecar: Sidecar, query: str = "") -> list[str]:
    return [row["title"] for row in sidecar.ask("GET", f"/notes{query}", HOLT).json()]


def outbox(sidecar: Sidecar) -> dict[str, Any]:
    return sidecar.plane("GET", "/outbox").json()


def drained(sidecar: Sidecar, seconds: float = 30) -> None:
    until(lambda: not outbox(sidecar)["pending"], seconds, f"drained: {outbox(sidecar)['entries']}")


def intents(sidecar: Sidecar) -> int:
    """How many writes have ever begun, by what the database still knows."""
    with sqlite3.connect(sidecar.data / "understudy.db") as connection:
        return int(connection.execute("SELECT count(*) FROM writes").fetchone()[0])


def there(upstream: Upstream) -> list[str]:
    return sorted(row["title"] for row in upstream.state.notes.values())


def test_writes_of_an_outage_are_seen_at_once_and_applied_once_in_order(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.ask("GET", "/notes/77", HOLT).status == 404, "how the upstream says that a record is gone"
    upstream.stop()
    made = note(sidecar, "Night", body="calm")
    ident = made.json()["id"]
    assert (made.status, ident >= 2_000_000_000) == (201, True)
    assert made["Location"].endswith(f"/notes/{ident}")
    assert made["Cache-Status"] == "understudy; hit; ttl=0; detail=outbox"
    assert sidecar.ask("PATCH", f"/notes/{ident}", HOLT, {"body": "restless"}).json()["body"] == "restless"
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Late round"}).json()["title"] == "Late round"
    assert titles(sidecar) == titles(sidecar, "?patient_id=17") == ["Night", "Late round"]
    assert titles(sidecar, "?patient_id=18") == []
    assert sidecar.ask("GET", f"/notes/{ident}.json", HOLT).json()["body"] == "restless"
    assert sidecar.ask("DELETE", "/notes/5", HOLT).status == 204
    assert sidecar.ask("GET", "/notes/5", HOLT).status == 404
    upstream.start()
    drained(sidecar)
    (row,) = upstream.state.notes.values()
    assert (row["title"], row["body"]) == ("Night", "restless")
    sent = [(s.method, s.target) for s in upstream.seen("/notes") if s.method != "GET"]
    made_there = [("POST", "/notes"), ("PATCH", f"/notes/{row['id']}")]
    assert [each for each in sent if each in made_there] == made_there  # in order, as are those of the other record
    assert [each for each in sent if each not in made_there] == [("PATCH", "/notes/5"), ("DELETE", "/notes/5")]
    got = sidecar.ask("GET", f"/notes/{ident}", HOLT).json()  # the alias holds for ever
    assert (got["id"], got["title"]) == (row["id"], "Night")
    assert sidecar.ask("PATCH", f"/notes/{ident}", HOLT, {"title": "Dawn"}).json()["id"] == row["id"]
    assert there(upstream) == ["Dawn"]


def test_references_to_records_of_the_outage_become_real(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.stop()
    patient = sidecar.ask("POST", "/patients", HOLT, {"name": "Ned"}).json()["id"]
    assert note(sidecar, "Arrival", patient).status == 201
    assert titles(sidecar, f"?patient_id={patient}") == ["Arrival"]
    upstream.start()
    drained(sidecar)
    real = next(ident for ident, row in upstream.state.patients.items() if row["name"] == "Ned")
    assert [row["patient_id"] for row in upstream.state.notes.values() if row["title"] == "Arrival"] == [real]
    assert titles(sidecar, f"?patient_id={patient}") == ["Arrival"]
    assert note(sidecar, "Second", patient).json()["patient_id"] == real


@pytest.mark.parametrize("kind", ["500", "applied_500", "reset", "applied_reset", "invalid_json", "slow", "hang"])
def test_an_unclear_write_takes_effect_exactly_once(sidecar: Sidecar, upstream: Upstream, kind: str) -> None:
    upstream.fault(kind, "/notes", method="POST", seconds=1.2)
    made = note(sidecar, "Night")
    assert (made.status, made["Cache-Status"]) == (201, "understudy; hit; ttl=0; detail=outbox")
    assert titles(sidecar).count("Night") == 1
    drained(sidecar)
    assert there(upstream) == ["Night", "Round"]
    assert titles(sidecar) == ["Night", "Round"]
    assert sidecar.ask("GET", f"/notes/{made.json()['id']}", HOLT).json()["title"] == "Night"


@pytest.mark.parametrize("kind", ["500", "applied_500", "applied_reset", "slow"])
def test_unclear_changes_and_deletions_take_effect_once(sidecar: Sidecar, upstream: Upstream, kind: str) -> None:
    upstream.fault(kind, "/notes/5", method="PATCH", seconds=1.2)
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Night"}).json()["title"] == "Night"
    assert titles(sidecar) == ["Night"]
    drained(sidecar)
    assert there(upstream) == ["Night"]
    upstream.fault(kind, "/notes/5", method="DELETE", seconds=1.2)
    assert sidecar.ask("DELETE", "/notes/5", HOLT).status in (200, 204)
    assert titles(sidecar) == []
    drained(sidecar)
    assert there(upstream) == []


def test_a_deletion_that_nobody_confirmed_says_nothing_of_who_may_see_what(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    """Else all notes would from then on be shown only to those who were shown them before, in lists too."""
    note(sidecar, "Night")
    drained(sidecar)
    upstream.fault("applied_hang", "/notes", method="DELETE", seconds=2.5)
    assert sidecar.ask("DELETE", "/notes/5", HOLT)["Cache-Status"] == "understudy; hit; ttl=0; detail=outbox"
    assert sidecar.ask("GET", "/notes/5", AMES).status == 404
    for _ in range(3):
        assert [row["title"] for row in sidecar.ask("GET", "/notes", AMES).json()] == ["Night"]
    drained(sidecar)
    assert not sidecar.plane("GET", "/standby").json()["resources"]["notes"]["private"]


def test_where_pending_writes_cannot_be_shown_nothing_is(sidecar: Sidecar, upstream: Upstream) -> None:
    """A query of which nobody knows what it does: the upstream's own answer would lack the write."""
    upstream.fault("hang", "/notes", method="POST", seconds=2.5)
    assert note(sidecar, "Night")["Cache-Status"] == "understudy; hit; ttl=0; detail=outbox"
    refused = sidecar.ask("GET", "/notes?colour=red", HOLT)
    assert (refused.status, refused.json()["reason"]) == (503, "unknown_query")
    drained(sidecar)
    until(lambda: sidecar.ask("GET", "/notes?colour=red", HOLT).status == 200)


@pytest.mark.parametrize(
    ("changed", "moved"), [({"body": "worse"}, False), ({"patient_id": 18}, True), ({"note": {"patient_id": 18}}, True)]
)
def test_a_record_in_doubt_is_in_the_way_of_those_lists_only_that_may_show_it(
    sidecar: Sidecar, upstream: Upstream, changed: dict[str, Any], moved: bool
) -> None:
    upstream.fault("reset", "/notes/5", method="PATCH")
    stranger = {"Authorization": basic("Dr Byrd")}
    assert sidecar.ask("PATCH", "/notes/5", stranger, changed).status == 502  # not accepted: nobody knows them
    upstream.stop()
    told = {
        query: sidecar.ask("GET", f"/notes{query}", HOLT).status for query in ("", "?patient_id=17", "?patient_id=18")
    }
    assert told == {"": 503, "?patient_id=17": 503, "?patient_id=18": 503 if moved else 200}


def test_a_record_that_a_write_was_told_is_gone_is_not_shown_again(sidecar: Sidecar, upstream: Upstream) -> None:
    """Somebody took it away behind our back; the upstream's 404 to a write says so as well as one to a read."""
    del upstream.state.notes[5]
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Night"}).status == 404
    upstream.stop()
    assert sidecar.ask("GET", "/notes/5", HOLT).status in (404, 503)
    listed = sidecar.ask("GET", "/notes", HOLT)
    assert listed.status == 503 or listed.json() == []


def test_two_that_look_alike_are_two(sidecar: Sidecar, upstream: Upstream) -> None:
    for kind in ("applied_500", "500", "applied_reset"):
        upstream.fault(kind, "/notes", method="POST")
        assert note(sidecar, "Same").status == 201
    assert titles(sidecar).count("Same") == 3
    drained(sidecar)
    assert there(upstream).count("Same") == 3


def test_pending_writes_survive_kill_9(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.stop()
    ident = note(sidecar, "Night").json()["id"]
    sidecar.kill()
    sidecar.start()
    assert sidecar.ask("GET", f"/notes/{ident}", HOLT).json()["title"] == "Night"
    upstream.start()
    drained(sidecar)
    sidecar.kill()
    sidecar.start()
    assert there(upstream) == ["Night", "Round"]
    assert sidecar.ask("GET", f"/notes/{ident}", HOLT).json()["title"] == "Night"


def test_what_the_upstream_would_refuse_is_refused(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.stop()
    refused = note(sidecar, "Nobody's", 99)  # in whose words HOSP would refuse it nobody can say
    assert (refused.status, "refers to a record" in refused.json()["detail"]) == (503, True)
    assert sidecar.ask("PATCH", "/notes/77", HOLT, {"title": "?"}).status == 404
    assert sidecar.ask("DELETE", "/notes/77", HOLT).status == 404
    assert sidecar.ask("POST", "/notes", AMES, {"title": "x"}).status == 503  # a stranger: nobody can say who that is
    wrong = {"Authorization": basic("Dr Holt", "wrong")}
    assert sidecar.ask("POST", "/notes", wrong, {"title": "x"}).status == 401
    assert outbox(sidecar)["entries"] == []


def test_a_refused_replay_is_parked_for_a_person_to_decide(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.stop()
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Mine"}).status == 200
    assert sidecar.ask("PATCH", "/patients/17", HOLT, {"name": "Rexx"}).status == 200
    upstream.state.notes[5]["title"] = "Theirs"  # somebody has gone round us
    del upstream.state.patients[17]
    upstream.start()
    until(lambda: len(outbox(sidecar)["parked"]) == 2, 20, "parked")
    conflict = next(entry for entry in outbox(sidecar)["parked"] if entry["resource"] == "notes")
    refused = next(entry for entry in outbox(sidecar)["parked"] if entry["resource"] == "patients")
    assert ("conflict" in conflict["reason"], conflict["payload"]) == (True, {"title": "Mine"})
    assert ("404" in refused["reason"], refused["proposal"]) == (True, "discard")
    listed = sidecar.cli("outbox", "list").stdout
    assert ("2 parked" in listed, conflict["id"] in listed) == (True, True)
    assert sidecar.cli("outbox", "discard", refused["id"], "--reason", "the patient has gone", "--yes").returncode == 0
    upstream.state.notes[5]["title"] = "Round"
    assert sidecar.cli("outbox", "retry", conflict["id"]).returncode == 0
    until(lambda: outbox(sidecar)["entries"] == [], 20, "decided")
    assert there(upstream) == ["Mine"]
    assert '"discarded"' in sidecar.cli("outbox", "show", refused["id"]).stdout
    gone = sidecar.cli("outbox", "show", "no-such")
    assert (gone.returncode, "no-such" in gone.stderr, "Traceback" in gone.stderr) == (1, True, False)


def test_promotion_makes_the_standby_the_owner_and_demotion_replays(sidecar: Sidecar, upstream: Upstream) -> None:
    refused = sidecar.cli("promote", "hospitals")
    assert (refused.returncode, "not all hospitals are known" in refused.stderr) == (1, True)
    assert sidecar.cli("promote", "notes", "--reason", "the vendor is gone").returncode == 0
    assert sidecar.cli("promote", "patients").returncode == 0
    seen = len(upstream.seen("/notes"))
    upstream.stop()
    made = note(sidecar, "Ours").json()["id"]
    assert made == 6  # above the highest real one
    sidecar.kill()
    sidecar.start()
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Changed"}).status == 200
    assert titles(sidecar) == ["Ours", "Changed"]
    assert sidecar.ask("GET", "/patients/17", HOLT).json()["name"] == "Rex"
    upstream.start()
    assert note(sidecar, "Still ours").json()["id"] == 7
    assert len(upstream.seen("/notes")) == seen
    assert "3 writes to replay" in sidecar.cli("demote", "notes").stdout
    drained(sidecar)
    assert there(upstream) == ["Changed", "Ours", "Still ours"]
    assert sorted(titles(sidecar)) == ["Changed", "Ours", "Still ours"]  # the two do not depend on one another


def test_credentials_of_pending_writes_are_sealed_and_destroyed(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.stop()
    assert note(sidecar, "Night").status == 201
    secrets = (HOLT["Authorization"].split()[1].encode(), b"secret-of-Dr Holt")
    for path in [*sidecar.data.rglob("*"), sidecar.log]:
        data = path.read_bytes() if path.is_file() else b""
        assert not any(secret in data for secret in secrets), path
    key = sidecar.data.with_name("data.seal-key")
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)


def test_an_operator_takes_writes_over_and_hands_them_back(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.cli("takeover", "notes.create").returncode == 0
    time.sleep(1)
    assert note(sidecar, "Taken").json()["id"] >= 2_000_000_000
    time.sleep(1)
    assert there(upstream) == ["Round"]
    assert sidecar.cli("handback", "notes.create").returncode == 0
    drained(sidecar)
    time.sleep(0.5)  # until all workers know
    assert "Taken" in there(upstream)
    assert note(sidecar, "Theirs").json()["id"] < 2_000_000_000
    assert [row["title"] for _, row in sorted(upstream.state.notes.items())][-1] == "Theirs"


def test_what_the_outbox_would_not_take_leaves_no_trace(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.cli("takeover", "notes.update").returncode == 0
    assert sidecar.cli("takeover", "staffs.update").returncode == 0
    time.sleep(1)
    begun = intents(sidecar)
    gone = sidecar.ask("PATCH", "/notes/999", HOLT, {"title": "x"})
    assert (gone.status, gone["Cache-Status"]) == (404, "understudy; hit; ttl=0")
    unknown = sidecar.ask("PATCH", "/staffs/3", HOLT, {"name": "x"})
    assert (unknown.status, unknown.json()["reason"]) == (503, "takeover")
    stranger = sidecar.ask("PATCH", "/notes/5", {"Authorization": basic("Dr Holt", "guess")}, {"title": "x"})
    assert stranger.status == 401
    assert intents(sidecar) == begun
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Late round"}).status == 200
    assert intents(sidecar) == begun + 1
    assert there(upstream) == ["Round"]


def test_one_write_too_many_at_an_endpoint_that_hangs_is_taken_and_not_sent(upstream: Upstream, tmp_path: Path) -> None:
    with Sidecar(upstream.url, tmp_path / "data", workers="1", upstream_concurrency="3") as sidecar:
        for path in ("/notes", "/patients"):
            assert sidecar.ask("GET", path, HOLT).status == 200
        until(lambda: sidecar.plane("GET", "/ready/patients.list").status == 200, what="patients.list")
        upstream.fault("hang", "/patients/", times=100, seconds=20)
        first = [
            threading.Thread(target=sidecar.ask, args=("PATCH", f"/patients/{n}", HOLT, {"name": "Max"}))
            for n in (17, 19, 20)
        ]
        for each in first:
            each.start()
        until(lambda: len(upstream.seen("/patients/", "PATCH")) == 2, what="two hang, whichever came first")
        time.sleep(0.2)
        taken = sidecar.ask("PATCH", "/patients/18", {**HOLT, "X-Request-Id": "second"}, {"name": "Mo"})
        assert (taken.status, taken.json()["name"]) == (200, "Mo")
        assert taken["Cache-Status"] == "understudy; hit; ttl=0; detail=outbox"
        told = sidecar.events(request_id="second")[0]["understudy"]
        assert (told["reason"], told.get("attempts", [])) == ("deadline", [])
        assert not upstream.seen("/patients/18", "PATCH")
        upstream.heal()
        for each in first:
            each.join(20)
        until(lambda: upstream.state.patients[18]["name"] == "Mo", 60, "sent from the outbox")


def test_a_write_whose_client_resets_its_connection_before_it_is_sent_is_not_sent(
    upstream: Upstream, tmp_path: Path
) -> None:
    """It waits for a place at the upstream meanwhile; who closes only their half waits for the answer."""
    with Sidecar(upstream.url, tmp_path / "data", workers="1", upstream_concurrency="1") as sidecar:
        upstream.fault("slow", "/patients/", seconds=60)
        first = threading.Thread(target=sidecar.ask, args=("GET", "/patients/17", HOLT))
        first.start()
        until(lambda: upstream.seen("/patients/17"), what="under way")
        with socket.create_connection(("127.0.0.1", sidecar.port), 30) as leaves:
            leaves.sendall(written("leaves"))
            time.sleep(0.3)  # it waits
            leaves.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        (left,) = until(lambda: sidecar.events(request_id="leaves"), what="recorded")
        assert (left["http"]["response"]["status_code"], left["understudy"].get("attempts", [])) == (499, [])
        with socket.create_connection(("127.0.0.1", sidecar.port), 30) as stays:
            stays.sendall(written("stays"))
            stays.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
            upstream.heal()
            with stays.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.1 201 ")
        first.join(30)
        assert [row["title"] for row in upstream.state.notes.values()] == ["Round", "stays"]


def written(name: str) -> bytes:
    body = b'{"title":"%s","patient_id":17}' % name.encode()
    fields = f"Host: h\r\nAuthorization: {HOLT['Authorization']}\r\nX-Request-Id: {name}\r\n"
    fields += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return b"POST /notes HTTP/1.1\r\n" + fields.encode() + body


def test_the_same_images_have_the_same_result(sidecar: Sidecar, upstream: Upstream) -> None:
    images = {"images": ["AOTLRTDW", "ABC"]}
    first = sidecar.ask("POST", "/patients/17/screen", HOLT, images)
    assert first.status == 200
    upstream.stop()
    until(lambda: sidecar.ask("POST", "/patients/17/screen", HOLT, images).status == 200, 20, "it is remembered")
    again = sidecar.ask("POST", "/patients/17/screen", HOLT, images)
    assert (again.status, again.json(), again["Cache-Status"].startswith("understudy; hit")) == (
        200,
        first.json(),
        True,
    )
    other = sidecar.ask("POST", "/patients/17/screen", HOLT, {"images": ["XYZ"]})
    assert (other.status, bool(other["Retry-After"])) == (503, True)  # nothing is invented
