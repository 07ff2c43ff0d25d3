# pure
"""Whether an upstream's answer is one: a 200 is not always a success."""

from __future__ import annotations

from typing import Any

import orjson

from sidecar.contract import Endpoint
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.long_json import skim
from sidecar.http.messages import Response


def response_fault(endpoint: Endpoint | None, method: str, response: Response, limit: int) -> str | None:
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
        value = skim(decode_body(response, limit))
    except (Unreadable, orjson.JSONDecodeError):
        return "invalid_json"
    return None if _fits(endpoint, value) else "wrong_shape"


def _fits(endpoint: Endpoint, value: Any) -> bool:
    if endpoint.body_kind == "array":
        return isinstance(value, list)
    if endpoint.body_kind == "object":
        return isinstance(value, dict) and endpoint.required <= value.keys()
    return True
