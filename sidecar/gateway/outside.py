"""What a request may do that its first line does not say: a method inside the method, a write outside the contract."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Request, Response, SpooledBody

HARMLESS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
OVERRIDES: Final = frozenset(("x-http-method-override", "x-http-method", "x-method-override"))
REPLACED: Final = frozenset(("PUT", "PATCH", "DELETE"))
"""What a POST is made into by frameworks that look for an override (Rack::MethodOverride, express, Spring)."""
_FORM: Final = "application/x-www-form-urlencoded"
_SPELT: Final = b"".join(b"(?:%c|(?i:%%%02x))" % (letter, letter) for letter in b"_method")
_FIELD: Final = re.compile(b"&" + _SPELT + rb"(?:=([^&]*)|(?=&|\Z))")
"""In a form: `_method`, in plain or percent-encoded, and its value."""
LONGEST: Final = 256
"""Bytes of what a form may give as a method."""
_BOUNDARY: Final = re.compile(r";\s*boundary=(?:\"([^\"]{1,70})\"|([^\s;\",]{1,70}))\s*(?:;|$)", re.IGNORECASE)
_PART: Final = re.compile(rb'_method(?:(?<=(?i:name)=_method)|(?<=(?i:name)="_method))(?![^"\s;])')
"""In the head of a part."""
MOST_PARTS: Final = 4096
"""Parts of a form that names a method: Rack takes no more."""
_LOGIN: Final = re.compile(r"(?:^|[/_.-])(?:log-?_?in|sign-?_?in|sso|auth|session)s?(?:$|[/_.-])", re.IGNORECASE)


class AmbiguousMethod(ValueError):
    """Nobody can say which method the upstream would see; the message is for the client."""


def method_meant(request: Request) -> str:
    """The method that the upstream acts on: an override's, in the header or in a form, where it is one that frameworks
    honour. Raises AmbiguousMethod where they differ over it."""
    named = {value.strip().upper() for name, value in request.headers if name.lower() in OVERRIDES}
    query = {value.strip().upper() for name, value in parse_qsl(request.query) if name == "_method"}
    if request.method != "POST":
        if (named | query) - {request.method}:
            raise AmbiguousMethod("Only a POST may carry another method.")
        return request.method
    named |= _in_form(request)
    if not named | query <= {"POST"} and (query - {"POST"} or len(named) > 1 or not named <= REPLACED):
        raise AmbiguousMethod("The method that this request carries is not one on which all servers agree.")
    return next(iter(named), "POST")


def may_have_changed(method: str, attempts: Sequence[Attempt], answer: Response) -> bool:
    """Whether a request outside the contract may have changed anything, by its attempts and what was answered."""
    if method in HARMLESS:
        return False
    if not attempts:
        return answer.status in (502, 504)  # sent, and nothing has come back
    if attempts[-1].outcome is Outcome.FAILURE:
        return False
    if attempts[-1].outcome is Outcome.UNKNOWN or answer.status >= 500:
        return True
    where = (answer.header("location") or "").partition("?")[0]
    path = where.partition("://")[2].partition("/")[2] if "://" in where else where
    return answer.status < 400 and not (300 <= answer.status < 400 and _LOGIN.search(path) is not None)


def _in_form(request: Request) -> set[str]:
    """The methods that a form names."""
    kind = request.header("content-type") or ""
    media = kind.partition(";")[0].strip().lower()
    if media not in (_FORM, "multipart/form-data"):
        return set()
    if media == _FORM:
        pieces = (request.body,) if request.spool is None else request.spool.pieces()
        return {unquote_plus(_short(value)).strip().upper() for value in _fields(pieces)}
    body = request.body if request.spool is None else _spooled(request.spool)
    return {_short(value).strip().upper() for value in _parts(body, kind)}


def _short(value: bytes) -> str:
    """Raises AmbiguousMethod: what is read of it may be another than what the upstream reads."""
    if len(value) > LONGEST:
        raise AmbiguousMethod("The method that this form carries is longer than any.")
    return value.decode("latin-1")


def _fields(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The values of a form's fields `_method`. Of the form only a piece is in memory."""
    rest = b"&"
    for piece in pieces:
        text = rest + piece
        last = text.rindex(b"&")
        yield from _FIELD.findall(text, 0, last)
        rest = text[last : last + 4 * LONGEST]
    yield from _FIELD.findall(rest)


def _parts(body: bytes, kind: str) -> Iterator[bytes]:
    """The values of a multipart form's parts `_method`. Raises AmbiguousMethod where servers may see other parts."""
    if b"_method" not in body:
        return
    named = _BOUNDARY.findall(kind)
    if len(named) != 1 or kind.lower().count("boundary") != 1:
        raise AmbiguousMethod("This form does not say clearly where its parts begin.")
    mark = b"--" + "".join(named[0]).encode("latin-1")
    start = body.find(mark)
    for _ in range(MOST_PARTS):
        if start < 0:
            return
        start += len(mark)
        after = body.find(mark, start)
        end = len(body) if after < 0 else after
        blank = body.find(b"\r\n\r\n", start, end)
        if _PART.search(body, start, end if blank < 0 else blank) is not None:
            if blank < 0:
                raise AmbiguousMethod("The head of a part of this form does not end.")
            yield body[blank + 4 : min(end, blank + 4 * LONGEST)]
        start = after
    raise AmbiguousMethod("This form has more parts than all servers take.")


def _spooled(spool: SpooledBody) -> bytes:
    """The whole of a large form that may name a method, and nothing of one that does not."""
    last = b""
    for piece in spool.pieces():
        if b"_method" in last + piece:
            return spool.whole()
        last = piece[-6:]
    return b""
