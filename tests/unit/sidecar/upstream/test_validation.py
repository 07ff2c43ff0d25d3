"""A 200 is not always a success: what an answer is worth by its contract."""

from __future__ import annotations

import gzip

import pytest

from sidecar.contract import Contract
from sidecar.http.messages import Headers, Response
from sidecar.upstream.validation import response_fault

HOSP = Contract.load("hosp")
JSON: Headers = [("Content-Type", "application/json; charset=utf-8")]
NOTE = b'{"id": 1, "title": "a", "patient_id": 17}'


def fault(
    endpoint: str | None, status: int, body: bytes = b"", headers: Headers = JSON, method: str = ""
) -> str | None:
    declared = HOSP.endpoints[endpoint] if endpoint else None
    asked = method or (declared.method if declared else "GET")
    return response_fault(declared, asked, Response(status, headers, body), 1000)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("endpoint", ["notes.read", "notes.create", None])
def test_a_failure_is_one_with_and_without_a_contract(endpoint: str | None, status: int) -> None:
    assert fault(endpoint, status, b"{}") == "status"


@pytest.mark.parametrize("status", [301, 304, 400, 401, 403, 404, 409, 422, 429])
def test_other_statuses_are_the_upstreams_word(status: int) -> None:
    assert fault("notes.read", status, b"<html>") is None


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        ("notes.list", b"[]", None),
        ("notes.list", b"{}", "wrong_shape"),
        ("notes.list", b"[", "invalid_json"),
        ("notes.list", b"", "invalid_json"),
        ("notes.read", b"[]", "wrong_shape"),
        ("notes.read", b"null", "wrong_shape"),
        ("notes.read", b'{"title": "without its id"}', "wrong_shape"),
        ("notes.read", b"NaN", "invalid_json"),
        ("notes.read", b"\xff", "invalid_json"),
        ("notes.delete", b"", None),
        ("status", b"<html>anything", None),
    ],
)
def test_a_success_has_the_shape_of_its_contract(endpoint: str, body: bytes, expected: str | None) -> None:
    headers = JSON if endpoint != "status" else [("Content-Type", "text/html")]
    assert fault(endpoint, 200, body, headers) == expected


def test_a_whole_record_is_one_also_when_it_is_compressed() -> None:
    required = dict.fromkeys(HOSP.endpoints["notes.read"].required, 1)
    body = str(required).replace("'", '"').encode()
    assert fault("notes.read", 200, body) is None
    assert fault("notes.read", 200, gzip.compress(body), [*JSON, ("Content-Encoding", "gzip")]) is None
    assert fault("notes.read", 200, body, [*JSON, ("Content-Encoding", "gzip")]) == "invalid_json"
    bomb = gzip.compress(b" " * 100_000 + body)
    assert fault("notes.read", 200, bomb, [*JSON, ("Content-Encoding", "gzip")]) == "invalid_json"


def test_what_has_no_body_has_no_shape() -> None:
    assert fault("notes.read", 200, b"", method="HEAD") is None
    assert fault("notes.update", 204) is None
    assert fault(None, 200, b"<html>") is None


def test_an_error_page_in_html_is_no_record() -> None:
    assert fault("notes.read", 200, b"", [("Content-Type", "")]) is None, "nothing was said of its type, and no body"
    assert fault("notes.read", 200, b"<html>", []) == "invalid_json"
