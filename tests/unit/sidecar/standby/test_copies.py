"""What a record shows of others, and what a deletion takes with it, is known no more once it may have changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

import sidecar
from sidecar import app
from sidecar.contract import Contract, ContractError, Resource
from sidecar.standby import knowledge
from sidecar.standby.answer import Answer
from sidecar.standby.copies import answer_may_show_others, may_show_others
from sidecar.standby.observations import RecordSeen
from sidecar.standby.tables import DOUBT, records
from sidecar.storage.database import open_memory
from sidecar.storage.encryption import VAULT, Vault
from tests.support.gateway import InProcess
from tests.support.tables import lay
from tests.support.upstream import AMES, HOLT

HOSP = Contract.load("hosp")
NOTES = HOSP.resources["notes"]
NOTE: dict[str, Any] = {
    "id": 1, "title": "Limps", "body": "", "patient_id": 3, "staff_id": 2, "created_at": "2026", "updated_at": "2026",
    "url": "http://h/notes/1.json",
}  # fmt: skip


def written(folder: Path, **schema: Any) -> Contract:
    """The shipped contract, with more said of a note."""
    document = yaml.safe_load((Path(sidecar.__file__).parent / "contracts/hosp.yaml").read_text())
    note = document["components"]["schemas"]["Note"]
    note["properties"] |= schema.pop("properties", {})
    note |= schema
    (folder / "contract.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return Contract.load(str(folder / "contract.yaml"))


def test_what_writes_set_and_what_tells_the_record_is_its_own() -> None:
    assert may_show_others(NOTES, NOTE) is None
    assert not answer_may_show_others(NOTES, Answer(200, [], json.dumps([NOTE, NOTE]).encode()))


@pytest.mark.parametrize(
    "more", [{"patient_name": "Rex"}, {"visits_count": 3}, {"patient": {"name": "Rex"}}, {"body": ["Limps"]}]
)
def test_any_other_field_may_be_a_copy_or_a_count(more: dict[str, Any]) -> None:
    assert may_show_others(NOTES, NOTE | more) == next(iter(more))
    assert answer_may_show_others(NOTES, Answer(200, [], json.dumps([NOTE, NOTE | more]).encode()))


@pytest.mark.parametrize("body", [b"<p>Limps</p>", b"[1]", b'"Limps"'])
def test_what_cannot_be_read_may_show_anything_but_a_refusal_shows_none(body: bytes) -> None:
    assert answer_may_show_others(NOTES, Answer(200, [], body))
    assert not answer_may_show_others(NOTES, Answer(404, [], body))


def test_the_contract_may_declare_a_field_to_be_the_records_own(tmp_path: Path) -> None:
    tags = {"tags": {"type": "array"}, "ward": {"type": "string"}}
    notes = written(tmp_path, **{"properties": tags, "x-understudy-own": ["tags"]}).resources["notes"]
    assert may_show_others(notes, NOTE | {"tags": ["a"]}) is None
    assert may_show_others(notes, NOTE | {"ward": "3"}) == "ward"
    with pytest.raises(ContractError, match="x-understudy-own.*tag"):
        written(tmp_path, **{"x-understudy-own": ["tag"]})


@given(st.sets(st.sampled_from(["name", "kind", "made"])))
def test_of_what_nobody_says_how_it_is_written_all_that_is_not_only_read_is_its_own(read_only: set[str]) -> None:
    own = frozenset({"id", "name", "kind", "made"} - read_only)
    shown = may_show_others(Resource("pets", own=own), {"id": 1, "name": "Rex", "kind": "dog", "made": "2026"})
    assert (shown is None) == (not read_only)


def test_a_deletions_doubt_goes_as_far_as_references_do() -> None:
    """Hospital 1 has patient 3, who has note 1, and patient 5, in doubt already, who has note 4. Note 3 of another
    patient refers to it by a name of no contract."""
    engine = open_memory()
    setattr(engine.dialect, VAULT, Vault())
    lay(engine)
    known = {
        ("patients", "3"): {"id": 3, "hospital_id": 1},
        ("patients", "4"): {"id": 4, "hospital_id": 2},
        ("notes", "1"): {**NOTE, "ward_id": 9},
        ("notes", "2"): {**NOTE, "id": 2, "patient_id": 4, "ward_id": 9},
        ("notes", "3"): {**NOTE, "id": 3, "patient_id": 4, "ward_id": 1},
        ("patients", "5"): {"id": 5, "hospital_id": 1},
        ("notes", "4"): {**NOTE, "id": 4, "patient_id": 5, "ward_id": 9},
    }
    with engine.begin() as connection:
        for (kind, ident), value in known.items():
            knowledge.put_record(connection, RecordSeen(kind, ident, json.dumps(value)), 1)
        knowledge.doubt_record(connection, "patients", "5", 2)
        knowledge.doubt_referrers(connection, HOSP, "hospitals", "1", 3)
        doubted = select(records.c.type, records.c.id).where(records.c.state == DOUBT, records.c.stamp == 3)
        rows = connection.execute(doubted).all()
    engine.dispose()
    assert sorted(map(tuple, rows)) == [
        ("notes", "1"), ("notes", "3"), ("notes", "4"), ("patients", "3"), ("patients", "5"),
    ]  # fmt: skip


def with_copies(gateway: InProcess) -> None:
    """Patient 17 and two notes that show its name, all of it known."""
    gateway.upstream.state.patients[17] = {"id": 17, "name": "Rex"}
    for number in (1, 2):
        note = {"id": number, "title": f"n{number}", "patient_id": 17, "patient_name": "Rex"}
        gateway.upstream.state.notes[number] = note
    for target in ("/patients", "/patients/17", "/notes", "/notes/1", "/notes/2"):
        gateway.knows(target, HOLT)


def test_one_record_that_was_seen_anew_makes_no_list_new(tmp_path: Path) -> None:
    with InProcess(tmp_path) as gateway:
        with_copies(gateway)
        assert gateway.ask("PATCH", "/patients/17", HOLT, {"name": "Max"}).status == 200
        for note in gateway.upstream.state.notes.values():
            note["patient_name"] = "Max"
        assert gateway.down("/notes/2", HOLT).status == 503
        assert gateway.knows("/notes/1", HOLT).json()["patient_name"] == "Max"
        gateway.ask("GET", "/notes/1", AMES)
        assert gateway.down("/notes", HOLT).json()["reason"] == "in_doubt", "of note 2 an old name is known"
        assert [note["patient_name"] for note in gateway.knows("/notes", HOLT).json()] == ["Max", "Max"]


def test_a_copy_is_in_doubt_while_a_write_waits_in_the_outbox(tmp_path: Path) -> None:
    with InProcess(tmp_path) as gateway:
        with_copies(gateway)
        assert gateway.down("/notes/1", HOLT).status == gateway.down("/notes", HOLT).status == 200
        app._running[-1].switchboard.takeover("patients.update", "operator")  # nothing is sent, nor begun to be
        assert gateway.ask("PATCH", "/patients/17", HOLT, {"name": "Max"}).json()["name"] == "Max"
        assert gateway.down("/notes/1", HOLT).status == gateway.down("/notes", HOLT).status == 503
