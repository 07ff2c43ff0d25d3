# pure
"""Whether an upstream's answer proves the caller's credentials: only one that must have looked at them does."""

from __future__ import annotations

from typing import Final

import orjson

from sidecar.contract import Action, Contract, Endpoint
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.long_json import loads
from sidecar.http.messages import Request, Response

_SHOWS_NOTHING: Final = frozenset((204, 205, 206))
"""The first two need not have looked; of the last only a part can be seen."""
_PAGES: Final = frozenset(("", "text/html", "application/xhtml+xml"))
_OF_A_RECORD: Final = (Action.READ, Action.CREATE, Action.UPDATE)


def vouches(contract: Contract, endpoint: Endpoint, request: Request, response: Response, limit: int) -> bool:
    """Whether the upstream has looked at the request's credentials, and accepted them.

    A whole 2xx, of an endpoint that needs credentials, in the contract's media type and shape. Never a redirect, a 304,
    a page for people, an answer of some cache's, or an object of which the contract names no member: any error page
    would do. Nor one to a write that sets a password: it has just made other credentials of them. `limit`: of the
    unpacked body's size, in bytes.
    """
    if endpoint.public or endpoint.takes_secrets or request.method == "HEAD":
        return False
    if not 200 <= response.status < 300 or response.status in _SHOWS_NOTHING or not response.body:
        return False
    if response.header("age") is not None:
        return False
    media = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if media in _PAGES:
        return False
    if not media.endswith("json") or not endpoint.media.endswith("json"):
        return media == endpoint.media.lower()
    try:
        return _fits(contract, endpoint, loads(decode_body(response, limit)))
    except (Unreadable, orjson.JSONDecodeError):
        return False


def _fits(contract: Contract, endpoint: Endpoint, value: object) -> bool:
    if endpoint.body_kind == "array":
        return isinstance(value, list) and all(isinstance(item, dict) for item in value)
    members = set(endpoint.required)
    if not members and endpoint.resource is not None and endpoint.action in _OF_A_RECORD:
        members = {contract.resources[endpoint.resource].id_field}
    return bool(members) and isinstance(value, dict) and members <= value.keys()
