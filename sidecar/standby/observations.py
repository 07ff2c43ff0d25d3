"""From an exchange to what is now known. Pure: it says what was seen, not whether to believe it (knowledge.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from sidecar.contract import Action, Contract, Match, Resource
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.determining import determines, goes_on, spelling, total
from sidecar.http.long_json import loads
from sidecar.http.messages import Request, Response
from sidecar.http.secret_names import is_secret_name, names_in

LIMIT: Final = 64 << 20
"""Bytes of a decoded body that are read."""


@dataclass(frozen=True, slots=True)
class RecordSeen:
    """The upstream showed this record."""

    type: str
    id: str
    body: str

    @property
    def digest(self) -> str:
        """Tells this state of the record from any other: SHA-256 of its body, as the standby keeps it."""
        return digest(self.body)


@dataclass(frozen=True, slots=True)
class RecordMissing:
    """The upstream said that there is no such record for this caller (403, 404, 410)."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class ListSeen:
    """The upstream listed these whole records, by these filters (empty: all of them)."""

    type: str
    filters: str
    records: Sequence[RecordSeen]
    counted: bool = False
    """It says itself that these are all there are."""


@dataclass(frozen=True, slots=True)
class OwnSeen:
    """This record is the caller's own."""

    id: str


@dataclass(frozen=True, slots=True)
class ReplySeen:
    """The upstream's own words for `kind`: page, good or missing."""

    kind: str
    status: int
    content_type: str
    body: bytes


Observation = RecordSeen | RecordMissing | ListSeen | OwnSeen | ReplySeen


def observations(contract: Contract, match: Match, request: Request, response: Response) -> list[Observation]:
    """What a whole and valid answer shows, if it determines it (`determines`). An answer that cannot be read shows
    nothing."""
    endpoint = match.endpoint
    if endpoint is None or request.method == "HEAD" or not determines(request, response, endpoint.headers):
        return []
    media = response.header("content-type") or ""
    if endpoint.resource is None or endpoint.action is Action.CALL or endpoint.action is Action.DELETE:
        return []
    resource = contract.resources[endpoint.resource]
    if endpoint is not contract.endpoint_for(endpoint.resource, endpoint.action) and not endpoint.own:
        return []  # another endpoint of the same resource may show it in another shape
    if endpoint.template.count("{") > (endpoint.action is not Action.LIST and not endpoint.own):
        return []  # below a parent: neither all there are, nor there whatever the parent
    if response.status in (403, 404, 410) and match.record_id is not None and not endpoint.own:
        if spelling(request.path, endpoint.template):
            return []  # it may be that nothing is there by this spelling
        body = _readable(response) or b""
        missing = RecordMissing(resource.name, match.record_id)
        reusable = response.status == 404 and "json" in media and match.record_id.encode() not in body
        return [missing, ReplySeen("missing", 404, media, body)] if reusable else [missing]
    value = _json(response) if response.status == 200 else None
    if value is None:
        return []
    good = ReplySeen("good", response.status, media, b"")
    if endpoint.action is Action.LIST:
        filters = list_filters(endpoint.filters, request.query)
        seen = _list(resource, value) if filters is not None else None
        if seen is None or filters is None or goes_on(response, len(seen)):
            return []
        counted = total(response) == len(seen)
        return [ListSeen(resource.name, filters, seen, counted), good]
    record = whole_record(resource, value)
    if record is None or request.query or (match.record_id is not None and record.id != match.record_id):
        return []
    return [record, OwnSeen(record.id), good] if endpoint.own else [record, good]


def digest(body: str) -> str:
    """Of a record's body as the standby keeps it."""
    return sha256(body.encode()).hexdigest()


def list_filters(known: Sequence[str], query: str) -> str | None:
    """A list's filters in one canonical form; None for a query that the contract does not explain, or whose spelling
    APIs read otherwise: `+` for a blank, `;` between pairs, a name alone, bytes that are no UTF-8."""
    if "+" in query or ";" in query or any("=" not in pair for pair in query.split("&") if pair):
        return None
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=False)
    if any("\ufffd" in value for _, value in pairs):
        return None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names) or any(name not in known for name in names):
        return None
    return orjson.dumps(sorted(pairs)).decode() if pairs else ""


def whole_record(resource: Resource, value: Any) -> RecordSeen | None:
    """The record in a JSON value, or None when it is not a whole one of that resource."""
    if not isinstance(value, dict) or not resource.required <= value.keys():
        return None
    ident = value.get(resource.id_field)
    if isinstance(ident, bool) or not isinstance(ident, (int, str)):
        return None
    value = without_secrets(resource, value)
    if value is None:
        return None
    if resource.url_field and isinstance(value.get(resource.url_field), str):
        value = {**value, resource.url_field: without_origin(value[resource.url_field])}
    return RecordSeen(resource.name, str(ident), orjson.dumps(value).decode())


def without_secrets(resource: Resource, value: dict[str, Any]) -> dict[str, Any] | None:
    """The record without the secrets that the contract names, and what is named after them. None: it has others, which
    the contract does not know: it is not kept at all, for without them it would not be what the upstream says."""
    strip = {name for name in value if any(secret in name for secret in resource.secrets)}
    kept = {name: held for name, held in value.items() if name not in strip} if strip else value
    return None if any(is_secret_name(name) and name not in resource.fields for name in names_in(kept)) else kept


def without_origin(url: str) -> str:
    """`http://host/notes/1.json` → `/notes/1.json`."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("http", "https"):
        return url
    return "/" + rest.partition("/")[2]


def _list(resource: Resource, value: Any) -> list[RecordSeen] | None:
    if not isinstance(value, list) or not resource.list_matches_read:
        return None
    seen = [whole_record(resource, item) for item in value]
    whole = [record for record in seen if record is not None]
    if len(whole) != len(seen) or len({record.id for record in whole}) != len(whole):
        return None
    return whole if _in_order(resource, value) else None


def _in_order(resource: Resource, rows: list[dict[str, Any]]) -> bool:
    """Whether the upstream orders its list as the contract says: else we could not make the same list."""
    ordered = list(rows)
    for name, descending in reversed(resource.order):
        try:
            ordered.sort(key=lambda row: row[name], reverse=descending)
        except (KeyError, TypeError):
            return False
    return ordered == rows


def _json(response: Response) -> Any:
    body = _readable(response)
    if not body or "json" not in (response.header("content-type") or ""):
        return None
    try:
        return loads(body)
    except orjson.JSONDecodeError:
        return None


def _readable(response: Response) -> bytes | None:
    try:
        return decode_body(response, LIMIT)
    except Unreadable:
        return None


def record_in(resource: Resource, response: Response) -> RecordSeen | None:
    """The whole record that an answer shows."""
    try:
        return whole_record(resource, orjson.loads(decode_body(response, LIMIT)))
    except (orjson.JSONDecodeError, Unreadable):
        return None


def digest_in(resource: Resource, response: Response) -> str | None:
    """The digest of the whole record that an answer shows; None: it shows none."""
    seen = record_in(resource, response)
    return None if seen is None else seen.digest
