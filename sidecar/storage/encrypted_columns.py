"""Columns whose values are encrypted at rest, by the vault of the engine that reads and writes them (vault.py).

A value that cannot be opened raises Locked, a SQLAlchemyError, wherever it is read: the standby then does not know.
`rekey`, once before anything else starts, brings every value under the present key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Engine,
    LargeBinary,
    Table,
    Text,
    TypeDecorator,
    and_,
    delete,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from sidecar.storage.encryption import HEAD, MARK, VAULT, Locked, Vault

ABOUT: Final = "standby"


def _vault(dialect: Dialect) -> Vault:
    vault: Vault = getattr(dialect, VAULT, None) or Vault()
    return vault


class LockedText(TypeDecorator[str]):
    """Text, encrypted where there is a key."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _vault(dialect).close(value, ABOUT)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _vault(dialect).open(value, ABOUT)


class LockedBytes(TypeDecorator[bytes]):
    """Bytes, encrypted where there is a key."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        vault = _vault(dialect)
        return value if value is None or vault.head is None else vault.close(value.decode("latin-1"), ABOUT).encode()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        if value is None or not bytes(value).startswith(MARK.encode()):
            return value
        return _vault(dialect).open(bytes(value).decode("latin-1"), ABOUT).encode("latin-1")


def rekey(engine: Engine, vault: Vault, tables: Sequence[Table]) -> list[tuple[Table, Any]]:
    """Brings what is not under the present key under it; returns the rows that cannot be opened, as (table, row).

    Clear values are closed, those under older keys closed again, and all opened when the vault closes nothing.
    """
    lost: list[tuple[Table, Any]] = []
    with engine.begin() as connection:
        for table in tables:
            locked = [column for column in table.c if isinstance(column.type, (LockedText, LockedBytes))]
            keys = [*table.primary_key.columns]
            raw = [type_coerce(column, column.type.impl).label(column.name) for column in locked]  # type: ignore[attr-defined]
            stale = select(*keys, *raw).where(or_(*(_is_stale(column, vault) for column in locked)))
            for row in connection.execute(stale).all():
                if not _closed_again(connection, vault, table, locked, row):
                    lost.append((table, row))
    return lost


def _is_stale(column: Column[Any], vault: Vault) -> Any:
    raw = type_coerce(column, column.type.impl)  # type: ignore[attr-defined]
    text = isinstance(column.type, LockedText)
    head, mark = (vault.head or "", MARK) if text else ((vault.head or "").encode(), MARK.encode())
    if vault.head is not None:
        return and_(column.is_not(None), func.substr(raw, 1, HEAD, type_=column.type.impl) != head)  # type: ignore[attr-defined]
    return func.substr(raw, 1, len(MARK), type_=column.type.impl) == mark  # type: ignore[attr-defined]


def _closed_again(connection: Connection, vault: Vault, table: Table, locked: Sequence[Column[Any]], row: Any) -> bool:
    try:
        values: dict[Column[Any], str | bytes] = {}
        for column in locked:
            value = getattr(row, column.name)
            if value is None:
                continue
            if isinstance(column.type, LockedText):
                values[column] = vault.open(value, ABOUT)
            else:
                closed = bytes(value).startswith(MARK.encode())
                values[column] = (
                    vault.open(value.decode("latin-1"), ABOUT).encode("latin-1") if closed else bytes(value)
                )
    except Locked:
        return False
    connection.execute(update(table).where(_same(table, row)).values({c.name: v for c, v in values.items()}))
    return True


def _same(table: Table, row: Any) -> Any:
    return and_(*(column == getattr(row, column.name) for column in table.primary_key.columns))


def give_up(connection: Connection, table: Table, row: Any, values: dict[str, Any] | None) -> None:
    """Puts other values in the place of a row's that cannot be opened; None: removes it."""
    where = _same(table, row)
    connection.execute(delete(table).where(where) if values is None else update(table).where(where).values(values))
