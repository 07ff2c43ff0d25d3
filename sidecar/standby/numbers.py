"""The numbers in `meta` are set here, each by one statement; `queries.number` reads them.

Each function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam

from sidecar.standby.tables import meta
from sidecar.storage.upsert import dialect_insert


def bump(connection: Connection, name: str, value: int | None = None) -> int:
    """Sets a number: to one more than it was, or to `value`. Returns what it is now."""
    counts = value is None
    row = {"name": name, "value": 1 if value is None else value}
    return int(connection.execute(_setting(connection.dialect.name, counts=counts), row).scalar_one())


def raise_to(connection: Connection, numbers: Mapping[str, int]) -> None:
    """Sets each number that is lower, or is not there, to this."""
    rows = [{"name": name, "value": value} for name, value in sorted(numbers.items())]
    connection.execute(_raising(connection.dialect.name), rows)


@lru_cache(4)
def _setting(dialect: str, *, counts: bool) -> Any:
    put = _put(dialect)
    value = meta.c.value + 1 if counts else put.excluded.value
    return put.on_conflict_do_update(index_elements=[meta.c.name], set_={"value": value}).returning(meta.c.value)


@lru_cache(2)
def _raising(dialect: str) -> Any:
    put = _put(dialect)
    is_lower = meta.c.value < put.excluded.value
    return put.on_conflict_do_update(index_elements=[meta.c.name], set_={"value": put.excluded.value}, where=is_lower)


def _put(dialect: str) -> Any:
    return dialect_insert(dialect, meta).values(name=bindparam("name"), value=bindparam("value"))
