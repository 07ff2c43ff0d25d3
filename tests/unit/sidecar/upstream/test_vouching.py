"""Only an answer that must have looked at the credentials proves them."""

from __future__ import annotations

import pytest

from sidecar.contract import Contract
from sidecar.http.messages import Headers, Request, Response
from sidecar.upstream.vouching import vouches

HOSP = Contract.load("hosp")
JSON = [("Content-Type", "application/json; charset=utf-8")]
LIMIT = 1 << 20


def said(method: str, target: str, status: int, body: bytes, headers: Headers = JSON) -> bool:
    endpoint = HOSP.match(method, target).endpoint
    assert endpoint is not None
    return vouches(HOSP, endpoint, Request(method, target, []), Response(status, list(headers), body), LIMIT)


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        ("GET", "/patients/7", 200, b'{"id":7}'),
        ("GET", "/patients", 200, b"[]"),
        ("POST", "/notes", 201, b'{"id":9,"title":"t"}'),
        ("POST", "/patients/7/screen", 200, b'{"overall":1,"results":[]}'),
    ],
)
def test_a_whole_answer_that_fits_proves(method: str, target: str, status: int, body: bytes) -> None:
    assert said(method, target, status, body)


@pytest.mark.parametrize(
    ("method", "target", "status", "body", "headers"),
    [
        ("GET", "/patients/7", 301, b"", [("Location", "https://hosp/patients/7")]),
        ("GET", "/patients/7", 302, b'{"id":7}', JSON),
        ("GET", "/patients/7", 304, b"", JSON),
        ("GET", "/patients/7", 404, b'{"id":7}', JSON),
        ("DELETE", "/notes/7", 204, b"", JSON),
        ("GET", "/patients/7", 206, b'{"id":7}', JSON),
        ("GET", "/patients/7", 200, b"", JSON),
        ("HEAD", "/patients/7", 200, b"", JSON),
        ("GET", "/patients/7", 200, b"<html>Back soon</html>", [("Content-Type", "text/html")]),
        ("GET", "/patients/7", 200, b'{"id":7}', [("Content-Type", "text/html; charset=utf-8")]),
        ("GET", "/patients/7", 200, b'{"id":7}', []),
        ("GET", "/patients/7", 200, b'{"error":"Please sign in"}', JSON),
        ("GET", "/patients/7", 200, b"[]", JSON),
        ("GET", "/patients", 200, b'["maintenance"]', JSON),
        ("GET", "/patients/7", 200, b'{"id":7}', [*JSON, ("Age", "3")]),
        ("GET", "/", 200, b"{}", JSON),
        ("PATCH", "/staffs/7", 200, b'{"id":7,"name":"A"}', JSON),
    ],
    ids=[
        "redirect", "redirect with a record", "304", "404", "204", "206", "empty", "HEAD", "page", "page with JSON",
        "no type", "error with 200", "list for a record", "list of words", "of a cache", "public", "sets a password",
    ],
)  # fmt: skip
def test_nothing_else_does(method: str, target: str, status: int, body: bytes, headers: Headers) -> None:
    assert not said(method, target, status, body, headers)
