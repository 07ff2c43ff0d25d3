"""`understudy rebuild --from-events`: DATA and the upstream are gone, and what was recorded is learned again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.contract import Contract
from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.http.messages import Request
from sidecar.settings import Settings
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.standby import Standby
from sidecar.storage.database import open_engine
from tests.support.stack import Got, Sidecar, until
from tests.support.upstream import AMES, HOLT, Upstream


@dataclass
class Disaster:
    """What is left: the event store, in a new DATA; the ids that two accepted notes were shown under."""

    environ: dict[str, str]
    data: Path
    settled: int
    lost: int
    real: int

    def rebuild(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sidecar", "rebuild", "--from-events", *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)


def note(title: str) -> dict[str, Any]:
    return {"patient_id": 1, "title": title, "body": "b"}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Disaster:
    folder = tmp_path_factory.mktemp("rebuild")
    with Upstream() as upstream:
        state = upstream.state
        state.patients[1] = {"id": 1, "name": "Rex"}
        for ident in range(1, 7):
            state.notes[ident] = {"id": ident, **note(f"note {ident}")}
        state.only_for[6] = "Dr Holt"
        with Sidecar(upstream.url, folder / "data", evidence=None, upstream_timeout="2s", late_effect="1s") as side:
            settled, lost, real = _a_day(side, upstream)
            environ = {**side.environ, "UNDERSTUDY_DATA": str(folder / "new")}
    (folder / "new").mkdir()
    for path in (folder / "data").glob("events.db*"):
        shutil.copy(path, folder / "new")
    return Disaster(environ, folder / "new", settled, lost, real)


def _a_day(side: Sidecar, upstream: Upstream) -> tuple[int, int, int]:
    for who in (HOLT, AMES):
        for path in ("/patients", "/notes", "/notes/5", "/staffs/me"):
            assert side.ask("GET", path, who).status == 200
    until(lambda: _is_private(side), 20, "note 6 is Holt's alone")
    for ident in (1, 2, 4, 6):  # these are shown to Holt
        assert side.ask("GET", f"/notes/{ident}", HOLT).status == 200
    assert side.ask("PATCH", "/notes/2", HOLT, {"title": "changed"}).status == 200
    assert side.ask("DELETE", "/notes/3", HOLT).status == 204
    made = side.ask("POST", "/notes", HOLT, note("made")).json()["id"]
    assert made == 7
    upstream.stop()
    settled = _accepted(side, "settled")
    upstream.start()
    until(lambda: side.plane("GET", "/outbox").json()["pending"] == 0, 20, "it is settled")
    real = next(ident for ident, row in upstream.state.notes.items() if row["title"] == "settled")
    upstream.stop()
    lost = _accepted(side, "lost")
    until(lambda: side.ask("PATCH", "/notes/4", HOLT, {"title": "promised"}).status == 200, 20, "it is accepted")
    assert side.plane("POST", "/revocations", {"user": "Dr Ames"}).status == 200
    until(lambda: _stored(side) == len(side.journal()), 20, "all is shipped")
    return settled, lost, real


def _is_private(side: Sidecar) -> bool:
    assert side.ask("GET", "/notes/6", HOLT).status == 200
    assert side.ask("GET", "/notes/6", AMES).status == 404
    return bool(side.plane("GET", "/standby").json()["resources"]["notes"]["private"])


def _stored(side: Sidecar) -> int:
    with closing(EmbeddedStore(side.data / "events.db")) as store:
        return sum(bucket.count for bucket in store.count(Filter()))


def _accepted(side: Sidecar, title: str) -> int:
    """The id under which a note is accepted that cannot be sent."""

    def ask() -> Got | None:
        got = side.ask("POST", "/notes", HOLT, note(title))
        return got if got["Cache-Status"].endswith("detail=outbox") else None  # who asks is learned a little later

    return int(until(ask, 20, "it is accepted").json()["id"])


def test_what_was_recorded_is_known_again_and_what_is_lacking_is_said(left: Disaster) -> None:
    before = left.rebuild("--check", "--format", "json")
    assert before.returncode == 0, before.stderr
    assert json.loads(before.stdout)["kept"] is False
    assert not (left.data / "understudy.db").exists()
    done = left.rebuild("--format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {**told, "kept": False} == json.loads(before.stdout)
    notes = told["resources"]["notes"]
    assert (notes["known"], notes["in_doubt"], notes["whole"]) == (6, 1, False)
    assert notes["private"]
    assert told["resources"]["patients"]["whole"]
    assert told["revoked"] == ["Dr Ames"]
    assert told["ids"] == 1
    assert sorted(line.split()[3] for line in told["writes"]) == sorted(["4", str(left.lost)])
    assert all(line.startswith("lost: ") for line in told["writes"])
    again = left.rebuild()
    assert again.returncode == 1
    assert "the database is not empty" in again.stderr
    text = left.rebuild("--check").stdout
    assert "lacking: passwords" in text
    assert "notes: 6 known" in text

    settings = Settings(upstream="http://127.0.0.1:1", data=left.data, unverified="serve", unproven="serve")
    contract, engine = Contract.load("hosp"), open_engine(settings)
    standby = Standby(contract, engine, settings)
    strict = Standby(contract, engine, Settings(upstream="http://127.0.0.1:1", data=left.data))
    strict.refresh()

    def asked(of: Standby, path: str, user: str) -> Answer | DontKnow:
        match = contract.match("GET", path)
        request = Request("GET", path, [("Accept", "application/json")], host="hosp.test")
        rewritten = of.rewritten(match, request)
        return of.answer(rewritten.match, rewritten.request, user)

    def title(path: str, user: str = "Dr Holt") -> str | None:
        answer = asked(standby, path, user)
        return str(json.loads(answer.body)["title"]) if isinstance(answer, Answer) and answer.status == 200 else None

    assert title("/notes/1") == "note 1"
    assert title("/notes/2") == "changed"
    assert title("/notes/7") == "made"
    assert title(f"/notes/{left.real}") == title(f"/notes/{left.settled}") == "settled"
    assert title("/notes/3") is None  # it was deleted
    assert title("/notes/4") is None  # its user was told of a change that is lost
    assert title("/notes/6") == "note 6"
    assert title("/notes/6", "Dr Ames") is None
    assert isinstance(asked(standby, "/notes", "Dr Holt"), DontKnow)  # one that was promised is not in it
    assert asked(strict, "/patients/1", "Dr Holt") == DontKnow("unverified")
    assert standby.is_revoked("Dr Ames") or (standby.refresh(), standby.is_revoked("Dr Ames"))[1]
    for each in (standby, strict):
        each.close()
    engine.dispose()


def test_ids_go_on_above_those_that_were_given_out_also_without_a_mark(left: Disaster) -> None:
    if not (left.data / "understudy.db").exists():
        assert left.rebuild().returncode == 0
    with Upstream() as upstream:
        upstream.state.notes[1] = {"id": 1, **note("note 1")}
        upstream.state.patients[1] = {"id": 1, "name": "Rex"}
        with Sidecar(upstream.url, left.data, evidence=None) as side:
            assert side.ask("GET", "/patients", HOLT).status == 200
            assert side.ask("GET", "/notes", HOLT).status == 200
            upstream.stop()
            assert _accepted(side, "new") > left.lost


def test_an_answer_over_which_pending_writes_were_laid_is_not_told_as_the_upstreams(tmp_path: Path) -> None:
    with Upstream() as upstream:
        upstream.state.notes[1] = {"id": 1, **note("note 1")}
        upstream.state.patients[1] = {"id": 1, "name": "Rex"}
        with Sidecar(upstream.url, tmp_path / "data") as side:
            for path in ("/patients", "/notes"):
                assert side.ask("GET", path, HOLT).status == 200
            upstream.fault("hang", "/notes", method="POST", times=100)
            upstream.stop()
            _accepted(side, "pending")
            upstream.start()
            got = side.ask("GET", "/notes", HOLT)
            upstream.heal()
        assert {row["title"] for row in got.json()} == {"note 1", "pending"}
        shown = [
            event["understudy"].get("shows")
            for event in side.events(path="/notes")
            if event["event"]["action"] == "list"
        ]
    assert "whole" in shown
    assert shown[-1] is None
