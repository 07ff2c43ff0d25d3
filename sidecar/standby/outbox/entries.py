"""Writes accepted from users and not yet confirmed by the upstream: the tables, and one consistent look at them.

An entry is pending (nothing was sent), sending (a call is under way), unclear (it may have taken effect), parked (a
person must decide), owned (the standby owns the resource: there is nobody to send it to), settled or discarded. Every
function that takes a connection works inside the caller's transaction; who changes an entry calls `touch` after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import boot, stamp, uptime
from sidecar.contract import Action, Contract
from sidecar.standby import queries
from sidecar.standby.numbers import bump, raise_to
from sidecar.standby.outbox import dependencies
from sidecar.standby.outbox.overlay import PROVISIONAL, Pending, provisional
from sidecar.standby.outbox.snapshot import Snapshot
from sidecar.standby.outbox.watermark import Mark, Watermark
from sidecar.standby.tables import meta
from sidecar.storage import incarnation
from sidecar.storage.database import GLANCE, metadata
from sidecar.storage.encrypted_columns import LockedText
from sidecar.storage.shared_map import shared_map
from sidecar.timeunits import DAY, MINUTE

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
    Column("theirs", LockedText),
    Column("floor", BigInteger),
    Column("whole", Boolean, nullable=False),
    Column("sealed", LargeBinary),
    Column("state", String(10), nullable=False, index=True),
    Column("sent", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text),
    Column("proposal", LockedText),
    Column("accepted_at", BigInteger, nullable=False),
    Column("accepted_stamp", BigInteger),
    Column("accepted_boot", String(40)),
    Column("accepted_uptime", BigInteger),
    Column("due", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("settled_as", String(100)),
    Column("settled", BigInteger, index=True),
    Column("by", Text),
    Column("revision", BigInteger, nullable=False, index=True, server_default="0"),
    Index("outbox_by_action", "type", "action"),
)
"""`record`: the id by which the user knows the record; of a create, its provisional one. `fields`: JSON that was sent,
less secrets. `body`: the record as answered. `base`: the record before. `theirs`: the upstream's, where that is neither
the one nor the other. `accepted_at` is wall ns; `due`, `settled` and `accepted_stamp` (none for entries of older
versions) are stamps; `accepted_uptime` is how long the machine had been up, in ns, in the boot that `accepted_boot`
names. `revision`: of the last change (see `changed`)."""

OPEN: Final = tuple(column for column in outbox.c if column is not outbox.c.sealed)
"""All but the sealed request."""

aliases: Final = Table(
    "aliases",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("real", String(100), nullable=False),
    Column("revision", BigInteger, nullable=False, index=True, server_default="0"),
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

KEPT: Final = 30 * DAY
"""ns for which settled and discarded entries can be looked up; what became of their ids is known for ever."""
CLAIMS: Final = 10 * MINUTE
"""ns before the oldest unclear create from which on settled creates are told from it: longer than any call lasts."""
RECENT: Final = 2 * MINUTE
"""ns for which settled entries are still laid over answers that began before they were settled."""
VERSION: Final = "outbox_version"
NEXT_ID: Final = "next_provisional_id"
INCARNATION: Final = "incarnation"
"""The number in `meta` of the life of the server (storage/incarnation.py) in which the outbox was last looked after."""


RESTORED: Final = -1
"""The `token` of an entry that stood in a database which went back in time, until it is sent again."""


class GoneBack(SQLAlchemyError):
    """The database may have gone back in time, and was not brought forward yet (high_water.py): nothing is changed."""


class State(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    UNCLEAR = "unclear"
    PARKED = "parked"
    OWNED = "owned"
    SETTLED = "settled"
    DISCARDED = "discarded"


UNSETTLED: Final = (State.PENDING, State.SENDING, State.UNCLEAR, State.PARKED)
_STATES: Final = outbox.c.state.in_(bindparam("states", expanding=True))
_IN_STATES: Final = select(*OPEN).where(_STATES).order_by(outbox.c.seq)
_RESTORED: Final = _IN_STATES.where(outbox.c.token == RESTORED)
_ANY: Final = select(outbox.c.seq).where(_STATES).limit(1)
_NAMES: Final = select(aliases.c.id).where(aliases.c.type == bindparam("kind"), aliases.c.real == bindparam("ident"))
_ABOUT: Final = (
    select(*OPEN)
    .where(outbox.c.record.in_(select(bindparam("ident")).union_all(_NAMES)))
    .where(
        outbox.c.type.concat("") == bindparam("kind"),
        outbox.c.state.concat("").in_(bindparam("states", expanding=True)),
    )
    .order_by(outbox.c.seq)
)
"""Found by the index on the record: by one on the state or the resource, which `concat` makes useless, all that waits
is read."""
_REAL: Final = select(aliases.c.real).where(aliases.c.type == bindparam("kind"), aliases.c.id == bindparam("ident"))
_NEWS: Final = select(*OPEN).where(outbox.c.revision > bindparam("since")).order_by(outbox.c.seq + 0)
"""Found by the index on the revision: ordered by `seq` itself, all that is kept is read."""
_ALIASED: Final = select(aliases.c.type, aliases.c.id).where(aliases.c.revision > bindparam("since"))
_BY_ID: Final = select(*OPEN).where(outbox.c.id.in_(bindparam("ids", expanding=True)))
_SETTLED: Final = select(outbox.c.type, outbox.c.record, outbox.c.settled_as, outbox.c.settled).where(
    outbox.c.settled > bindparam("since")
)
_IS_CLAIMED: Final = select(made.c.stamp).where(made.c.type == bindparam("kind"), made.c.id == bindparam("ident"))
_CLAIM: Final = insert(made)
_ALIAS: Final = insert(aliases)
_REACHED: Final = select(meta.c.name, meta.c.value).where(meta.c.name.in_((VERSION, NEXT_ID)))
_CHANGE: Final = update(outbox).where(outbox.c.id == bindparam("entry"))
_WAITING: Final = (
    select(outbox.c.id, outbox.c.type, outbox.c.endpoint, outbox.c.state, outbox.c.due)
    .where(_STATES)
    .order_by(outbox.c.seq)
)


class Outbox:
    """One per process. Looks are from memory until something changes: a number in a shared file says so."""

    def __init__(
        self, contract: Contract, engine: Engine, shared: Path | None, *, go_on: bool = False,
        mark: Watermark | None = None,
    ) -> None:  # fmt: skip
        """`go_on`: while the database is away, `last_seen` tells what was seen of it last. `mark` is raised with each
        change."""
        self._contract = contract
        self._go_on = go_on
        self._mark = mark
        self._reader = engine.execution_options(writes=False)
        self._glance = engine.execution_options(**GLANCE)
        self._lock = threading.Lock()
        self._latest = Snapshot()
        self._owned: tuple[int, frozenset[str] | None] = (-1, None)
        self._expired = False
        self._gap = 0
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
                fresh = self._read(connection, version, latest)
        except SQLAlchemyError:
            if unchanged:
                return latest  # whoever died before telling of a change did not answer anybody either
            raise
        with self._lock:
            self._expired = False
            if fresh.version >= self._latest.version:
                self._latest = fresh
        return fresh

    def last_looked(self) -> Snapshot:
        """What the last look showed, however long ago: for whoever hears of changes."""
        return self._latest

    def last_seen(self) -> Snapshot | None:
        """What was unsettled a moment before the database went away: only to tell where nothing was. None where that
        is not to be relied on."""
        return self._latest if self._go_on and self._latest.version >= 0 else None

    def owned(self) -> frozenset[str]:
        """The resources that were promoted; while the database is away, as when it was last asked. Raises
        SQLAlchemyError where it never was.

        Asked at every step of replay, when everything has just changed: for this the long outbox is not read anew.
        """
        try:
            return self.owned_at(self._version())
        except SQLAlchemyError:
            if self._owned[1] is None:
                raise
            return self._owned[1]

    def owned_at(self, version: int) -> frozenset[str]:
        """The same, where the outbox is known to be of this version. Raises SQLAlchemyError."""
        at, owned = self._owned
        if owned is None or at != version:
            with self._reader.connect() as connection, connection.begin():
                owned = queries.owned_types(connection)
            self._owned = version, owned
        return owned

    def owned_lately(self) -> frozenset[str]:
        """The same from memory, for who will look again. Raises SQLAlchemyError where it never was asked."""
        return self.owned() if self._owned[1] is None else self._owned[1]

    def view(self, connection: Connection) -> Snapshot:
        """What is unsettled in the very moment that the connection's transaction shows."""
        return self._read(connection, -1, self.snapshot())

    def touch(self) -> None:
        """After a change was committed, and before anybody is told of it."""
        if self._number is not None:
            self._number.bump()
        if self._mark is not None:
            try:
                with self._glance.connect() as connection:
                    mark = reached(connection)
            except SQLAlchemyError:
                return  # it is away: the next change raises it as far
            self._mark.raise_to(mark)

    def is_behind(self, connection: Connection) -> bool:
        """Whether the connection's database has gone back in time, and was not brought forward yet."""
        mark = self._mark.read() if self._mark is not None else Mark()
        return is_another_life(connection) or not reached(connection).reaches(mark)

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
        """Asks the database at the next call, whatever the number says; called every few seconds: who died before they
        told of a change has counted it there."""
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

    def _version(self) -> int:
        if self._number is not None:
            return self._number.read()
        with self._glance.connect() as connection:
            return queries.number(connection, VERSION)

    def _read(self, connection: Connection, version: int, base: Snapshot) -> Snapshot:
        """What is unsettled in the connection's transaction: what was seen before, and what has changed since. Raises
        GoneBack: what is pending there may have been settled, and would be shown beside itself."""
        if is_another_life(connection):
            raise GoneBack("the database's server was promoted or replaced")
        revision, life = queries.number(connection, VERSION), incarnation.of(connection)
        if (base.revision, base.incarnation) == (revision, life):
            return replace(base, version=version, recent=_lately(base.recent))
        if not 0 <= base.revision < revision or base.incarnation != life:
            base = Snapshot()  # nothing was seen, or what is later than this transaction, or of another database
        look = _Look(self._contract, connection, base)
        taken = connection.execute(select(made)).all() if look.seen.sent else ()
        claimed = frozenset((row.type, row.id) for row in taken)
        return replace(
            look.seen, version=version, revision=revision, incarnation=life, recent=look.recent(), claimed=claimed
        )


class _Look:
    """One look at the outbox, beginning with an earlier one: what has not changed since is not read again."""

    def __init__(self, contract: Contract, connection: Connection, base: Snapshot) -> None:
        self._contract = contract
        self._connection = connection
        self._base = self.seen = base
        first = base.revision < 0
        news = unsettled(connection) if first else connection.execute(_NEWS, {"since": base.revision}).all()
        for row in news:
            self._take(row)
        if not first:
            self._resolve()
        lately = stamp() - RECENT
        settled = connection.execute(_SETTLED, {"since": lately}).all() if first else news
        self._settled = [row for row in settled if row.settled is not None and row.settled > lately]

    def recent(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """By resource, what was settled lately."""
        found = _lately(self._base.recent)
        for row in self._settled:
            found.setdefault(row.type, []).append((row.settled_as or row.record, row.settled))
        return found

    def _take(self, row: Any) -> None:
        """A row as it is now."""
        before = self.seen.entries.get(row.id)
        if before is not None:
            self.seen = self.seen.without(row.id, self._named(before))
        # what the contract has no resource for is laid over nothing
        if row.state not in UNSETTLED or row.type not in self._contract.resources:
            return
        entry = pending(self._connection, self._contract, row)
        needs = dependencies.of_entry(self._contract, row, lambda kind, ident: real_id(self._connection, kind, ident))
        self.seen = self.seen.with_entry(row.id, entry, needs, self._named(entry))

    def _resolve(self) -> None:
        """Reads those again that name a provisional id which has become real since."""
        became = self._connection.execute(_ALIASED, {"since": self._base.revision}).all()
        outdated = {ident for row in became for ident in self.seen.naming((row.type, row.id))}
        if outdated:
            for row in self._connection.execute(_BY_ID, {"ids": tuple(outdated)}).all():
                self._take(row)

    def _named(self, entry: Pending) -> set[tuple[str, str]]:
        """The (type, provisional id) that it names, which may become real."""
        references = self._contract.resources[entry.type].references
        named = {(kind, str(entry.fields[n])) for n, kind in references.items() if provisional(entry.fields.get(n))}
        if entry.action is not Action.CREATE and provisional(entry.record):
            named.add((entry.type, entry.record))
        return named


def _lately(recent: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, list[tuple[str, int]]]:
    """Without what was settled too long ago to matter."""
    since = stamp() - RECENT
    kept = {kind: [each for each in settled if each[1] > since] for kind, settled in recent.items()}
    return {kind: settled for kind, settled in kept.items() if settled}


class _Number:
    """A count of changes that all processes of a node see, in a shared file; and a gap, for when the disk is full."""

    def __init__(self, path: Path) -> None:
        self._map = shared_map(path, 16)

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


def changed(connection: Connection) -> int:
    """Part of every change: counts it, for readers of the same moment and for other nodes. Its number is the revision
    of all that it changes, so that others find what is new to them. Raises GoneBack."""
    if is_another_life(connection):
        raise GoneBack("the database's server was promoted or replaced")
    return bump(connection, VERSION)


def reached(connection: Connection) -> Mark:
    """How far the outbox has come."""
    found: dict[str, int] = {row.name: row.value for row in connection.execute(_REACHED)}
    return Mark(found.get(VERSION, 0), found.get(NEXT_ID, 0))


def is_another_life(connection: Connection) -> bool:
    """Whether the server lives another life than the one in which the outbox was last looked after."""
    life = incarnation.of(connection)
    return life != 0 and queries.number(connection, INCARNATION) not in (0, life)


def next_provisional(connection: Connection) -> int:
    """A provisional id that nobody has had."""
    raise_to(connection, {NEXT_ID: PROVISIONAL - 1})
    return bump(connection, NEXT_ID)


def unsettled(connection: Connection, states: Iterable[str] = UNSETTLED) -> Sequence[Any]:
    """The entries in these states, in order, without their sealed requests."""
    return connection.execute(_IN_STATES, {"states": tuple(states)}).all()


def restored(connection: Connection, states: Iterable[str]) -> Sequence[Any]:
    """Of them those of a database that went back in time."""
    return connection.execute(_RESTORED, {"states": tuple(states)}).all()


def waiting(connection: Connection) -> Sequence[Any]:
    """Of the entries that are not settled, in order: id, type, endpoint, state and due."""
    return connection.execute(_WAITING, {"states": UNSETTLED}).all()


def one(connection: Connection, ident: str) -> Any:
    """An entry without its sealed request, or None."""
    return connection.execute(_BY_ID, {"ids": (ident,)}).one_or_none()


def any_unsettled(connection: Connection) -> bool:
    """Whether there is an entry that is not settled."""
    return connection.scalar(_ANY, {"states": UNSETTLED}) is not None


def about(connection: Connection, kind: str, record: str) -> Sequence[Any]:
    """The unsettled entries about one record, by any id that it has had, in order."""
    return connection.execute(_ABOUT, {"kind": kind, "ident": record, "states": UNSETTLED}).all()


def deleting(connection: Connection, kind: str) -> set[str]:
    """The records with an accepted delete that is not settled: there upstream or gone, nobody can say."""
    deletes = (outbox.c.type == kind) & (outbox.c.action == Action.DELETE) & outbox.c.state.concat("").in_(UNSETTLED)
    became = outbox.outerjoin(aliases, (aliases.c.type == outbox.c.type) & (aliases.c.id == outbox.c.record))
    query = select(func.coalesce(aliases.c.real, outbox.c.record)).select_from(became).where(deletes)
    return set(connection.scalars(query))


def other_settled(connection: Connection, row: Any) -> bool:
    """Whether the upstream has taken another write of the same endpoint since this entry was accepted."""
    since = stamp() - age(row)
    theirs = (outbox.c.endpoint == row.endpoint) & (outbox.c.state == State.SETTLED) & (outbox.c.settled > since)
    if connection.scalar(select(outbox.c.seq).where(theirs).limit(1)) is not None:
        return True
    return bool(queries.number(connection, taken_directly(row.endpoint)) > since)


def taken_directly(endpoint: str) -> str:
    """The name in `standby_meta` of the stamp at which the upstream last took such a write while others waited."""
    return f"taken:{endpoint[:90]}"


def ages(row: Any) -> list[int]:
    """How long ago an entry was accepted, in ns. The time that this machine has been up tells it exactly; where it was
    another machine's, or has been started anew, there are the wall clock, which may have been stepped since, and our
    stamps, which do not always count while we are down."""
    if row.accepted_boot and row.accepted_boot == boot():
        return [uptime() - row.accepted_uptime]
    found = [time.time_ns() - row.accepted_at]
    return found if row.accepted_stamp is None else [*found, stamp() - row.accepted_stamp]


def age(row: Any) -> int:
    """The least of its ages: who waits for an entry to be old waits rather too long."""
    return max(0, min(ages(row)))


def prune(connection: Connection, now: int) -> None:
    """Drops what nobody can need any more. `now` in ns since the epoch."""
    old = outbox.c.state.in_((State.SETTLED, State.DISCARDED)) & (outbox.c.accepted_at < now - KEPT)
    connection.execute(delete(outbox).where(old))
    unclear = outbox.c.state.in_(UNSETTLED) & outbox.c.sent
    accepted = func.coalesce(outbox.c.accepted_stamp, outbox.c.accepted_at)
    oldest = connection.scalar(select(func.min(accepted)).where(unclear)) or stamp()
    connection.execute(delete(made).where(made.c.stamp < oldest - CLAIMS))


def change(connection: Connection, ident: str, **values: Any) -> None:
    """Changes an entry."""
    connection.execute(_CHANGE, {**values, "revision": changed(connection), "entry": ident})


def alias(connection: Connection, kind: str, ident: str, real: str) -> None:
    """The provisional id means this record from now on."""
    if real_id(connection, kind, ident) is None and ident != real:
        row = {"type": kind, "id": ident, "real": real, "revision": changed(connection)}
        connection.execute(_ALIAS, row)


def claim(connection: Connection, kind: str, ident: str) -> None:
    """A settled create made this record."""
    if not is_claimed(connection, kind, ident):
        connection.execute(_CLAIM, {"type": kind, "id": ident, "stamp": stamp()})


def is_claimed(connection: Connection, kind: str, ident: str) -> bool:
    return connection.scalar(_IS_CLAIMED, {"kind": kind, "ident": ident}) is not None


def real_id(connection: Connection, kind: str, ident: str) -> str | None:
    """What a provisional id became."""
    found = connection.scalar(_REAL, {"kind": kind, "ident": ident})
    return None if found is None else str(found)


def pending(connection: Connection, contract: Contract, row: Any, record: str | None = None) -> Pending:
    """An entry as it is laid over answers, its provisional references resolved where they can be. `record`: the id of
    the record that it changes, where that is known."""
    references = contract.resources[row.type].references
    if row.action == Action.CREATE:
        record = row.record
    elif record is None:
        record = real_id(connection, row.type, row.record) or row.record
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
        row.state == State.PARKED,
        restored=row.token == RESTORED,
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
