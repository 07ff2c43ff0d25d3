"""An answer from what is known, or "don't know". Pure: it is given what is known and builds HOSP's own shape of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sidecar.contract import Resource
from sidecar.http.determining import spelling
from sidecar.http.messages import Headers, Request
from sidecar.standby.derivations import let_through


@dataclass(frozen=True, slots=True)
class DontKnow:
    """The standby cannot answer truthfully; `reason` is one word, `detail` says which knowledge is missing."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The standby's answer. `age_seconds`: since the upstream last confirmed it."""

    status: int
    headers: Headers
    body: bytes
    age_seconds: float = 0.0
    unverified: bool = False
    unproven: bool = False
    """It was derived by a rule that is not proven (UNPROVEN=serve)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the upstream words an answer: learned, or the contract's."""

    status: int = 200
    content_type: str = "application/json; charset=utf-8"
    body: bytes = field(default=b"")


NOT_FOUND = Shape(404, "application/json; charset=utf-8", b'{"status":404,"error":"Not Found"}')


def accepts_json(request: Request) -> bool:
    """Whether the caller would take JSON: it says so, says nothing, or asks for `.json`."""
    accept = request.header("accept")
    if accept is None or request.path.endswith(".json"):
        return True
    return bool(_kinds(accept) & {"*/*", "application/*", "application/json", ""})


def format_wanted(request: Request, template: str) -> str | None:
    """By what the upstream chooses the format of this answer, where that is its choice; None: plain JSON alone is asked
    for, by a path that is spelled as the contract has it, in `template`.

    To `*/*`, to nothing and to several kinds APIs answer as they like: Rails gives a browser's page to all three.
    """
    accept = (request.header("accept") or "").strip()
    parameters = {part.partition("=")[0].strip().lower() for each in accept.split(",") for part in each.split(";")[1:]}
    spelled = spelling(request.path, template)  # to some another spelling is another page, or none
    if spelled and request.query:
        spelled += "?"
    if _kinds(accept) == {"application/json"} and parameters <= {"charset"}:  # any other may ask for a version
        return spelled or None
    return f"{accept} {request.header('x-requested-with') or ''}".strip() + (f" {spelled}" if spelled else "")


def _kinds(accept: str) -> set[str]:
    return {part.partition(";")[0].strip().lower() for part in accept.split(",")}


def item(resource: Resource, body: str, request: Request, shape: Shape, age: float, unverified: bool) -> Answer:
    """One record, as a read shows it."""
    value = localised(resource, orjson.loads(body), request)
    return Answer(shape.status, [("Content-Type", shape.content_type)], orjson.dumps(value), age, unverified)


def listing(
    resource: Resource,
    values: list[dict[str, Any]],
    filters: Sequence[tuple[str, str]],
    request: Request,
    shape: Shape,
    age: float,
    unverified: bool,
) -> Answer | DontKnow:
    """The records that the filters let through, in the contract's order."""
    if any(name not in value for name, _ in filters for value in values):
        return DontKnow("unknown_filter")
    if not plain_filters(values, filters):
        return DontKnow("unclear_filter")
    ordered = in_contracts_order(resource, values, filters)
    if ordered is None:
        return DontKnow("unknown_order")
    values = ordered
    body = orjson.dumps([localised(resource, value, request) for value in values])
    return Answer(shape.status, [("Content-Type", shape.content_type)], body, age, unverified)


def plain_filters(values: Sequence[dict[str, Any]], filters: Sequence[tuple[str, str]]) -> bool:
    """Whether the filters' values can each only mean one thing for the fields of these records."""
    return all(_plain(value.get(name), wanted) for name, wanted in filters for value in values)


def in_contracts_order(
    resource: Resource, values: Sequence[dict[str, Any]], filters: Sequence[tuple[str, str]]
) -> list[dict[str, Any]] | None:
    """The records that the filters let through, in the contract's order; None: they cannot be ordered."""
    kept = let_through(values, filters)
    for name, descending in reversed(resource.order):
        try:
            kept.sort(key=lambda value: value[name], reverse=descending)
        except (KeyError, TypeError):
            return None
    return kept


def missing(shape: Shape, age: float) -> Answer:
    """What the upstream says of a record that does not exist."""
    return Answer(404, [("Content-Type", shape.content_type)], shape.body, age)


def _plain(found: Any, wanted: str) -> bool:
    """Whether a filter's value can only mean one thing for a field of this type."""
    if isinstance(found, (bool, dict, list, float)):
        return False
    return not isinstance(found, int) or str(found) == wanted or (wanted.isdecimal() and str(int(wanted)) == wanted)


def localised(resource: Resource, value: dict[str, Any], request: Request) -> dict[str, Any]:
    """With the URL field as the caller would see it."""
    path = value.get(resource.url_field) if resource.url_field else None
    if isinstance(path, str) and path.startswith("/"):
        value[str(resource.url_field)] = f"{request.scheme}://{request.host}{path}"
    return value
