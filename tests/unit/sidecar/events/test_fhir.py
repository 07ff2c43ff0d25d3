"""Events as FHIR AuditEvents: valid by the models of fhir.resources, and by what BALP's profiles ask for."""

from __future__ import annotations

import random
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fhir.resources.R4B.auditevent import AuditEvent

from sidecar.cli.audit.proof import audit_export
from sidecar.events import trail
from sidecar.events.fhir import to_audit_event
from sidecar.journal.writer import Journal
from sidecar.settings import Settings
from tests.support.dashboard import seed

NOON = 1_800_000_000_000_000_000


def made(kind: str, **given: Any) -> dict[str, Any]:
    given = {"status": 200, "outcome": "success", "answered_by": "upstream", **given}
    event, _ = seed.event(NOON, random.Random(1), kind="update" if kind == "delete" else kind, user="Dr Holt", **given)
    event["event"]["action"] = kind if kind == "delete" else event["event"]["action"]
    found = to_audit_event(event, "HOSP")
    AuditEvent.model_validate(found)  # raises for what is no AuditEvent
    return found


def codes(found: dict[str, Any], part: str) -> list[str]:
    return [each["type"].get("code") or each["type"]["coding"][0]["code"] for each in found[part]]


@pytest.mark.parametrize(
    ("kind", "profile", "action", "interaction", "agents"),
    [
        ("patient", "PatientRead", "R", "read", ["110152", "110153", "IRCP"]),
        ("notes", "PatientQuery", "E", "search-type", ["110153", "110152", "IRCP"]),
        ("patients", "Query", "E", "search-type", ["110153", "110152", "IRCP"]),
        ("create", "PatientCreate", "C", "create", ["110153", "110152", "AUT"]),
        ("update", "PatientUpdate", "U", "update", ["110153", "110152", "AUT"]),
        ("delete", "PatientDelete", "D", "delete", ["110150", "custodian", "AUT"]),
    ],
)
def test_each_action_has_its_profile(kind: str, profile: str, action: str, interaction: str, agents: list[str]) -> None:
    found = made(kind, **({} if kind == "patients" else {"patient": "17"}))
    assert found["meta"]["profile"] == [
        f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{profile}"
    ]
    assert (found["action"], found["subtype"][0]["code"], found["outcome"]) == (action, interaction, "0")
    assert codes(found, "agent") == agents
    assert [agent["requestor"] for agent in found["agent"]] == [False, False, True]
    assert all("network" in agent for agent in found["agent"][:2])
    patient = [] if kind == "patients" else ["1"]
    assert codes(found, "entity") == ["XrequestId", *patient, "2"]
    assert found["entity"][0]["what"]["identifier"]["value"]


def test_a_query_holds_what_was_asked_and_names_no_record() -> None:
    asked = made("notes", patient="17", path="/notes", query="patient_id=17")["entity"][-1]
    assert b64decode(asked["query"]).decode() == asked["description"] == "GET /notes?patient_id=17"
    assert "what" not in asked


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"status": 403}, "4"),
        ({"status": 502, "outcome": "failure"}, "8"),
        ({"outcome": "unknown"}, None),
        ({"status": 499, "outcome": "unknown"}, None),
        ({"address": None}, "0"),
    ],
)
def test_what_failed_or_is_not_known_claims_no_profile(given: dict[str, Any], outcome: str | None) -> None:
    found = made("patient", patient="17", **given)
    assert found.get("outcome") == outcome
    assert "meta" not in found


def test_break_glass_is_the_purpose_of_use() -> None:
    event, _ = seed.event(NOON, random.Random(1), kind="patient", user="Nurse Tan", patient="17")
    event["understudy"]["break_glass"] = "0190-1"
    found = to_audit_event(event, "HOSP")
    AuditEvent.model_validate(found)
    assert found["agent"][2]["purposeOfUse"][0]["coding"][0]["code"] == "BTG"


def test_who_did_not_sign_in_is_nobody() -> None:
    event, _ = seed.event(NOON, random.Random(1), kind="patient", user=None, patient="17")
    assert codes(to_audit_event(event, "HOSP"), "agent") == ["110152", "110153"]


def test_the_command_writes_the_journal_and_what_outlived_it_once_each(tmp_path: Path) -> None:
    dice = random.Random(1)
    journal = Journal(tmp_path / "journal", "ward", "1")
    events = [seed.event(NOON + n, dice, kind="patient", user="Dr Holt", patient="17")[0] for n in range(3)]
    for event in events:
        journal.append(event).wait(5)
    journal.close()
    (segment,) = (tmp_path / "journal").glob("*.jsonl")
    for _ in ("the journal", "the trail"):
        done = CliRunner().invoke(audit_export, ["--format", "fhir"], obj=Settings(data=tmp_path))
        assert done.exit_code == 0, done.output
        found = [AuditEvent.model_validate_json(line) for line in done.stdout_bytes.splitlines()]
        assert [each.id for each in found] == [event["event"]["id"] for event in events]
        if segment.exists():
            trail.keep(segment, tmp_path / trail.FOLDER)
            segment.unlink()
    (kept,) = (tmp_path / trail.FOLDER).iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:40], whole[:30] + bytes([whole[30] ^ 1]) + whole[31:], b"no gzip"):
        kept.write_bytes(damaged)
        cut = CliRunner().invoke(audit_export, ["--format", "fhir"], obj=Settings(data=tmp_path))
        assert (cut.exit_code, "is damaged" in cut.output) == (1, True)


def test_whichever_byte_of_the_trail_is_damaged_nothing_but_what_was_written_is_told(tmp_path: Path) -> None:
    dice, journal = random.Random(2), Journal(tmp_path / "journal", "ward", "1")
    for n in range(3):
        journal.append(seed.event(NOON + n, dice, kind="patient", user="Dr Holt", patient="17")[0]).wait(5)
    journal.close()
    trail.keep(next((tmp_path / "journal").glob("*.jsonl")), tmp_path / trail.FOLDER)
    (kept,) = (tmp_path / trail.FOLDER).iterdir()
    whole, told = kept.read_bytes(), list(trail.read(kept))
    assert len(told) == 3
    for at in range(10, len(whole)):  # before that stands when, and on what, it was packed
        kept.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        read: list[object] = []
        try:
            read.extend(trail.read(kept))
        except trail.DamagedTrail:
            assert read == []
        else:  # a bit that says nothing, or the same words copied from elsewhere
            assert read == told
