"""A list by one reference is found by an index, and is the one that reading all records gives."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, delete, insert, update

from sidecar.clock import stamp
from sidecar.contract import Contract
from sidecar.http.messages import Request
from sidecar.standby import by_reference, knowledge
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.derivations import MEANINGS, ONE_PAGE, PAGES, PLACES, by_filter
from sidecar.standby.evidence import evidence
from sidecar.standby.observations import RecordSeen
from sidecar.standby.outbox.snapshot import Snapshot
from sidecar.standby.reader import Library
from sidecar.standby.tables import DOUBT, collections, records
from sidecar.storage.database import open_file
from sidecar.storage.encryption import VAULT, Vault
from tests.support.tables import lay

HOSP = Contract.load("hosp")
NOTES = HOSP.resources["notes"]
PATIENTS = (0, 1, 2, 3, 12, 20)
PROVEN = {"agreements": 9, "inputs": "[]", "differences": 0, "difference": None, "refuted": False, "at": 0}


def engine(folder: Path) -> Engine:
    made = open_file(folder / "understudy.db")
    lay(made)
    return made


def put(connection: Any, number: int, patient: Any, by: str = "u") -> None:
    body = {"id": number, "title": "t", "created_at": f"2024-01-01T00:00:{number:02}Z", "patient_id": patient}
    body |= {"staff_id": 1, "updated_at": body["created_at"], "body": "b", "url": f"/notes/{number}.json"}
    seen = RecordSeen("notes", str(number), orjson.dumps(body).decode())
    knowledge.put_record(connection, seen, stamp(), source="list", caller=by)


def prove(connection: Any, chance: random.Random) -> None:
    """Now and then not all of it."""
    filters = [name for name in MEANINGS if chance.random() < 0.85]
    orders = ["order:id up", "order:id down", "order:created_at up", "order:updated_at up", "order:updated_at down"]
    for endpoint, derivation, told in (
        ("notes.list", by_filter("patient_id"), [*filters, *orders]),
        ("notes.read", "missing",
         [*PAGES, *([ONE_PAGE] if chance.random() < 0.5 else [])] if chance.random() < 0.8 else ["page_of_oldest"]),
        *(("notes.read", place, []) for place in PLACES.values() if chance.random() < 0.9),
        *(("notes", of, ["callers_own"]) for of in ("shared", "shared:u", "shared:v")),
    ):  # fmt: skip
        told_apart = orjson.dumps(sorted(told)).decode()
        connection.execute(
            insert(evidence).values(endpoint=endpoint, derivation=derivation, told_apart=told_apart, **PROVEN)
        )


class All(Library):
    """Reads all of them, always."""

    def _narrowed(self, *_: Any, **__: Any) -> None:
        return None


def test_it_is_what_reading_all_records_gives(tmp_path: Path) -> None:
    found = 0
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        found += _compared(tmp_path / str(seed), seed)
    assert found > 6, "most were found by the index"


def _compared(tmp_path: Path, seed: int) -> int:
    """How often the index told."""
    chance, made = random.Random(seed), engine(tmp_path)
    told = {"serve_unverified": True, "proof": 5, "serve_unproven": False}
    quick, slow, narrowed = Library(HOSP, **told), All(HOSP, **told), 0  # type: ignore[arg-type]
    with made.begin() as connection:
        for number in range(1, 30):
            put(connection, number, chance.choice(PATIENTS))
        at = stamp()
        whole = {"complete": True, "stamp": at, "observed": 0, "private": False, "caller": "u", "listed": 1001}
        connection.execute(insert(collections).values(type="notes", **whole))
        prove(connection, chance)
    for _ in range(12):
        with made.begin() as connection:
            what, number = chance.randrange(7), chance.randrange(1, 34)
            if what < 3:
                odd = chance.choice([None, "2", 1.5, True]) if chance.random() < 0.05 else chance.choice(PATIENTS)
                put(connection, number, odd, chance.choice("uv"))
            elif what == 3:
                knowledge.drop_record(connection, "notes", str(number), stamp())
            elif what == 4 and chance.random() < 0.3:
                connection.execute(
                    update(records).where(records.c.id == str(number)).values(state=DOUBT, stamp=stamp())
                )
            elif what == 5:
                connection.execute(delete(records).where(records.c.id == str(number)))
            else:
                by_reference.index_some(connection, HOSP)
        with made.connect() as connection, connection.begin():
            for target, user in (
                ("/notes?patient_id=2", "u"),
                ("/notes?patient_id=9", "v"),
                ("/notes?patient_id=3", "u"),
            ):
                match = HOSP.match("GET", "/notes")
                request = Request("GET", target, [("Accept", "application/json")], host="h")
                ours = quick.answer(connection, match, request, user, Snapshot())
                theirs = slow.answer(connection, match, request, user, Snapshot())
                assert _told(ours) == _told(theirs)
            filters = [("patient_id", "2")]
            endpoint, row = HOSP.endpoints["notes.list"], knowledge.queries.collection(connection, "notes")
            narrowed += quick._narrowed(connection, endpoint, NOTES, row, filters, Snapshot()) is not None
    made.dispose()
    return narrowed


def _told(answer: Answer | DontKnow) -> object:
    return (answer.status, answer.body) if isinstance(answer, Answer) else answer.reason


def test_what_changes_is_out_of_line_until_it_is_indexed_again(tmp_path: Path) -> None:
    made = engine(tmp_path)
    with made.begin() as connection:
        put(connection, 1, 17)
        assert by_reference.is_behind(connection, HOSP)
        assert by_reference.index_some(connection, HOSP) == 1
        assert (by_reference.is_behind(connection, HOSP), by_reference.index_some(connection, HOSP)) == (False, 0)
        put(connection, 1, 18)  # who writes it need not know of the index
        assert [row.id for row in by_reference.referring(connection, NOTES, "patient_id", "18")[0]] == ["1"]  # type: ignore[index]
        by_reference.index_some(connection, HOSP)
        assert [row.id for row in by_reference.referring(connection, NOTES, "patient_id", "18")[0]] == ["1"]  # type: ignore[index]
        assert by_reference.referring(connection, NOTES, "patient_id", "17") == ([], False)
        patient = RecordSeen("patients", "17", '{"id":17,"hospital_id":1}')
        knowledge.put_record(connection, patient, stamp(), caller="u")
        by_reference.index_some(connection, HOSP)
        knowledge.put_record(connection, patient, stamp(), caller="u")
        assert by_reference.referring(connection, NOTES, "patient_id", "17") == ([], False), "no other resource's"
        put(connection, 2, "17")
        assert by_reference.referring(connection, NOTES, "patient_id", "17") is None
    made.dispose()


def test_nothing_is_indexed_where_bodies_are_encrypted(tmp_path: Path) -> None:
    made = engine(tmp_path)
    setattr(made.dialect, VAULT, Vault([b"k" * 32]))
    with made.begin() as connection:
        put(connection, 1, 17)
        assert not by_reference.is_behind(connection, HOSP)
    made.dispose()
