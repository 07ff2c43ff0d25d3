"""Whether an upstream's answer is one: a 200 is not always a success. Pure."""

from __future__ import annotations

import zlib
from typing import Any, Final

import orjson

from sidecar.contract import Endpoint
from sidecar.gateway.exchange import Response

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class Unreadable(ValueError):
    """The body cannot be what its headers say."""


def plain_body(response: Response, limit: int) -> bytes:
    """The body with its content coding undone. Raises Unreadable, also beyond `limit` bytes."""
    coding = (response.header("content-encoding") or "identity").strip().lower()
    if coding == "identity":
        return response.body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable(f"content coding {coding[:20]} was not asked for")
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        body = decoder.decompress(response.body, limit)
    except zlib.error as error:
        raise Unreadable(str(error)) from None
    if not decoder.eof:
        raise Unreadable("the compressed body is cut short or too large")
    return body


def fault(endpoint: Endpoint | None, method: str, response: Response, limit: int) -> str | None:
    """What is wrong with an answer, in one word, or None.

    Beyond status 500, that is a 2xx that the contract cannot have meant: a JSON type that does not parse, an object
    where an array belongs, a record without its required members. Other statuses are the upstream's word.
    """
    if response.status >= 500:
        return "status"
    if endpoint is None or not 200 <= response.status < 300 or method == "HEAD" or response.status in (204, 205):
        return None
    kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if not kind.endswith("json") and (endpoint.media != "application/json" or kind != "" or not response.body):
        return None
    if endpoint.action == "delete" and not response.body:
        return None
    try:
        value = orjson.loads(plain_body(response, limit))
    except (Unreadable, orjson.JSONDecodeError):
        return "invalid_json"
    return None if _fits(endpoint, value) else "wrong_shape"


def _fits(endpoint: Endpoint, value: Any) -> bool:
    if endpoint.body_kind == "array":
        return isinstance(value, list)
    if endpoint.body_kind == "object":
        return isinstance(value, dict) and endpoint.required <= value.keys()
    return True
