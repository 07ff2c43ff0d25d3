"""Copies of requests that went past us: written down, never sent on, and what they may have changed is in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.stack import Got, Sidecar, ask, until
from tests.support.upstream import HOLT, Upstream

FAST = {"upstream_timeout": "1s", "late_effect": "500ms", "backfill_rate": "100"}
COPY = "/.understudy/copy"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        server.state.notes[5] = {"id": 5, "title": "Round", "body": "b", "patient_id": 17, "staff_id": 2}
        yield server


def started(upstream: Upstream, folder: Path, **settings: str) -> Sidecar:
    given = {**FAST, "backfill_credentials": "Dr Holt:s3cret-Holt", **settings}
    return Sidecar(upstream.url, folder / "data", workers="2", bypass_after="0s", **given)


def learned(sidecar: Sidecar) -> None:
    assert sidecar.cli("backfill").returncode == 0
    assert sidecar.ask("GET", "/notes/5", HOLT).status == 200
    until(lambda: sidecar.plane("GET", "/ready/notes.read").status == 200, 15, "the standby is ready")


def copied(sidecar: Sidecar, method: str, target: str, key: str, body: object = None) -> Got:
    marks = {"X-Understudy-Copy": key, "X-Understudy-Target": target}
    return ask(sidecar.port, method, COPY, {**HOLT, **marks}, body)


def test_a_copy_is_written_down_and_never_sent_on(upstream: Upstream, tmp_path: Path) -> None:
    with started(upstream, tmp_path, trusted_proxies="127.0.0.1", backfill_rate="1") as sidecar:
        for method, target, body in (
            ("GET", "/notes/5?x=1", None),
            ("POST", "/notes", {"title": "copied", "patient_id": 17, "staff_id": 2}),
            ("DELETE", "/notes/5", None),
            ("POST", "/patients/17/screen", {"images": ["ABC"]}),
            ("POST", "/stray", {"title": "copied"}),
        ):
            assert copied(sidecar, method, target, uuid4().hex, body).status == 204
        asked = [seen for seen in upstream.state.seen if seen.method != "GET" or "x=1" in seen.target]
        assert asked == []
        events = [event for event in sidecar.events() if event["understudy"]["purpose"] == "copy"]
        assert [(e["http"]["request"]["method"], e["url"]["path"]) for e in events][:3] == [
            ("GET", "/notes/5"), ("POST", "/notes"), ("DELETE", "/notes/5"),
        ]  # fmt: skip
        assert {(e["event"]["outcome"], e["user"]["name"]) for e in events} == {("unknown", "Dr Holt")}
        assert all("response" not in e["http"] for e in events)
        metrics = sidecar.plane("GET", "/metrics").body.decode()
        assert "understudy_requests_total{" not in metrics  # nobody was served by us


def test_a_copy_of_a_stranger_is_refused_and_changes_nothing(upstream: Upstream, tmp_path: Path) -> None:
    with started(upstream, tmp_path) as sidecar:
        refused = copied(sidecar, "DELETE", "/notes/5", uuid4().hex)
        assert (refused.status, upstream.seen(COPY)) == (403, [])
        assert 5 in upstream.state.notes


def test_a_copied_write_puts_its_record_in_doubt_until_a_look_that_began_after_it(
    upstream: Upstream, tmp_path: Path
) -> None:
    with started(upstream, tmp_path, trusted_proxies="127.0.0.1") as sidecar:
        learned(sidecar)
        assert sidecar.cli("takeover", "notes.read").returncode == 0
        until(lambda: "hit" in sidecar.ask("GET", "/notes/5", HOLT)["Cache-Status"], 20, "the standby answers")
        upstream.state.notes[5]["title"] = "changed past us"
        upstream.stop()  # nobody can look
        assert copied(sidecar, "PATCH", "/notes/5", uuid4().hex, {"title": "changed past us"}).status == 204
        answers = [sidecar.ask("GET", "/notes/5", HOLT) for _ in range(10)]  # of both workers
        assert {answer.status for answer in answers} == {503}
        upstream.start()
        got = until(lambda: (seen := sidecar.ask("GET", "/notes/5", HOLT)).status == 200 and seen, 20, "a clean look")
        assert got.json()["title"] == "changed past us"


def test_a_write_that_comes_to_us_after_all_withdraws_its_copy(upstream: Upstream, tmp_path: Path) -> None:
    upstream.state.notes[6] = {**upstream.state.notes[5], "id": 6}
    with started(upstream, tmp_path, trusted_proxies="127.0.0.1") as sidecar:
        learned(sidecar)
        upstream.stop()
        for path, copy_first in (("/notes/5", True), ("/notes/6", False)):
            key, patch = uuid4().hex, {"title": "Late"}
            if copy_first:
                assert copied(sidecar, "PATCH", path, key, patch).status == 204
            marked = {**HOLT, "X-Understudy-Copied": key}
            until(lambda path=path, marked=marked: sidecar.ask("PATCH", path, marked, {"title": "Late"}).status == 200)
            if not copy_first:
                assert copied(sidecar, "PATCH", path, key, patch).status == 204
            assert sidecar.ask("GET", path, HOLT).json()["title"] == "Late"
        upstream.start()
        until(lambda: {note["title"] for note in upstream.state.notes.values()} == {"Late"}, 20, "replayed")
