"""What a request may do that its first line does not say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import Attempt, Outcome
from sidecar.gateway.outside import AmbiguousMethod, may_have_changed, method_meant
from sidecar.http.messages import Request, Response
from tests.support.growth import is_linear

FORM = ("Content-Type", "application/x-www-form-urlencoded")
PARTS = b'--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\ndelete\r\n--b--\r\n'
MULTIPART = ("Content-Type", "multipart/form-data; boundary=b")
LOOSE = b"--b\r\nA: b\r\nContent-Disposition: form-data; name=_method; x=y\r\nC: d\r\n\r\nput\r\n--b--\r\n"
PAGE = b"""--b\r
Content-Disposition: form-data; name="page"; filename="a.html"\r
\r
<input type="hidden" name="_method" value="delete">\r
\r
<p>\r
--b--\r
"""


@dataclass
class Pieces:
    """A large body that comes in pieces of a given size."""

    body: bytes
    each: int

    @property
    def size(self) -> int:
        return len(self.body)

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, len(self.body), self.each):
            yield self.body[at : at + self.each]

    def whole(self) -> bytes:
        return self.body


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "meant"),
    [
        ("POST", "/notes/5", [], b"", "POST"),
        ("GET", "/notes/5", [], b"", "GET"),
        ("POST", "/notes/5", [("X-HTTP-Method-Override", "delete")], b"", "DELETE"),
        ("POST", "/notes/5", [("X-HTTP-Method-Override", "POST")], b"", "POST"),
        ("POST", "/notes/5", [FORM], b"a=b&_method=patch", "PATCH"),
        ("POST", "/notes/5", [FORM], b"%5fmethod=PUT", "PUT"),
        ("POST", "/notes/5", [MULTIPART], PARTS, "DELETE"),
        ("POST", "/notes/5", [("Content-Type", 'multipart/form-data; a=c; Boundary="b" ; d=e')], PARTS, "DELETE"),
        ("POST", "/notes/5", [MULTIPART], LOOSE, "PUT"),
        ("POST", "/notes/5", [MULTIPART], PAGE, "POST"),
        ("POST", "/notes/5", [MULTIPART], PAGE.replace(b"b--", b"b") + PARTS[5:], "DELETE"),
        ("POST", "/notes/5", [MULTIPART], PARTS.replace(b"_method", b"_method_of_payment"), "POST"),
        ("POST", "/notes/5", [("Content-Type", "multipart/form-data")], PARTS.replace(b"_method", b"a"), "POST"),
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
        ("POST", "/notes/5", [FORM], b"_method"),
        ("POST", "/notes/5", [FORM], b"_method=delete&_method=put"),
        ("POST", "/notes/5", [FORM], b"_method=delete" + b"+" * 2000 + b"x"),
        ("POST", "/notes/5", [("Content-Type", "multipart/form-data")], PARTS),
        ("POST", "/notes/5", [("Content-Type", "multipart/form-data; boundary=a; boundary=b")], PARTS),
        ("POST", "/notes/5", [MULTIPART], PARTS.replace(b"\r\n\r\n", b"\n\n")),
        ("POST", "/notes/5", [MULTIPART], PARTS.replace(b"delete", b"delete\r\nput")),
        ("POST", "/notes/5", [MULTIPART], PARTS.replace(b"delete", b"delete" + b" " * 2000 + b"x")),
        ("POST", "/notes/5", [MULTIPART], b"--b\r\n\r\n\r\n" * 5000 + PARTS),
    ],
)
def test_a_method_over_which_servers_differ_is_refused(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    with pytest.raises(AmbiguousMethod):
        method_meant(Request(method, target, headers, body))


SPELT = st.sampled_from(["_method", "%5fmethod", "_%6Dethod", "%5F%6d%65%74%68%6F%64", "method", "_methods", "_"])
GIVEN = st.sampled_from(["", "=", "=put", "=PUT+", "=%70ut", "=x" * 9])
FIELDS = st.tuples(SPELT, GIVEN, st.sampled_from(["&", "&&", ""]))


@given(st.lists(FIELDS, max_size=6), st.integers(1, 40))
def test_a_form_is_read_piece_by_piece_as_it_is_whole(fields: list[tuple[str, str, str]], each: int) -> None:
    body = "".join(map("".join, fields)).encode()
    pairs = (unquote_plus(field.decode()).partition("=") for field in body.split(b"&"))
    given = [value.strip().upper() for name, _, value in pairs if name == "_method"]
    meant: set[str] = set()
    for request in (Request("POST", "/x", [FORM], body), Request("POST", "/x", [FORM], spool=Pieces(body, each))):
        try:
            meant.add(method_meant(request))
        except AmbiguousMethod:
            meant.add("?")
    assert meant == {"POST" if not given else "PUT" if set(given) == {"PUT"} else "?"}


@pytest.mark.parametrize("name", ["_method", "%5f%6dethod"])
def test_of_a_large_form_only_a_piece_is_in_memory(name: str) -> None:
    noise = random.Random(1).randbytes(200_000).replace(b"&", b"")
    body = b"a=" + noise + f"&{name}=delete&b=".encode() + noise
    for headers, sent in (([FORM], body), ([MULTIPART], PARTS[:-7] + b"\r\n--b\r\nx\r\n\r\n" + noise)):
        assert method_meant(Request("POST", "/x", headers, spool=Pieces(sent, 65536))) == "DELETE"


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        (MULTIPART, b"name=_method\r\n"),
        (MULTIPART, b"--b\r\nname=_method\r\n"),
        (MULTIPART, b"--b\r\n\r\n_method"),
        (MULTIPART, b"--b"),
        (FORM, b"a&"),
        (FORM, b"_method=put&"),
        (FORM, b"%5f"),
    ],
)
def test_a_form_is_read_in_time_that_grows_with_its_size(kind: tuple[str, str], unit: bytes) -> None:
    def read(body: bytes) -> None:
        try:
            method_meant(Request("POST", "/x", [kind], body))
        except AmbiguousMethod:
            pass

    assert is_linear(read, lambda size: unit * (size // len(unit)), 8192)


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
