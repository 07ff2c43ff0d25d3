"""What refusals have taught: the fields without which the upstream does not take a write of an endpoint.

Kept in `standby_meta`, one row a field, and forgotten as soon as the upstream takes one without it. Every function
works inside the caller's transaction.
"""

from __future__ import annotations

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select

from sidecar.contract import Resource
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.messages import Response
from sidecar.standby.observations import LIMIT
from sidecar.standby.tables import meta
from sidecar.standby.writes.acceptable import learn_needed

_NEEDED = select(meta.c.name).where(meta.c.name.startswith(bindparam("prefix"), autoescape=False))
LONGEST = 100
"""Characters of a name in `standby_meta`."""


def needed(connection: Connection, endpoint: str) -> frozenset[str]:
    """The fields that a write of this endpoint needs."""
    prefix = _prefix(endpoint)
    return frozenset(name.removeprefix(prefix) for name in connection.scalars(_NEEDED, {"prefix": prefix}))


def refused(
    connection: Connection, endpoint: str, resource: Resource, given: frozenset[str], response: Response
) -> None:
    """The upstream refused a write that gave these fields."""
    try:
        told = orjson.loads(decode_body(response, LIMIT))
    except (Unreadable, orjson.JSONDecodeError):
        return
    missing = learn_needed(resource, dict.fromkeys(given, True), told) - needed(connection, endpoint)
    names = [_prefix(endpoint) + name for name in missing]
    rows = [{"name": name, "value": 1} for name in names if len(name) <= LONGEST]
    if rows:
        connection.execute(insert(meta), rows)


def taken(connection: Connection, endpoint: str, given: frozenset[str]) -> None:
    """The upstream took a write that gave these fields, and no others."""
    outlived = needed(connection, endpoint) - given
    if outlived:
        names = [_prefix(endpoint) + name for name in outlived]
        connection.execute(delete(meta).where(meta.c.name.in_(names)))


def _prefix(endpoint: str) -> str:
    return f"needs:{endpoint}:"
