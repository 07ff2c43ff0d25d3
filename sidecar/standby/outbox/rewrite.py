"""Provisional ids in requests, put right: an alias of a settled record becomes its real id. Pure but for the lookup."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

import orjson

from sidecar.contract import Contract, Match
from sidecar.http.messages import Request
from sidecar.standby.outbox.overlay import provisional

Real = Callable[[str, str], "str | None"]
"""(resource, provisional id) → the real one, or None while nobody knows."""


_OURS: Final = re.compile(r"[0-9]{10}")
_OURS_RAW: Final = re.compile(rb"[0-9]{10}")
LOOK: Final = 1 << 18
"""Bytes that are searched at once: no other thread goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """`open`: it still names a record that the upstream does not have, so the upstream cannot be asked."""

    match: Match
    request: Request
    open: bool = False


def rewritten(contract: Contract, match: Match, request: Request, real: Real) -> Rewritten:
    """The request as the upstream would understand it."""
    endpoint = match.endpoint
    if endpoint is None or endpoint.resource is None or not _mentions(request):
        return Rewritten(match, request)
    resource, target, body, unsettled = contract.resources[endpoint.resource], request.target, request.body, False
    if match.record_id is not None and provisional(match.record_id):
        known = real(resource.name, match.record_id)
        if known is None:
            unsettled = True
        else:
            target = _in_path(target, match.record_id, known)
            match = replace(match, params={**match.params, str(endpoint.id_param): known})
    path, mark, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    kinds = {**resource.references, resource.id_field: resource.name}
    named = [(n, v) for n, v in pairs if n in kinds and provisional(v)]
    if named:
        found = {v: real(kinds[n], v) for n, v in named}
        unsettled = unsettled or None in found.values()
        changed = [(n, found.get(v) or v if n in kinds else v) for n, v in pairs]
        target = f"{path}{mark}{urlencode(changed)}" if any(found.values()) else target
    if body and endpoint.action.writes:
        body = _in_body(resource.references, body, real)
    return Rewritten(match, replace(request, target=target, body=body), unsettled)


def _mentions(request: Request) -> bool:
    """A quick look: ids of ours have ten digits, and most requests hold none such."""
    body = request.body
    return _OURS.search(request.target) is not None or any(
        _OURS_RAW.search(body, at, at + LOOK + 9) for at in range(0, len(body), LOOK)
    )


def _in_path(target: str, ident: str, known: str) -> str:
    path, mark, query = target.partition("?")
    parts = path.split("/")
    parts = [known + part[len(ident) :] if part in (ident, f"{ident}.json") else part for part in parts]
    return "/".join(parts) + mark + query


def _in_body(references: Mapping[str, str], body: bytes, real: Real) -> bytes:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(value, dict):
        return body
    found = {}
    for name, kind in references.items():
        known = real(kind, str(value.get(name))) if provisional(value.get(name)) else None
        if known is not None:
            found[name] = int(known) if known.isdecimal() and not isinstance(value[name], str) else known
    return orjson.dumps({**value, **found}) if found else body
