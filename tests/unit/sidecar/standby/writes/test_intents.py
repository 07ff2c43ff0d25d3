"""An acknowledged write is never lost and never sent twice; one that cannot be kept is refused, and not sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import app
from sidecar.http.messages import Response
from sidecar.upstream.connection import Call
from tests.support.gateway import NEVER_SENT, FakeUpstream, InProcess
from tests.support.upstream import AMES, HOLT

PROVISIONAL = 2_000_000_000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[InProcess]:
    with InProcess(tmp_path) as running:
        running.upstream.state.notes[1] = {"id": 1, "title": "Limps", "body": "left"}
        running.ask("GET", "/notes", HOLT)
        running.knows("/notes/1", HOLT)
        yield running


@pytest.mark.parametrize(("method", "target"), [("POST", "/notes"), ("PATCH", "/notes/1"), ("DELETE", "/notes/1")])
def test_the_intent_is_on_disk_before_the_first_byte_is_sent(gateway: InProcess, method: str, target: str) -> None:
    begun: list[int] = []

    def look(call: Call) -> None:
        with sqlite3.connect(gateway.settings.data / "understudy.db") as disk:
            begun.append(disk.execute("SELECT count(*) FROM writes").fetchone()[0])

    look(Call("GET", "/", []))
    gateway.upstream.before = look
    gateway.ask(method, target, HOLT, {"title": "Better"} if method != "DELETE" else None)
    assert begun[1:] == [begun[0] + 1], "one intent more, and one call"


def test_what_was_accepted_is_there_after_a_restart_and_the_upstream_was_told_nothing(tmp_path: Path) -> None:
    upstream = FakeUpstream()
    with InProcess(tmp_path, upstream) as first:
        upstream.state.notes[1] = {"id": 1, "title": "Limps"}
        first.ask("GET", "/notes", HOLT)
        first.knows("/notes/1", HOLT)
        upstream.fault = NEVER_SENT
        made = first.ask("POST", "/notes", HOLT, {"title": "New"}).json()["id"]
        assert first.ask("PATCH", f"/notes/{made}", HOLT, {"title": "Newer"}).status == 200
        assert first.ask("PATCH", "/notes/1", HOLT, {"title": "Well"}).status == 200
    upstream.released.clear()
    with InProcess(tmp_path, upstream) as second:
        assert second.ask("GET", f"/notes/{made}", HOLT).json()["title"] == "Newer"
        upstream.fault = None
        assert second.ask("GET", "/notes/1", HOLT).json()["title"] == "Well", "laid over what the upstream still says"
        assert {note["title"] for note in second.ask("GET", "/notes", HOLT).json()} == {"Well", "Newer"}
    assert upstream.targets("POST") == upstream.targets("PATCH") == []
    assert upstream.state.notes[1]["title"] == "Limps"


def test_a_write_behind_one_that_waits_waits_too(gateway: InProcess) -> None:
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Well"}).status == 200
    gateway.upstream.fault = None
    got = gateway.ask("PATCH", "/notes/1", HOLT, {"body": "right"})
    assert (got.status, got.json()["title"], got.json()["body"]) == (200, "Well", "right")
    assert gateway.upstream.targets("PATCH") == [], "the order of writes to one record is kept"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("when", ["before it begins", "while it is under way"])
def test_a_change_is_not_taken_of_what_may_have_changed_beside_us(gateway: InProcess, method: str, when: str) -> None:
    (worker,) = app._running

    def passed_by(_call: Call | None = None) -> None:
        worker.standby.mark_gap("somebody may have passed by")
        gateway.upstream.state.notes[1]["title"] = "Changed beside us"

    if when == "before it begins":
        passed_by()
        gateway.upstream.fault = NEVER_SENT
    else:
        gateway.upstream.before, gateway.upstream.fault = passed_by, "reset"
    got = gateway.ask(method, "/notes/1", HOLT, {"body": "right"} if method == "PATCH" else None)
    assert got.status >= 500, "it is not taken"
    assert gateway.down("/notes/1", HOLT).status == 503
    gateway.upstream.before, gateway.upstream.fault = (lambda call: None), None
    assert gateway.ask("GET", "/notes/1", HOLT).json()["title"] == "Changed beside us"


@pytest.mark.parametrize("when", ["before it begins", "while it is under way"])
def test_a_write_that_took_no_effect_verifies_nothing(gateway: InProcess, when: str) -> None:
    (worker,) = app._running
    gateway.upstream.fault = Response(422, [("Content-Type", "application/json")], b"{}")
    if when == "before it begins":
        worker.standby.mark_gap("somebody may have passed by")
    else:
        gateway.upstream.before = lambda call: worker.standby.mark_gap("somebody may have passed by")
    assert gateway.ask("PATCH", "/notes/1", HOLT, {"body": "right"}).status == 422
    gateway.upstream.before = lambda call: None
    got = gateway.down("/notes/1", HOLT)
    assert (got.status, "unverified" in got["cache-status"]) == (503, True)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_of_what_nobody_knows_is_refused(gateway: InProcess, method: str) -> None:
    gateway.upstream.state.notes[7] = {"id": 7, "title": "Unseen"}
    gateway.upstream.fault = NEVER_SENT
    got = gateway.ask(method, "/notes/7", HOLT, {"title": "Better"} if method == "PATCH" else None)
    assert got.status in (404, 503)
    assert got.status == 503 or "id" not in got.json()
    gateway.upstream.fault = None
    assert gateway.ask("GET", "/notes/7", HOLT).json()["title"] == "Unseen"


def test_that_there_is_nothing_to_change_is_said_once_that_is_proven(gateway: InProcess) -> None:
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("PATCH", "/notes/7", HOLT, {"title": "Better"}).status == 503, "the list may have left it out"
    gateway.upstream.fault = None
    for number in range(20, 30):
        assert gateway.knows(f"/notes/{number}", HOLT).status == 404
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("PATCH", "/notes/7", HOLT, {"title": "Better"}).status == 404
    assert gateway.ask("PATCH", "/notes/07", HOLT, {"title": "Better"}).status == 503, "which may be another's spelling"


@pytest.mark.parametrize(("method", "target"), [("PATCH", "/notes/1.json"), ("DELETE", "/notes/1.json")])
def test_a_write_by_another_spelling_is_kept_once_a_read_so_spelled_was_understood(
    gateway: InProcess, method: str, target: str
) -> None:
    words = {"title": "Well"} if method == "PATCH" else None
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask(method, target, HOLT, words).status == 503
    gateway.upstream.fault = None
    assert gateway.knows("/notes/1.json", HOLT).json()["title"] == "Limps"
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask(method, target, HOLT, words).status in (200, 204)


def test_a_refused_write_changes_nothing_that_users_see(gateway: InProcess) -> None:
    gateway.upstream.fault = Response(422, [("Content-Type", "application/json")], b'{"title":["is too long"]}')
    got = gateway.ask("PATCH", "/notes/1", HOLT, {"title": "x" * 99})
    assert (got.status, got.json()) == (422, {"title": ["is too long"]})
    gateway.upstream.fault = None
    assert gateway.knows("/notes/1", HOLT).json()["title"] == "Limps"


def test_what_was_deleted_in_the_outbox_is_gone_for_users(gateway: InProcess) -> None:
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("DELETE", "/notes/1", HOLT).status in (200, 204)
    assert gateway.ask("GET", "/notes/1", HOLT).status in (404, 503)
    gateway.upstream.fault = None
    assert gateway.ask("GET", "/notes/1", HOLT).status in (404, 503), "though the upstream still has it"
    assert b"Limps" not in gateway.ask("GET", "/notes", HOLT).body


def test_no_secret_of_a_pending_write_is_on_disk_in_the_clear(gateway: InProcess) -> None:
    gateway.upstream.state.staffs[3] = {"id": 3, "name": "Dr Ames"}
    gateway.ask("GET", "/staffs", HOLT)
    gateway.knows("/staffs/3", HOLT)
    gateway.upstream.fault = NEVER_SENT
    gateway.ask("POST", "/staffs", HOLT, {"name": "Dr New", "password": "pl4nted-pass"})
    gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Well"})
    kept = b"".join(path.read_bytes() for path in gateway.settings.data.rglob("*") if path.is_file())
    assert b"Well" in kept
    for secret in (b"pl4nted-pass", b"s3cret-Holt", HOLT["Authorization"].split()[1].encode()):
        assert secret not in kept


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_write_tells_its_author_nothing_that_a_read_would_not(gateway: InProcess, method: str) -> None:
    gateway.ask("GET", "/staffs/me", AMES)  # who is known, and was never shown a note
    gateway.learned()
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("GET", "/notes/1", AMES).status == 503
    got = gateway.ask(method, "/notes/1", AMES, {"title": "Better"} if method != "DELETE" else None)
    assert (got.status, b"left" in got.body) == (503, False)
    assert gateway.ask(method, "/notes/1", HOLT, {"title": "Better"} if method != "DELETE" else None).status < 300


def test_whom_the_upstream_refused_the_record_since_changes_nothing_in_its_absence(gateway: InProcess) -> None:
    gateway.upstream.fault = Response(403, [("Content-Type", "application/json")], b"{}")
    assert gateway.ask("GET", "/notes/1", HOLT).status == 403
    gateway.learned()
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Better"}).status == 503
