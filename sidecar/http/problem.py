# pure
"""Answers of our own: problem+json (RFC 9457), with Retry-After where waiting helps: how long, is said here only, but
for a line of which it is known how fast it moves."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson

from sidecar.http.messages import Response


class RetryAfter(IntEnum):
    """Seconds after which asking again may help."""

    MOMENT = 2
    """What is missing is about to be known: a write under way, a record being looked up."""
    SHORTLY = 5
    """Something has to come back first: the upstream, a disk, a slot."""
    LATER = 60
    """A person has asked too often."""


def problem(status: int, detail: str, *, retry_after: int | None = None, **members: Any) -> Response:
    """A problem document; `members` are added to it."""
    title = phrase(status)
    body = orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return Response(status, headers, body)


def unauthorized(challenge: str, detail: str) -> Response:
    """A 401. `challenge`: how to sign in, such as `Basic realm="HOSP"`."""
    answer = problem(401, detail)
    answer.headers.append(("WWW-Authenticate", challenge))
    return answer


@cache
def phrase(status: int) -> str:
    """The standard reason phrase, or a neutral one for a status that nobody registered."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"
