"""Screenings become notes: once each, in the screener's own name, whatever the upstream does between."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.stack import Sidecar, until
from tests.support.upstream import AMES, HOLT, Upstream

FAST = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "700ms", "store_results": "on"}


def exchanges(notes: dict[int, dict[str, Any]]) -> list[str]:
    found = [re.search(r'"exchange":"([^"]+)"', row["body"]) for row in notes.values()]
    return sorted(match[1] for match in found if match is not None)


def people(sidecar: Sidecar) -> int:
    """Of so many it is known who they are."""
    with closing(sqlite3.connect(sidecar.data / "understudy.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM identities").fetchone()[0])


def test_each_screening_leaves_one_note_in_the_screeners_name(tmp_path: Path) -> None:
    with Upstream() as upstream, Sidecar(upstream.url, tmp_path / "data", workers="2", **FAST) as sidecar:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        for path, who in (("/staffs/me", HOLT), ("/staffs/me", AMES), ("/patients", HOLT), ("/notes", HOLT)):
            assert sidecar.ask("GET", path, who).status == 200
        until(lambda: people(sidecar) == 2, what="who they are is learned")
        plain = sidecar.ask("POST", "/patients/17/screen", HOLT, {"images": ["ABC"]})
        assert plain.json() == {"overall": "clear", "results": [3]}  # nothing changes in the answer
        until(lambda: upstream.state.notes, what="the first note")
        (note,) = upstream.state.notes.values()
        assert (note["title"], note["patient_id"], note["staff_id"]) == ("Screening: clear", 17, 2)

        for number, fault in enumerate(("applied500", "500", "appliedreset", "reset", "applied500", "invalid_json")):
            upstream.fault(fault, "/notes", method="POST")
            who = (HOLT, AMES)[number % 2]
            assert sidecar.ask("POST", "/patients/17/screen", who, {"images": ["A" * number]}).status == 200
            until(lambda: not sidecar.plane("GET", "/outbox").json()["pending"], 30, "the outbox is empty")
        done = sidecar.events(path="/patients/17/screen")
        assert exchanges(upstream.state.notes) == sorted(event["event"]["id"] for event in done)
        assert {row["staff_id"] for row in upstream.state.notes.values()} == {1, 2}

        upstream.fault("500", "/patients/17/screen", times=50)  # what fails leaves nothing
        assert sidecar.ask("POST", "/patients/17/screen", HOLT, {"images": ["never seen"]}).status >= 500
        assert len(upstream.state.notes) == len(done)
