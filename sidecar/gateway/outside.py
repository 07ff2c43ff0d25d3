"""What a request may do that its first line does not say: a method inside the method, a write outside the contract."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Request, Response, SpooledBody

HARMLESS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
OVERRIDES: Final = frozenset(("x-http-method-override", "x-http-method", "x-method-override"))
REPLACED: Final = frozenset(("PUT", "PATCH", "DELETE"))
"""What a POST is made into by frameworks that look for an override (Rack::MethodOverride, express, Spring)."""
_FORM: Final = "application/x-www-form-urlencoded"
_PART: Final = re.compile(rb'name="?_method"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')
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
    media = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media not in (_FORM, "multipart/form-data"):
        return set()
    body = request.body if request.spool is None else _spooled(request.spool)
    if media == _FORM:
        pairs = (part.partition(b"=") for part in body.split(b"&"))
        return {
            unquote_plus(value.decode("latin-1")).strip().upper()
            for name, _, value in pairs
            if unquote_plus(name.decode("latin-1")) == "_method"
        }
    return {found.decode("latin-1").strip().upper() for found in _PART.findall(body)}


def _spooled(spool: SpooledBody) -> bytes:
    """The whole of a large form that may name a method, and nothing of one that does not."""
    last = b""
    for piece in spool.pieces():
        if b"method" in last + piece:
            return spool.whole()
        last = piece[-8:]
    return b""
