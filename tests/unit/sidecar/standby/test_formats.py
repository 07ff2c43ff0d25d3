"""Nobody is given JSON who would get a page: by what a format is chosen is learned as it is seen, not guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.clock import stamp
from sidecar.contract import Contract
from sidecar.http.messages import Request, Response
from sidecar.settings import load_settings
from sidecar.standby import queries
from sidecar.standby.answer import Answer, DontKnow, format_wanted
from sidecar.standby.comparing import MOST_FORMATS
from sidecar.standby.standby import Standby
from sidecar.storage.database import open_engine
from tests.support.tables import lay

HOSP = Contract.load("hosp")
JSON = "application/json"
AXIOS = "application/json, text/plain, */*"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[Standby]:
    settings = load_settings({"UNDERSTUDY_DATA": str(tmp_path), "UNDERSTUDY_PARITY_SAMPLE": "0"})
    engine = open_engine(settings)
    lay(engine)
    standby = Standby(HOSP, engine, settings)
    yield standby
    standby.close()


def asked(number: int, accept: str | None, spelled: str = "") -> Request:
    return Request("GET", f"/notes/{number}{spelled}", [] if accept is None else [("Accept", accept)], host="h")


def learn(
    standby: Standby, number: int, accept: str | None, kind: str = JSON, spelled: str = "", title: str = "",
    status: int = 200,
) -> None:  # fmt: skip
    note = {
        "id": number, "title": title or f"Note {number}", "body": "Limps", "patient_id": 1, "staff_id": 1,
        "created_at": "2024-01-01T00:00:00.000Z", "updated_at": "2024-01-01T00:00:00.000Z",
        "url": f"http://h/notes/{number}.json",
    }  # fmt: skip
    body = json.dumps(note).encode() if kind == JSON else b"<!DOCTYPE html><h1>Note</h1>"
    request = asked(number, accept, spelled)
    standby.learn(
        HOSP.match("GET", request.path),
        request,
        Response(status, [("Content-Type", kind)], body),
        "Ann",
        stamp(),
    )
    standby.flush()


def answered(standby: Standby, number: int, accept: str | None, spelled: str = "") -> Answer | DontKnow:
    request = asked(number, accept, spelled)
    return standby.answer(HOSP.match("GET", request.path), request, "Ann")


@pytest.mark.parametrize("accept", ["*/*", None, AXIOS])
def test_json_goes_to_who_was_seen_to_get_it(standby: Standby, accept: str | None) -> None:
    learn(standby, 1, JSON)
    assert isinstance(answered(standby, 1, JSON), Answer)
    assert isinstance(answered(standby, 1, accept), DontKnow)
    learn(standby, 2, accept)
    assert isinstance(answered(standby, 1, accept), Answer)


@pytest.mark.parametrize("accept", ["*/*", None, AXIOS])
def test_a_page_for_who_asks_so_ends_it_for_them_alone(standby: Standby, accept: str | None) -> None:
    learn(standby, 1, JSON)
    learn(standby, 2, accept)
    learn(standby, 3, accept, "text/html; charset=utf-8")
    assert isinstance(answered(standby, 1, accept), DontKnow)
    assert isinstance(answered(standby, 1, JSON), Answer)


def test_a_browser_is_never_told_what_others_were_told_in_json(standby: Standby) -> None:
    learn(standby, 1, JSON)
    learn(standby, 2, BROWSER, "text/html")
    assert isinstance(answered(standby, 1, BROWSER), DontKnow)


@pytest.mark.parametrize("spelled", [".json", "/"])
def test_another_spelling_is_answered_where_it_was_seen_to_mean_the_same(standby: Standby, spelled: str) -> None:
    learn(standby, 1, JSON)
    learn(standby, 2, JSON)
    assert isinstance(answered(standby, 1, JSON, spelled), DontKnow)
    for _ in range(2):  # it may be another thing: it does not prove itself, nor is it told to others
        learn(standby, 2, JSON, spelled=spelled, title="Another")
        assert isinstance(answered(standby, 1, JSON, spelled), DontKnow)
    kept = answered(standby, 2, JSON)
    assert isinstance(kept, Answer)
    assert b"Another" not in kept.body
    learn(standby, 2, JSON, spelled=spelled)
    assert isinstance(answered(standby, 1, JSON, spelled), Answer)


def test_that_nothing_is_there_by_another_spelling_says_nothing_of_the_record(standby: Standby) -> None:
    learn(standby, 1, JSON)
    learn(standby, 1, JSON, spelled=".json", status=404)
    assert isinstance(answered(standby, 1, JSON), Answer)
    learn(standby, 7, JSON, spelled=".json", status=404)
    with standby._reader.connect() as connection, connection.begin():
        assert queries.record(connection, "notes", "7") is None


def test_clients_cannot_fill_the_evidence(standby: Standby) -> None:
    for number in range(MOST_FORMATS + 8):
        learn(standby, number + 1, f"application/json;v={number}, */*")
    rows = standby.evidence()["notes.read"]["derivations"]
    assert sum(name.startswith("format:") for name in rows) == MOST_FORMATS


@pytest.mark.parametrize(
    ("path", "accept", "wanted"),
    [
        ("/notes/1", JSON, None),
        ("/notes/1", "application/json; charset=utf-8", None),
        ("/notes/1.json", JSON, ".json"),
        ("/notes/1/", JSON, "/"),
        ("/notes/1.json/", JSON, ".json/"),
        ("/n%6Ftes/1", JSON, "%"),
        ("/notes.json?patient_id=1", JSON, ".json?"),
        ("/notes?patient_id=1", JSON, None),
        ("/notes/1.json", "text/html", "text/html .json"),
        ("/notes/1", "application/json; version=2", "application/json; version=2"),
        ("/notes/1", "application/json;q=0", "application/json;q=0"),
        ("/notes/1.json", "application/json;version=2", "application/json;version=2 .json"),
        ("/notes/1", None, ""),
        ("/notes/1", "application/json;q=0.5, text/html", "application/json;q=0.5, text/html"),
    ],
)
def test_only_json_alone_by_the_plain_path_leaves_no_choice(path: str, accept: str | None, wanted: str | None) -> None:
    template = "/notes" if path.startswith(("/notes?", "/notes.json")) else "/notes/{id}"
    request = Request("GET", path, [] if accept is None else [("Accept", accept)])
    assert format_wanted(request, template) == wanted
    slashed = format_wanted(request, f"{template}/")
    assert (wanted or "").endswith("/") or slashed != wanted, "a contract may have the slash itself"
