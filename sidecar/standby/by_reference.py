"""Records by what they refer to: the notes of one patient, without reading every note.

Who writes records knows nothing of this. Each row says by which of its stamps it was indexed: one that has changed
since, by whatever program, is out of line, which the database itself tells (a partial index); such rows are read one by
one until the background work has indexed them again. So none is ever missed. Where bodies are encrypted nothing is
indexed: what refers to what would stand beside them in the clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import (
    Column,
    Connection,
    Index,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from sidecar.contract import Contract, Resource
from sidecar.standby.tables import KNOWN, UNINDEXED, records
from sidecar.storage.database import metadata
from sidecar.storage.encryption import VAULT

MOST: Final = 1000
"""Rows out of line that are read one by one; beyond it all are read."""
BATCH: Final = 500
"""Rows indexed in one transaction."""
NULL: Final = ""
ODD: Final = "?"
"""In place of a value that is no integer, or of a field that is missing: what a filter means for it is not simple."""

record_references: Final = Table(
    "record_references",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("value", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Index("record_references_by_id", "type", "id"),
)
"""Of each record that is known, its fields that refer to others: an integer, NULL or ODD."""
_THIS: Final = (records.c.type == bindparam("kind")) & (records.c.id == bindparam("ident"))
_STALE: Final = (
    select(records).where(records.c.type.concat("") == bindparam("kind"), UNINDEXED).limit(bindparam("most"))
)
"""`concat` leaves no index to be used but the partial one."""
_BEHIND: Final = (
    select(records.c.id).where(records.c.type.concat("").in_(bindparam("kinds", expanding=True)), UNINDEXED).limit(1)
)
_FORGET: Final = delete(record_references).where(
    record_references.c.type == bindparam("kind"), record_references.c.id == bindparam("ident")
)
_ADD: Final = insert(record_references)
_INDEXED: Final = update(records).where(_THIS).values(indexed=bindparam("by"))
_VALUE: Final = (
    (record_references.c.type == bindparam("kind"))
    & (record_references.c.name == bindparam("field"))
    & (record_references.c.value == bindparam("wanted"))
)
_HAS: Final = select(record_references.c.id).where(_VALUE).limit(1)
_FIND: Final = select(records).where(
    records.c.type == bindparam("kind"),
    records.c.id.in_(select(record_references.c.id).where(_VALUE)),
    records.c.state.concat("") == KNOWN,  # `concat`: by the ids, not by the index on the state
)


def is_behind(connection: Connection, contract: Contract) -> bool:
    """Whether there are rows to index."""
    vault = getattr(connection.engine.dialect, VAULT, None)
    if vault is not None and vault.head is not None:
        return False
    kinds = [name for name, resource in contract.resources.items() if resource.references]
    return bool(kinds) and connection.execute(_BEHIND, {"kinds": kinds}).first() is not None


def index_some(connection: Connection, contract: Contract) -> int:
    """Indexes rows that are out of line, in a transaction of the caller's; returns how many. 0: there are none."""
    done = 0
    for resource in contract.resources.values():
        if resource.references and done < BATCH:
            done += _index(connection, resource, BATCH - done)
    return done


def _index(connection: Connection, resource: Resource, most: int) -> int:
    rows = connection.execute(_STALE, {"kind": resource.name, "most": most}).all()
    if not rows:
        return 0
    named = [{"kind": resource.name, "ident": row.id, "by": row.stamp} for row in rows]
    connection.execute(_FORGET, named)
    added = [
        {"type": resource.name, "name": name, "value": _value(body, name), "id": row.id}
        for row in rows
        if row.state == KNOWN and isinstance(body := orjson.loads(row.body), dict)
        for name in resource.references
    ]
    if added:
        connection.execute(_ADD, added)
    connection.execute(_INDEXED, named)
    return len(rows)


def referring(connection: Connection, resource: Resource, name: str, wanted: str) -> tuple[Sequence[Any], bool] | None:
    """The known records whose field may be `wanted`, an integer in decimal, with some of which it is not; and whether
    the field is null in any. None: the index cannot tell."""
    asked = {"kind": resource.name, "field": name}
    stale = connection.execute(_STALE, {"kind": resource.name, "most": MOST + 1}).all()
    if len(stale) > MOST or connection.scalar(_HAS, {**asked, "wanted": ODD}) is not None:
        return None
    unindexed = [row for row in stale if row.state == KNOWN]
    values = {_value(orjson.loads(row.body), name) for row in unindexed}
    if ODD in values:
        return None
    found = {row.id: row for row in connection.execute(_FIND, {**asked, "wanted": wanted})}
    found |= {row.id: row for row in unindexed}
    return list(found.values()), NULL in values or connection.scalar(_HAS, {**asked, "wanted": NULL}) is not None


def _value(body: dict[str, Any], name: str) -> str:
    if name not in body:
        return ODD
    value = body[name]
    return NULL if value is None else str(value) if type(value) is int else ODD
