"""What the server itself refuses, before there is a request: with which status, why, and how that is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gunicorn.http import errors

from sidecar.http.messages import Response
from sidecar.http.problem import phrase, problem

Why = tuple[int, str, str]
"""Status, the reason in one word, and a sentence for the client."""
TOO_SLOW: Final[Why] = (408, "head_too_slow", "The head of the request took too long.")
TOO_LARGE: Final[Why] = (431, "head_too_large", "The head of the request is too large, or has too many fields.")
_BAD: Final[Why] = (400, "bad_head", "The head of the request is malformed.")
_OURS: Final[Why] = (500, "internal", "Understudy failed to handle this request.")
_WHY: Final[tuple[tuple[type[Exception], Why], ...]] = (
    (errors.LimitRequestHeaders, TOO_LARGE),
    (errors.LimitRequestLine, (414, "target_too_long", "The target of the request is too long.")),
    (errors.ExpectationFailed, (417, "expectation", "The only expectation that is met is 100-continue.")),
    (errors.UnsupportedTransferCoding, (501, "bad_framing", "The only transfer coding taken is chunked.")),
    (errors.InvalidResponseHeader, _OURS),
    (errors.InvalidResponseHeaderName, _OURS),
    (errors.ConfigurationProblem, _OURS),
    (errors.ParseException, _BAD),
)


class Refuse(Protocol):
    """How an application says it: it records the refusal, and gives the answer with all its fields."""

    def __call__(self, why: Why, head: bytes, remote: str, /) -> Response:
        """`head`: what came of it; `remote`: the peer's address."""


def why(error: BaseException) -> Why:
    """Of what gunicorn found wrong with a request."""
    return next((said for kind, said in _WHY if isinstance(error, kind)), _OURS)


def plainly(why: Why, _head: bytes, _remote: str) -> Response:
    """For an application that records nothing, and for what broke: it was recorded, or cannot be."""
    response = problem(why[0], why[2])
    response.headers.append(("Content-Length", str(len(response.body))))
    return response


def written(response: Response, date: Callable[[], str]) -> bytes:
    """The answer on the wire, the connection's last."""
    lines = [f"HTTP/1.1 {response.status} {phrase(response.status)}", "Server: understudy", f"Date: {date()}"]
    lines += ["Connection: close", *(f"{name}: {value}" for name, value in response.headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + response.body
