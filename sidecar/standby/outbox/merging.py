# pure
"""Ours and theirs made one: a parked change over what the upstream shows now, some of its fields left as theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson

from sidecar.http.messages import Headers

_OF_THE_BODY: Final = frozenset(("content-length", "content-md5", "digest", "content-digest"))
"""Fields that say something of the body as it was."""


class CannotMerge(ValueError):
    """The request cannot be taken apart by field; the message says why."""


def merged(
    headers: Headers, body: bytes, fields: Mapping[str, Any], ours: Collection[str], theirs: Mapping[str, Any],
    *, whole: bool,
) -> tuple[Headers, bytes, dict[str, Any]]:  # fmt: skip
    """The request and its fields with only `ours` of them as they were sent. `whole`: what a request leaves out it
    takes away (PUT), so that it says what is theirs. Raises CannotMerge."""
    if unknown := [name for name in ours if name not in fields]:
        raise CannotMerge(f"fields: the write changes no {', '.join(unknown)}")
    if not ours:
        raise CannotMerge("fields: nothing of the write is left: discard it")
    left = [name for name in fields if name not in ours]
    if not left:
        return headers, body, dict(fields)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CannotMerge("its body is no JSON: put all of it, or discard it") from None
    place = _place(document, fields)
    chosen = dict(fields)
    for name in left:
        if whole and name in theirs:
            place[name] = chosen[name] = theirs[name]
        elif whole:
            raise CannotMerge(f"{name}: what the upstream has there is not known")
        else:
            del place[name], chosen[name]
    kept = [(name, value) for name, value in headers if name.lower() not in _OF_THE_BODY]
    return kept, orjson.dumps(document), chosen


def _place(document: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Where in the body the fields stand: at its top, or in its one member, as in {"note": {…}}."""
    inner = next(iter(document.values())) if isinstance(document, dict) and len(document) == 1 else None
    for place in (document, inner):
        if isinstance(place, dict) and fields.keys() <= place.keys():
            return place
    raise CannotMerge("its body has another form than its fields: put all of it, or discard it")
