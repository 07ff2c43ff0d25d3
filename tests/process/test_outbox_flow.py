"""What the outbox cannot settle stops nobody, and is shown to nobody as if it were done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream, basic

AMES = {"Authorization": basic("Dr Ames")}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex", "birthdate": None}
        for ident in (5, 6):
            server.state.notes[ident] = {"id": ident, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}
        yield server


@pytest.fixture
def sidecar(upstream: Upstream, tmp_path: Path) -> Iterator[Sidecar]:
    fast = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "700ms"}
    with Sidecar(upstream.url, tmp_path / "data", workers="1", **fast) as running:
        for path in ("/notes", "/patients", "/staffs/me"):
            for who in (HOLT, AMES):
                assert running.ask("GET", path, who).status == 200
        for name in ("notes.list", "patients.list"):
            until(lambda name=name: running.plane("GET", f"/ready/{name}").status == 200, what=name)
        yield running


def outbox(sidecar: Sidecar) -> dict[str, Any]:
    return sidecar.plane("GET", "/outbox").json()


def test_a_deletion_that_the_upstream_cannot_do_is_given_up_and_hidden_from_nobody(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    upstream.fault("500", "/notes/5", method="DELETE", times=1000)
    assert sidecar.ask("DELETE", "/notes/5", HOLT)["Cache-Status"] == "understudy; hit; ttl=0; detail=outbox"
    for number in range(4):  # nobody waits for it, and the upstream shows that it is well
        made = sidecar.ask("POST", "/notes", AMES, {"title": f"n{number}", "patient_id": 17})
        assert (made.status, made.json()["id"] < 2_000_000_000) == (201, True)
        changed = sidecar.ask("DELETE", f"/notes/{made.json()['id']}", AMES)
        assert (changed.status, "outbox" in changed["Cache-Status"]) == (204, False)
    until(lambda: outbox(sidecar)["parked"], 60, "parked")
    assert sidecar.ask("GET", "/notes/5", HOLT).json()["title"] == "Round"
    assert 5 in [note["id"] for note in sidecar.ask("GET", "/notes", HOLT).json()]
    assert sidecar.plane("GET", "/endpoints").status == 200


def test_what_cannot_be_kept_is_not_taken(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.stop()
    bodies = [{"name": {"a": 1}}, {"birthdate": "31/02/2020"}, {}, {"patient": {"name": "Max"}}]
    for body in bodies:
        refused = sidecar.ask("PATCH", "/patients/17", HOLT, body)
        assert (refused.status, "not taken: " in refused.json()["detail"], bool(refused["Retry-After"])) == (
            503,
            True,
            True,
        )
    conditional = sidecar.ask("PATCH", "/patients/17", {**HOLT, "If-Match": '"x"'}, {"name": "Max"})
    assert (conditional.status, "precondition" in conditional.json()["detail"]) == (503, True)
    overridden = sidecar.ask("POST", "/patients/17", {**HOLT, "X-HTTP-Method-Override": "PATCH"}, {"name": "Max"})
    assert overridden.status == 503
    assert sidecar.ask("POST", "/patients", {**HOLT, "X-HTTP-Method-Override": "GET"}, {"name": "Max"}).status == 400
    assert sidecar.ask("GET", "/patients/17", HOLT).json()["name"] == "Rex"
    assert outbox(sidecar)["entries"] == []
    made = sidecar.ask("POST", "/notes", HOLT, {"title": "Night", "patient_id": 17})
    assert (made.status, "body" in made.json()) == (201, False)  # what the upstream puts there is not invented


def test_an_unclear_create_of_one_holds_up_nobody_else(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("hang", "/notes", method="POST", seconds=3)
    assert sidecar.ask("POST", "/notes", HOLT, {"title": "Night", "patient_id": 17}).json()["id"] >= 2_000_000_000
    for who in (HOLT, AMES):
        made = sidecar.ask("POST", "/notes", who, {"title": "Day", "patient_id": 17})
        assert (made.status, made.json()["id"] < 2_000_000_000) == (201, True)
    until(lambda: not outbox(sidecar)["entries"], 40, "drained")
    assert sorted(note["title"] for note in upstream.state.notes.values()) == ["Day", "Day", "Night", "Round", "Round"]
