"""The audit as CEF and as syslog: whatever stands in a field, a line is one line and says what was said."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.audit.proof import audit_export
from sidecar.events import audit_entries
from sidecar.events.cef import to_cef
from sidecar.events.store import NOTHING_RECORDED
from sidecar.events.syslog import to_syslog
from sidecar.journal.writer import Journal
from sidecar.settings import Settings
from sidecar.timeunits import to_rfc3339
from tests.support.dashboard import seed
from tests.support.siem import read_cef, read_syslog

NOON = 1_800_000_000_123_456_789
HOSTILE = 'Eve|CEF:0|x|y|\\ suser=Dr Holt\r\nact=read\n\\n]" \u2028 end\\'


def made(at: int = NOON, kind: str = "patient", **given: Any) -> dict[str, Any]:
    given = {"status": 200, "outcome": "success", "answered_by": "upstream", "user": "Dr Holt", **given}
    event, _ = seed.event(at, random.Random(1), kind=kind, **given)
    return event


def test_an_exchange_says_who_did_what_to_whom_and_how_it_ended() -> None:
    found = read_cef(to_cef(made(kind="note", patient="17", address="10.20.0.7", agent="curl/8"), "1.2.3"))
    assert found.head == ["CEF:0", "Understudy", "Understudy", "1.2.3", "notes.read", "GET /notes/{id}", "1"]
    wanted = {
        "rt": "1800000000123", "suser": "Dr Holt", "src": "10.20.0.7", "act": "read", "outcome": "success",
        "cat": "api",
        "requestMethod": "GET", "requestClientApplication": "curl/8", "cn1": "200", "cn1Label": "HTTP status",
        "cs1": "17", "cs1Label": "Patient", "cs2Label": "Record", "cs3": "upstream", "cs3Label": "Answered by",
        "dvchost": "ward", "app": "HTTP",
    }  # fmt: skip
    assert {key: found.fields.get(key) for key in wanted} == wanted
    assert found.fields["cs2"] == found.fields["request"].removeprefix("/")


def test_hostile_words_stay_words() -> None:
    event = made(user=HOSTILE, path=f"/notes/{HOSTILE}", agent=HOSTILE, patient=HOSTILE)
    event["understudy"] |= {"endpoint": HOSTILE, "endpoint_id": HOSTILE, "reason": HOSTILE, "break_glass": HOSTILE}
    event["service"]["node"]["name"] = HOSTILE
    line = to_cef(event, "1|2")
    assert len(line.splitlines()) == 1
    found = read_cef(line)
    said = HOSTILE.replace("\u2028", " ").replace("\r\n", "\n")
    assert [found.fields[key] for key in ("suser", "cs1", "reason", "requestClientApplication")] == [said] * 4
    assert found.fields["act"] == "read"
    assert found.head[3:7] == ["1|2", *[HOSTILE.replace("\u2028", " ").replace("\r", " ").replace("\n", " ")] * 2, "7"]
    message = to_syslog(event, '1"]2')
    assert len(message.splitlines()) == 1
    told = read_syslog(message)
    assert told["text"] == line.replace("1\\|2", '1"]2')
    assert "?" in told["host"]


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_said_can_be_read_back(user: str, agent: str) -> None:
    event = made(user=user or "x", agent=agent, patient="17")
    found = read_cef(read_syslog(to_syslog(event, "1"))["text"])
    assert {"rt", "externalId", "cs1", "cs6Label"} <= found.fields.keys()
    assert found.fields["cs1"] == "17"


@pytest.mark.parametrize(
    ("given", "severity"),
    [
        ({}, 1),
        ({"kind": "update"}, 3),
        ({"status": 503, "outcome": "failure"}, 4),
        ({"status": 401}, 5),
        ({"status": 403, "verdict": "deny"}, 6),
    ],
)
def test_the_more_an_auditor_should_look_the_higher(given: dict[str, Any], severity: int) -> None:
    assert read_cef(to_cef(made(**given), "1")).head[6] == str(severity)


def test_ipv6_has_a_key_of_its_own_and_nobody_none() -> None:
    found = read_cef(to_cef(made(user=None, address="2001:db8::7"), "1")).fields
    assert ("src" in found, "suser" in found) == (False, False)
    assert (found["c6a2"], found["c6a2Label"]) == ("2001:db8::7", "Source IPv6 Address")


def test_values_are_cut_at_the_dictionarys_lengths() -> None:
    found = read_cef(to_cef(made(path="/" + "=" * 5000, agent="y" * 5000), "1")).fields
    assert (len(found["request"]), len(found["requestClientApplication"])) == (1023, 1023)


def test_syslog_says_audit_its_time_in_microseconds_and_its_source() -> None:
    told = read_syslog(to_syslog(made(kind="note"), "1.2.3"))
    assert (told["pri"], told["host"], told["app"], told["id"]) == ("110", "ward", "understudy", "notes.read")
    assert told["time"] == "2027-01-15T08:00:00.123456Z"
    assert told["data"] == '[origin software="Understudy" swVersion="1.2.3"]'


def export(data: Path, *words: str) -> Result:
    return CliRunner().invoke(audit_export, words, obj=Settings(data=data, node="ward"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of two people and two patients, and a deed about one of them."""
    data = tmp_path_factory.mktemp("export")
    journal = Journal(data / "journal", "ward", "1")
    for day in range(3):
        for user, patient in (("Dr Holt", "17"), ("Dr Ames", "18")):
            journal.append(made(NOON + day * seed.DAY, user=user, patient=patient)).wait(5)
    journal.close()
    audit_entries.record(Settings(data=data, node="ward"), "hold", "Ms Pell", "a\ncomplaint", user="Dr Ames")
    return data


@pytest.mark.parametrize(
    ("words", "who"),
    [
        ((), ["Dr Holt", "Dr Ames"] * 3 + ["Ms Pell"]),
        (("--user", "Dr Holt"), ["Dr Holt"] * 3),
        (("--user", "Dr Ames"), ["Dr Ames"] * 3 + ["Ms Pell"]),
        (("--patient", "18"), ["Dr Ames"] * 3),
        (("--patient", "17", "--to", to_rfc3339(NOON + 2 * seed.DAY)), ["Dr Holt"] * 2),
        (("--from", to_rfc3339(NOON + 2 * seed.DAY), "--to", to_rfc3339(NOON + 3 * seed.DAY)), ["Dr Holt", "Dr Ames"]),
        (("--user", "Nobody"), []),
    ],
)
def test_the_command_writes_what_was_chosen(data: Path, words: tuple[str, ...], who: list[str]) -> None:
    as_json = export(data, "--format", "json", *words)
    assert [json.loads(line)["user"]["name"] for line in as_json.stdout.splitlines()] == who
    as_cef = export(data, "--format", "cef", *words)
    assert [read_cef(line).fields["suser"] for line in as_cef.stdout.splitlines()] == who
    as_syslog = export(data, "--format", "syslog", *words)
    assert [read_cef(read_syslog(line)["text"]).fields["suser"] for line in as_syslog.stdout.splitlines()] == who
    assert {as_json.exit_code, as_cef.exit_code, as_syslog.exit_code} == {0}


@pytest.mark.parametrize("form", ["journal", "json"])
def test_where_nothing_was_ever_recorded_is_no_empty_trail(tmp_path: Path, form: str) -> None:
    told = export(tmp_path, "--format", form)
    assert (told.exit_code, told.stdout_bytes) == (1, b"")
    assert str(told.exception) == f"{tmp_path}: {NOTHING_RECORDED}"


def test_a_deed_says_who_did_it_to_whom_and_why(data: Path) -> None:
    (line,) = [line for line in export(data, "--format", "cef").stdout.splitlines() if "Ms Pell" in line]
    found = read_cef(line)
    assert (found.head[4], found.head[6]) == ("audit.hold", "7")
    assert [found.fields[key] for key in ("suser", "cs2", "reason")] == ["Ms Pell", "Dr Ames", "a\ncomplaint"]


def test_a_part_of_the_journal_is_refused_as_a_proof(data: Path) -> None:
    done = export(data, "--user", "Dr Holt")
    assert (done.exit_code, "proves nothing" in done.output) == (2, True)
    wrong = export(data, "--format", "cef", "--from", "yesterday")
    assert (wrong.exit_code, "--from: expected" in wrong.output) == (2, True)
