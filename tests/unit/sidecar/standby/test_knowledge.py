"""What the standby believes: only what an answer truly says, for as long as nothing may have changed it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import app, start
from sidecar.http.messages import Response
from sidecar.standby.absence import under_way_for
from sidecar.timeunits import SECOND
from tests.support.gateway import FakeUpstream, InProcess
from tests.support.upstream import HOLT

JSON = [("Content-Type", "application/json")]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[InProcess]:
    with InProcess(tmp_path) as running:
        for number in (1, 2):
            running.upstream.state.notes[number] = {"id": number, "title": f"n{number}", "patient_id": 16 + number}
        running.knows("/notes/1", HOLT)
        yield running


def test_a_filtered_list_says_nothing_of_the_others(gateway: InProcess) -> None:
    gateway.ask("GET", "/notes?patient_id=17", HOLT)
    assert [gateway.down(target, HOLT).status for target in ("/notes", "/notes/2", "/notes?patient_id=18")] == [503] * 3


def test_what_the_upstream_said_is_gone_is_never_shown_again(gateway: InProcess) -> None:
    del gateway.upstream.state.notes[1]
    assert gateway.ask("GET", "/notes/1", HOLT).status == 404
    assert gateway.down("/notes/1", HOLT).status in (404, 503)


def test_a_write_outside_the_contract_puts_everything_in_doubt(gateway: InProcess) -> None:
    assert gateway.down("/notes/1", HOLT).status == 200
    assert gateway.ask("POST", "/echo", HOLT, {"anything": "may change"}).status == 200
    assert gateway.down("/notes/1", HOLT).status == 503
    assert gateway.knows("/notes/1", HOLT).status == 200, "seen again"


@pytest.mark.parametrize("answered", [True, False])
def test_what_an_unanswered_write_outside_the_contract_did_may_come_later(gateway: InProcess, answered: bool) -> None:
    (worker,) = app._running
    gateway.upstream.fault = None if answered else "applied_reset"
    assert gateway.ask("POST", "/echo", HOLT, {"anything": "may change"}).status == (200 if answered else 502)
    worker.standby.refresh()
    assert worker.standby.may_verify() is answered


@pytest.mark.parametrize(
    "answer",
    [
        Response(500, JSON, b'{"id": 1, "title": "wrong"}'),
        Response(404, JSON, b'{"id": 1, "title": "wrong"}'),
        Response(200, JSON, b'{"title": "wrong"}'),
        Response(200, [("Content-Type", "text/html")], b"<html>wrong</html>"),
        Response(206, [*JSON, ("Content-Range", "bytes 0-9/99")], b'{"id": 1, "title": "wrong"}'),
    ],
)
def test_what_does_not_say_how_a_record_is_is_not_believed(gateway: InProcess, answer: Response) -> None:
    gateway.upstream.fault = answer
    gateway.ask("GET", "/notes/1", HOLT)
    got = gateway.down("/notes/1", HOLT)
    assert got.status != 200 or b"wrong" not in got.body


def test_after_an_absence_nothing_is_answered_until_it_was_seen_again(tmp_path: Path) -> None:
    upstream = FakeUpstream()
    upstream.state.notes[1] = {"id": 1, "title": "n1"}
    with InProcess(tmp_path, upstream, late_effect=0.1) as first:
        first.knows("/notes/1", HOLT)
    upstream.state.notes[1]["title"] = "changed by a way around us"
    os.utime(first.settings.data / "alive", (time.time() - 7200,) * 2)
    upstream.released.clear()
    start.note_absence(first.settings)
    with InProcess(tmp_path, upstream, late_effect=0.1) as second:
        assert second.down("/notes/1", HOLT).status == 503
        time.sleep(under_way_for(second.settings) / SECOND)  # what went that way may not have been all of it
        assert second.knows("/notes/1", HOLT).json()["title"] == "changed by a way around us"


def test_what_a_write_answered_and_a_list_shows_too_is_as_good_as_listed(tmp_path: Path) -> None:
    with InProcess(tmp_path, unproven="refuse", proof=1) as gateway:
        for number in (1, 2):
            gateway.upstream.state.notes[number] = {"id": number, "title": f"n{number}", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        gateway.knows("/notes/1", HOLT)
        made = gateway.ask("POST", "/notes", HOLT, {"title": "new", "patient_id": 17}).json()
        assert gateway.down(f"/notes/{made['id']}", HOLT).status == 503, "the answer to a write may be an echo"
        gateway.knows("/notes", HOLT)
        assert gateway.down(f"/notes/{made['id']}", HOLT).json() == made


def test_nothing_refers_to_a_record_that_the_upstream_has_not_heard_of(tmp_path: Path) -> None:
    """That the filter means something must be proven; what it makes of nothing (`?patient_id=`) is another question."""
    with InProcess(tmp_path, proof=1) as gateway:
        gateway.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        for number in (1, 2):
            gateway.upstream.state.notes[number] = {"id": number, "title": f"n{number}", "patient_id": 16 + number}
        gateway.knows("/patients", HOLT)
        gateway.knows("/notes", HOLT)
        gateway.upstream.fault = "refused"
        made = gateway.ask("POST", "/patients", HOLT, {"name": "Mia"}).json()
        assert gateway.ask("GET", f"/notes?patient_id={made['id']}", HOLT).status == 503
        gateway.upstream.fault = None
        gateway.ask("GET", "/notes?patient_id=17", HOLT)
        assert gateway.down(f"/notes?patient_id={made['id']}", HOLT).json() == []
        assert gateway.down("/notes?patient_id=", HOLT).status == 503
