"""Pending writes laid over an answer of the upstream's own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sidecar.contract import Action, Endpoint, Match, Resource
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.messages import Request, Response
from sidecar.standby.answer import DontKnow, Shape, item, listing
from sidecar.standby.observations import LIMIT, list_filters, without_origin
from sidecar.standby.outbox.overlay import about, laid_over
from sidecar.standby.outbox.snapshot import Snapshot

Newer = Mapping[str, "dict[str, Any] | None"]
"""Records that were settled after the answer was begun, by id; None: gone."""
_REPLACED = frozenset(("content-encoding", "content-length", "etag", "last-modified", "digest", "content-md5"))


def over_answer(
    resource: Resource, endpoint: Endpoint, match: Match, request: Request, response: Response, view: Snapshot,
    newer: Newer, only: str | None,
) -> Response | DontKnow | None:  # fmt: skip
    """The answer as users must see it, None when it is right as it is, or DontKnow.

    `only`: the one caller who may see creates of theirs, where callers see different records.
    """
    if only is not None:
        view = view.only(only, ids_in(resource, response))
    listed = endpoint.action is Action.LIST or endpoint.own
    pending = view.pending(resource.name) if listed else view.about(resource.name, match.record_id)
    if (not pending and not newer) or (response.status == 404 and endpoint.action is Action.LIST):
        return None
    values = _values(resource, endpoint, response)

    def claimed(ident: str) -> bool:
        return view.is_claimed(resource.name, ident)

    if values is None:
        return DontKnow("unsettled_write")
    settled = {str(value.get(resource.id_field)): value for value in values}
    for ident, body in newer.items():
        if body is None:
            settled.pop(ident, None)
        elif endpoint.action is Action.LIST or ident == match.record_id:
            settled[ident] = body
    if endpoint.action is Action.READ:
        own = endpoint.own and len(values) == 1
        record = str(values[0].get(resource.id_field)) if own else match.record_id
        pending = about(resource, pending, record, settled.values(), claimed)
    shown = laid_over(resource, settled.values(), pending, claimed)
    if shown == values:
        return None
    made = _made(resource, endpoint, request, shown) if shown is not None else None
    if made is None:
        return DontKnow("unsettled_write")
    status, text = made
    kept = [(n, v) for n, v in response.headers if n.lower() not in _REPLACED]
    if response.status != status:
        kept = [(n, v) for n, v in kept if n.lower() != "content-type"] + [("Content-Type", Shape().content_type)]
    return Response(status, kept, text)


def ids_in(resource: Resource, response: Response) -> set[str]:
    """The ids of the records that an answer shows."""
    try:
        value = orjson.loads(decode_body(response, LIMIT)) if response.status == 200 else []
    except (Unreadable, orjson.JSONDecodeError):
        return set()
    rows = value if isinstance(value, list) else [value]
    return {str(row.get(resource.id_field)) for row in rows if isinstance(row, dict)}


def _values(resource: Resource, endpoint: Endpoint, response: Response) -> list[dict[str, Any]] | None:
    """The records in the answer, their URLs without origin; None for one that nothing can be laid over."""
    if response.status == 404:
        return []
    if endpoint.action is Action.LIST and not resource.list_matches_read:
        return None
    try:
        value = orjson.loads(decode_body(response, LIMIT))
    except (Unreadable, orjson.JSONDecodeError):
        return None
    rows = value if isinstance(value, list) else [value]
    if (endpoint.action is Action.LIST) is not isinstance(value, list) or not all(isinstance(r, dict) for r in rows):
        return None
    return [_plain(resource, row) for row in rows]


def _plain(resource: Resource, row: dict[str, Any]) -> dict[str, Any]:
    url = row.get(resource.url_field) if resource.url_field else None
    return {**row, str(resource.url_field): without_origin(url)} if isinstance(url, str) else row


def _made(
    resource: Resource, endpoint: Endpoint, request: Request, shown: list[dict[str, Any]]
) -> tuple[int, bytes] | None:
    if endpoint.action is Action.READ:
        if not shown:
            return 404, b'{"status":404,"error":"Not Found"}'
        return 200, item(resource, orjson.dumps(shown[0]).decode(), request, Shape(), 0.0, False).body
    if list_filters(endpoint.filters, request.query) is None:
        return None
    pairs = parse_qsl(request.query, keep_blank_values=True)
    answer = listing(resource, shown, pairs, request, Shape(), 0.0, False)
    return None if isinstance(answer, DontKnow) else (200, answer.body)
