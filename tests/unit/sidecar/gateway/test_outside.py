"""What a request may do that its first line does not say."""

from __future__ import annotations

import pytest

from sidecar.exchange import Attempt, Outcome
from sidecar.gateway.outside import AmbiguousMethod, may_have_changed, method_meant
from sidecar.http.messages import Request, Response

FORM = ("Content-Type", "application/x-www-form-urlencoded")
PARTS = b'--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\ndelete\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "meant"),
    [
        ("POST", "/notes/5", [], b"", "POST"),
        ("GET", "/notes/5", [], b"", "GET"),
        ("POST", "/notes/5", [("X-HTTP-Method-Override", "delete")], b"", "DELETE"),
        ("POST", "/notes/5", [("X-HTTP-Method-Override", "POST")], b"", "POST"),
        ("POST", "/notes/5", [FORM], b"a=b&_method=patch", "PATCH"),
        ("POST", "/notes/5", [FORM], b"%5fmethod=PUT", "PUT"),
        ("POST", "/notes/5", [("Content-Type", "multipart/form-data; boundary=b")], PARTS, "DELETE"),
        ("POST", "/notes", [("Content-Type", "application/json")], b'{"_method":"delete"}', "POST"),
    ],
)
def test_the_method_is_the_one_that_the_upstream_acts_on(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes, meant: str
) -> None:
    assert method_meant(Request(method, target, headers, body)) == meant


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("POST", "/notes", [("X-HTTP-Method-Override", "GET")], b""),
        ("POST", "/notes?_method=delete", [], b""),
        ("GET", "/notes?_method=delete", [], b""),
        ("GET", "/notes/5", [("X-Method-Override", "DELETE")], b""),
        ("POST", "/notes/5", [("X-HTTP-Method-Override", "PUT"), FORM], b"_method=delete"),
        ("POST", "/notes/5", [("X-HTTP-Method-Override", "BREW")], b""),
    ],
)
def test_a_method_over_which_servers_differ_is_refused(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    with pytest.raises(AmbiguousMethod):
        method_meant(Request(method, target, headers, body))


@pytest.mark.parametrize(
    ("method", "outcome", "status", "location", "changed"),
    [
        ("POST", Outcome.SUCCESS, 201, "", True),
        ("POST", Outcome.SUCCESS, 404, "", False),
        ("POST", Outcome.UNKNOWN, 502, "", True),
        ("POST", Outcome.UNKNOWN, 500, "", True),
        ("POST", None, 504, "", True),
        ("POST", None, 503, "", False),
        ("POST", Outcome.FAILURE, 503, "", False),
        ("TRACE", Outcome.SUCCESS, 200, "", False),
        ("GET", Outcome.SUCCESS, 200, "", False),
        ("POST", Outcome.SUCCESS, 302, "http://h/users/sign_in?next=/x", False),
        ("POST", Outcome.SUCCESS, 302, "/login", False),
        ("POST", Outcome.SUCCESS, 302, "/authors/7", True),
        ("POST", Outcome.SUCCESS, 303, "/imports/7", True),
    ],
)
def test_a_write_outside_the_contract_may_have_changed_anything_unless_it_took_no_effect(
    method: str, outcome: Outcome | None, status: int, location: str, changed: bool
) -> None:
    attempts = [] if outcome is None else [Attempt(0, 0, outcome, status)]
    assert may_have_changed(method, attempts, Response(status, [("Location", location)])) is changed
