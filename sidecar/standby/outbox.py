"""Writes accepted from users and not yet confirmed by the upstream: the tables, and one consistent look at them.

An entry is pending (nothing was sent), sending (a call is under way), unclear (it may have taken effect), parked (a
person must decide), owned (the standby owns the resource: there is nobody to send it to), settled or discarded. Every
function that takes a connection works inside the caller's transaction; who changes an entry calls `touch` after it.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import stamp
from sidecar.contract import Action, Contract
from sidecar.database import GLANCE, metadata
from sidecar.standby.locked import LockedText
from sidecar.standby.overlay import PROVISIONAL, Pending, provisional
from sidecar.standby.store import meta, owners

outbox: Final = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("endpoint", String(200), nullable=False),
    Column("type", String(100), nullable=False),
    Column("action", String(10), nullable=False),
    Column("record", String(100), nullable=False, index=True),
    Column("user", Text, nullable=False),
    Column("method", String(10), nullable=False),
    Column("target", Text, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("fields", LockedText, nullable=False),
    Column("body", LockedText),
    Column("base", LockedText),
    Column("floor", BigInteger),
    Column("whole", Boolean, nullable=False),
    Column("sealed", LargeBinary),
    Column("state", String(10), nullable=False, index=True),
    Column("sent", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text),
    Column("proposal", LockedText),
    Column("accepted_at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("settled_as", String(100)),
    Column("settled", BigInteger, index=True),
    Column("by", Text),
)
"""`record`: the id by which the user knows the record; of a create, its provisional one. `fields`: JSON that was sent,
less secrets. `body`: the record as answered. `base`: the record before. `due` and `settled` are stamps."""

OPEN: Final = tuple(column for column in outbox.c if column is not outbox.c.sealed)
"""All but the sealed request."""

aliases: Final = Table(
    "aliases",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("real", String(100), nullable=False),
)
"""Provisional ids and what became of them: for ever."""

made: Final = Table(
    "made",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("stamp", BigInteger, nullable=False),
)
"""Upstream ids that settled creates are known to have made: an unclear one did not."""

KEPT: Final = 30 * 86400 * 10**9
"""ns for which settled and discarded entries can be looked up; what became of their ids is known for ever."""
CLAIMS: Final = 600 * 10**9
"""ns before the oldest unclear create from which on settled creates are told from it: longer than any call lasts."""
RECENT: Final = 120 * 10**9
"""ns for which settled entries are still laid over answers that began before they were settled."""
VERSION: Final = "outbox_version"
NEXT_ID: Final = "next_provisional_id"


class State(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    UNCLEAR = "unclear"
    PARKED = "parked"
    OWNED = "owned"
    SETTLED = "settled"
    DISCARDED = "discarded"


UNSETTLED: Final = (State.PENDING, State.SENDING, State.UNCLEAR, State.PARKED)


@dataclass(frozen=True)
class Snapshot:
    """What is unsettled, at one moment."""

    version: int = -1
    revision: int = -1
    """The database's own count of changes, of the moment that this shows."""
    pending: Mapping[str, Sequence[Pending]] = field(default_factory=dict)
    """By resource, in order."""
    recent: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """By resource: ids of records whose writes were settled lately, with the stamps."""
    claimed: frozenset[tuple[str, str]] = frozenset()

    def is_claimed(self, kind: str, ident: str) -> bool:
        return (kind, ident) in self.claimed

    def only(self, user: str, ids: Collection[str]) -> Snapshot:
        """What this caller may see of it: their own creates, and changes to records that they are shown anyway."""
        seen = {
            kind: [write for write in writes if write.user == user or write.record in ids]
            for kind, writes in self.pending.items()
        }
        return replace(self, pending=seen)

    def touches(self, kind: str) -> bool:
        """Whether anything must be laid over what the upstream says of the resource."""
        return kind in self.pending or kind in self.recent


class Outbox:
    """One per process. Looks are from memory until something changes: a number in a shared file says so."""

    def __init__(self, contract: Contract, engine: Engine, shared: Path | None, *, go_on: bool = False) -> None:
        """`go_on`: while the database is away, `last_seen` tells what was seen of it last."""
        self._contract = contract
        self._go_on = go_on
        self._reader = engine.execution_options(writes=False)
        self._glance = engine.execution_options(**GLANCE)
        self._lock = threading.Lock()
        self._latest = Snapshot()
        self._owned: tuple[int, frozenset[str] | None] = (-1, None)
        self._expired = False
        self._gap = 0
        self._held: dict[str, Pending] = {}
        self._number = _Number(shared) if shared is not None else None
        self._real = lru_cache(65536)(self._find_real)

    def snapshot(self) -> Snapshot:
        """What is unsettled now, including all that was answered before this call.

        Raises SQLAlchemyError where the database cannot be asked, and the number does not say that nothing has changed.
        """
        version = self._version()
        latest = self._latest
        unchanged = latest.version == version
        if unchanged and not self._expired:
            return latest
        try:
            with self._reader.connect() as connection, connection.begin():
                fresh = self._read(connection, version)
        except SQLAlchemyError:
            if unchanged:
                return latest  # whoever died before telling of a change did not answer anybody either
            raise
        with self._lock:
            self._expired = False
            if fresh.version >= self._latest.version:
                self._latest = fresh
        return fresh

    def last_seen(self) -> Snapshot | None:
        """What was unsettled a moment before the database went away: only to tell where nothing was. None where that
        is not to be relied on."""
        return self._latest if self._go_on and self._latest.version >= 0 else None

    def owned(self) -> frozenset[str]:
        """The resources that were promoted; while the database is away, as when it was last asked. Raises
        SQLAlchemyError where it never was.

        Asked at every step of replay, when everything has just changed: for this the long outbox is not read anew.
        """
        at, owned = self._owned
        try:
            version = self._version()
            if owned is None or at != version:
                with self._reader.connect() as connection, connection.begin():
                    owned = frozenset(connection.scalars(select(owners.c.type)))
                self._owned = version, owned
        except SQLAlchemyError:
            if owned is None:
                raise
        return owned

    def view(self, connection: Connection) -> Snapshot:
        """What is unsettled in the very moment that the connection's transaction shows."""
        latest = self.snapshot()
        return latest if latest.revision == _revision(connection) else self._read(connection, -1)

    def touch(self) -> None:
        """After a change was committed, and before anybody is told of it."""
        if self._number is not None:
            self._number.bump()

    def note_gap(self, at: int) -> None:
        """Tells all processes of the node of a gap that the database could not keep."""
        if self._number is not None:
            self._number.gap = at
        self._gap = at

    def has(self, request_id: str) -> bool:
        """Whether a write of this request was ever taken. Raises SQLAlchemyError."""
        with self._reader.connect() as connection, connection.begin():
            query = select(func.count()).select_from(outbox).where(outbox.c.request_id == request_id)
            return bool(connection.scalar(query))

    def gap(self) -> int:
        """The stamp of the latest gap that the database may not know of, or 0."""
        return self._number.gap if self._number is not None else self._gap

    def expire(self) -> None:
        """Looks anew at the next call, whatever the number says; called every few seconds."""
        self._expired = True
        self._owned = -1, self._owned[1]

    def real(self, kind: str, ident: str) -> str | None:
        """What a provisional id became, or None while nobody knows."""
        try:
            return str(self._real(kind, ident))
        except LookupError:
            return None

    def _find_real(self, kind: str, ident: str) -> str:
        with self._reader.connect() as connection, connection.begin():
            found = real_id(connection, kind, ident)
        if found is None:
            raise LookupError(ident)  # not remembered: it may be settled later
        return found

    def _named(self, held: Pending) -> set[tuple[str, str]]:
        """The (type, provisional id) that it names, which may become real."""
        references = self._contract.resources[held.type].references
        named = {(kind, str(held.fields[n])) for n, kind in references.items() if provisional(held.fields.get(n))}
        if held.action is not Action.CREATE and provisional(held.record):
            named.add((held.type, held.record))
        return named

    def _outdated(self, connection: Connection) -> set[str]:
        """The entries we hold that name a provisional id which has become real since. Few questions, however many."""
        named: dict[str, list[tuple[str, str]]] = {}
        for ident, held in self._held.items():
            for kind, provisional_id in self._named(held):
                named.setdefault(provisional_id, []).append((kind, ident))
        found: set[str] = set()
        for ids in batched(named, 500):
            query = select(aliases.c.type, aliases.c.id).where(aliases.c.id.in_(ids))
            for row in connection.execute(query):
                found |= {ident for kind, ident in named[row.id] if kind == row.type}
        return found

    def _version(self) -> int:
        if self._number is not None:
            return self._number.read()
        with self._glance.connect() as connection:
            return _revision(connection)

    def _read(self, connection: Connection, version: int) -> Snapshot:
        by_type: dict[str, list[Pending]] = {}
        kept, any_sent, outdated = {}, False, self._outdated(connection)
        light = select(outbox.c.id, outbox.c.type, outbox.c.sent).where(outbox.c.state.in_(UNSETTLED))
        for row in connection.execute(light.order_by(outbox.c.seq)):
            any_sent = any_sent or row.sent
            held = self._held.get(row.id)
            if held is None or held.sent != row.sent or row.id in outdated:
                whole = connection.execute(select(*OPEN).where(outbox.c.id == row.id)).one()
                held = pending(connection, self._contract, whole)
            kept[row.id] = held
            by_type.setdefault(row.type, []).append(held)
        self._held = kept
        recent: dict[str, list[tuple[str, int]]] = {}
        lately = select(outbox.c.type, outbox.c.record, outbox.c.settled_as, outbox.c.settled)
        for done in connection.execute(lately.where(outbox.c.settled > stamp() - RECENT)):
            recent.setdefault(done.type, []).append((done.settled_as or done.record, done.settled))
        claimed = frozenset((row.type, row.id) for row in connection.execute(select(made))) if any_sent else frozenset()
        return Snapshot(version, _revision(connection), by_type, recent, claimed)


def batched(items: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """In tuples of at most so many (itertools.batched, of Python 3.12)."""
    source = iter(items)
    while batch := tuple(islice(source, size)):
        yield batch


class _Number:
    """A count of changes that all processes of a node see, in a shared file; and a gap, for when the disk is full."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(file, 16)
        self._map = mmap.mmap(file, 16)
        os.close(file)

    def read(self) -> int:
        return int.from_bytes(self._map[:8], "little")

    @property
    def gap(self) -> int:
        return int.from_bytes(self._map[8:16], "little")

    @gap.setter
    def gap(self, at: int) -> None:
        self._map[8:16] = at.to_bytes(8, "little")

    def bump(self) -> None:
        """Any other value will do: two bumps at once may not become one that somebody has already seen."""
        self._map[:8] = max(self.read() + 1, stamp()).to_bytes(8, "little")


def changed(connection: Connection) -> None:
    """Part of every change: counts it, for readers of the same moment and for other nodes."""
    done = connection.execute(update(meta).where(meta.c.name == VERSION).values(value=meta.c.value + 1))
    if done.rowcount == 0:
        connection.execute(insert(meta).values(name=VERSION, value=1))


def _revision(connection: Connection) -> int:
    return connection.scalar(select(meta.c.value).where(meta.c.name == VERSION)) or 0


def next_provisional(connection: Connection) -> int:
    """A provisional id that nobody has had."""
    done = connection.execute(update(meta).where(meta.c.name == NEXT_ID).values(value=meta.c.value + 1))
    if done.rowcount == 0:
        connection.execute(insert(meta).values(name=NEXT_ID, value=PROVISIONAL))
    return int(connection.execute(select(meta.c.value).where(meta.c.name == NEXT_ID)).scalar_one())


def unsettled(connection: Connection, states: Iterable[str] = UNSETTLED) -> Sequence[Any]:
    """The entries in these states, in order, without their sealed requests."""
    return connection.execute(select(*OPEN).where(outbox.c.state.in_(tuple(states))).order_by(outbox.c.seq)).all()


def any_unsettled(connection: Connection) -> bool:
    """Whether there is an entry that is not settled."""
    return connection.scalar(select(outbox.c.seq).where(outbox.c.state.in_(UNSETTLED)).limit(1)) is not None


def first_pending(connection: Connection, kind: str) -> Any:
    """The resource's oldest entry of which nothing was sent, or None."""
    mine = (outbox.c.type == kind) & (outbox.c.state == State.PENDING)
    return connection.execute(select(*OPEN).where(mine).order_by(outbox.c.seq).limit(1)).one_or_none()


def about(connection: Connection, kind: str, record: str) -> Sequence[Any]:
    """The unsettled entries about one record, by any id that it has had, in order."""
    names = connection.scalars(select(aliases.c.id).where(aliases.c.type == kind, aliases.c.real == record)).all()
    mine = (outbox.c.type == kind) & outbox.c.record.in_([record, *names]) & outbox.c.state.in_(UNSETTLED)
    return connection.execute(select(*OPEN).where(mine).order_by(outbox.c.seq)).all()


def deleting(connection: Connection, kind: str) -> set[str]:
    """The records with an accepted delete that is not settled: there upstream or gone, nobody can say."""
    deletes = (outbox.c.type == kind) & (outbox.c.action == Action.DELETE) & outbox.c.state.in_(UNSETTLED)
    became = outbox.outerjoin(aliases, (aliases.c.type == outbox.c.type) & (aliases.c.id == outbox.c.record))
    query = select(func.coalesce(aliases.c.real, outbox.c.record)).select_from(became).where(deletes)
    return set(connection.scalars(query))


def refers(contract: Contract, row: Any, kind: str, record: str | None) -> bool:
    """Whether an entry's fields refer to this record."""
    references, fields = contract.resources[row.type].references, orjson.loads(row.fields)
    return any(target == kind and str(fields.get(name)) == record for name, target in references.items())


def prune(connection: Connection, now: int) -> None:
    """Drops what nobody can need any more. `now` in ns since the epoch."""
    old = outbox.c.state.in_((State.SETTLED, State.DISCARDED)) & (outbox.c.accepted_at < now - KEPT)
    connection.execute(delete(outbox).where(old))
    unclear = outbox.c.state.in_(UNSETTLED) & outbox.c.sent
    oldest = connection.scalar(select(func.min(outbox.c.accepted_at)).where(unclear)) or now
    connection.execute(delete(made).where(made.c.stamp < oldest - CLAIMS))


def change(connection: Connection, ident: str, **values: Any) -> None:
    """Changes an entry."""
    connection.execute(update(outbox).where(outbox.c.id == ident).values(**values))
    changed(connection)


def alias(connection: Connection, kind: str, ident: str, real: str) -> None:
    """The provisional id means this record from now on."""
    if real_id(connection, kind, ident) is None and ident != real:
        connection.execute(insert(aliases).values(type=kind, id=ident, real=real))


def claim(connection: Connection, kind: str, ident: str) -> None:
    """A settled create made this record."""
    known = connection.scalar(select(func.count()).select_from(made).where(made.c.type == kind, made.c.id == ident))
    if not known:
        connection.execute(insert(made).values(type=kind, id=ident, stamp=stamp()))


def is_claimed(connection: Connection, kind: str, ident: str) -> bool:
    query = select(func.count()).select_from(made).where(made.c.type == kind, made.c.id == ident)
    return bool(connection.scalar(query))


def real_id(connection: Connection, kind: str, ident: str) -> str | None:
    """What a provisional id became."""
    query = select(aliases.c.real).where(aliases.c.type == kind, aliases.c.id == ident)
    found = connection.scalar(query)
    return None if found is None else str(found)


def pending(connection: Connection, contract: Contract, row: Any) -> Pending:
    """An entry as it is laid over answers, its provisional references resolved where they can be."""
    references = contract.resources[row.type].references
    record = real_id(connection, row.type, row.record) or row.record if row.action != Action.CREATE else row.record
    body = None if row.body is None or row.action != Action.CREATE else orjson.loads(row.body)
    return Pending(
        row.seq,
        row.type,
        Action(row.action),
        record,
        resolved(connection, references, orjson.loads(row.fields)),
        None if body is None else resolved(connection, references, body),
        row.user,
        row.accepted_at,
        row.sent,
        row.floor,
        row.whole,
    )


def resolved(connection: Connection, references: Mapping[str, str], fields: dict[str, Any]) -> dict[str, Any]:
    """With provisional ids of settled records replaced by the real ones."""
    found = {}
    for name, kind in references.items():
        value = fields.get(name)
        real = real_id(connection, kind, str(value)) if provisional(value) else None
        if real is not None:
            found[name] = int(real) if real.isdecimal() and not isinstance(value, str) else real
    return {**fields, **found} if found else fields


def dangling(connection: Connection, references: Mapping[str, str], fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The records of other pending writes that these fields refer to, as (type, provisional id)."""
    named = [(kind, str(fields.get(name))) for name, kind in references.items() if provisional(fields.get(name))]
    return [(kind, ident) for kind, ident in named if real_id(connection, kind, ident) is None]
