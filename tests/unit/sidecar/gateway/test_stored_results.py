"""A screening becomes one note in its caller's name, whatever becomes of the upstream; it never changes the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.http.messages import Response
from tests.support.gateway import NEVER_SENT, InProcess
from tests.support.stack import until
from tests.support.upstream import AMES, HOLT

IMAGES = {"images": ["ABC"]}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[InProcess]:
    with InProcess(tmp_path, store_results="on") as running:
        running.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        running.upstream.state.notes[1] = {"id": 1, "title": "Limps", "body": "", "patient_id": 17, "staff_id": 1}
        for target in ("/notes", "/patients/17", "/staffs/me"):
            running.knows(target, HOLT)
        yield running


def notes(gateway: InProcess) -> list[dict[str, Any]]:
    return [note for note in gateway.upstream.state.notes.values() if note["title"].startswith("Screening")]


def test_it_is_stored_once_and_the_answer_is_as_it_was(gateway: InProcess) -> None:
    got = gateway.ask("POST", "/patients/17/screen", HOLT, IMAGES)
    assert (got.status, got.json()) == (200, {"overall": "clear", "results": [3]})
    (note,) = until(lambda: notes(gateway), 5, "the note")
    assert (note["title"], note["patient_id"], note["staff_id"]) == ("Screening: clear", 17, 2)
    (event,) = [event for event in gateway.events() if event["url"]["path"].endswith("/screen")]
    assert event["event"]["id"] in note["body"], "which makes it unlike any other"
    (call,) = [call for call in gateway.upstream.sent if call.method == "POST" and call.target == "/notes"]
    assert ("Authorization", HOLT["Authorization"]) in call.headers, "with the caller's own credentials"


def test_one_that_fails_or_is_refused_leaves_nothing(gateway: InProcess) -> None:
    for answer in (Response(500), Response(422, [("Content-Type", "application/json")], b"{}")):
        gateway.upstream.fault = answer
        assert gateway.ask("POST", "/patients/17/screen", HOLT, {"images": ["other"]}).status >= 400
    gateway.upstream.fault = None
    assert gateway.ask("POST", "/patients/17/screen", {}, {"images": ["nobody's"]}).status == 401
    assert gateway.upstream.targets("POST").count("/notes") == 0


def test_while_notes_cannot_be_written_it_waits_and_is_shown(gateway: InProcess) -> None:
    gateway.ask("POST", "/patients/17/screen", HOLT, IMAGES)
    until(lambda: notes(gateway), 5, "the first")
    gateway.upstream.fault = NEVER_SENT
    got = gateway.ask("POST", "/patients/17/screen", HOLT, IMAGES)  # a call that depends on its input alone
    assert (got.status, got.json()) == (200, {"overall": "clear", "results": [3]})
    listed = gateway.ask("GET", "/notes", HOLT)
    assert listed.status in (200, 503)
    if listed.status == 200:
        assert sum(note["title"] == "Screening: clear" for note in listed.json()) == 2
    assert len(notes(gateway)) == 1


def test_off_stores_nothing(tmp_path: Path) -> None:
    with InProcess(tmp_path) as gateway:
        gateway.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        assert gateway.ask("POST", "/patients/17/screen", AMES, IMAGES).status == 200
        assert gateway.upstream.targets("POST") == ["/patients/17/screen"]
