"""The questions that requests ask of what is known, put together once: to build one takes longer than to ask it.

Each is asked inside a transaction of the caller's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, exists, func, or_, select

from sidecar.standby.tables import KNOWN, collections, identities, meta, owners, records, replies, sightings, writes
from sidecar.storage.remembered import remembered, remembers

VERIFIED_SINCE: Final = "verified_since"

_KIND: Final[BindParameter[str]] = bindparam("kind")
_ID: Final[BindParameter[str]] = bindparam("ident")
NUMBER: Final = remembered(select(meta.c.value).where(meta.c.name == bindparam("number")))
_SINCE: Final = remembered(NUMBER.where(~exists().where(owners.c.type == _KIND)))
_RECORD: Final = remembered(select(records).where(records.c.type == _KIND, records.c.id == _ID))
_COLLECTION: Final = remembered(select(collections).where(collections.c.type == _KIND))
_OWNED: Final = remembered(select(owners.c.type))
_REPLY: Final = remembered(
    select(replies).where(replies.c.endpoint == bindparam("endpoint_id"), replies.c.kind == _KIND)
)
_UNCLEAR: Final = remembered(
    select(writes.c.fields).where(
        writes.c.type == _KIND, or_(writes.c.outcome == "open", writes.c.outcome == "unknown")
    )
)
_UNCLEAR_TO_RECORD: Final = _UNCLEAR.where(writes.c.record == _ID).limit(1)
_UNCLEAR_CREATES: Final = remembered(_UNCLEAR.where(writes.c.record.is_(None)))
_SHOWN: Final = select(sightings.c.id).where(
    sightings.c.caller == bindparam("user"), sightings.c.type == _KIND, sightings.c.id == _ID
)
TOUCHED: Final = "touched:"
"""Before a resource's name: the number in `meta` that is the stamp of what last may have changed an answer about it."""
_TOUCHED: Final = remembered(select(func.max(meta.c.value)).where(meta.c.name.like(f"{TOUCHED}%")))
_EVERY_TOUCHED: Final = select(meta.c.name, meta.c.value).where(meta.c.name.like(f"{TOUCHED}%")).order_by(meta.c.name)
_ANY_UNCLEAR: Final = remembered(
    select(writes.c.id).where(or_(writes.c.outcome == "open", writes.c.outcome == "unknown")).limit(1)
)
WROTE: Final = "wrote:"
"""Before a resource's name: the number in `meta` that is the stamp of the last write to it."""
_LAST_WRITES: Final = remembered(select(meta).where(meta.c.name.like(f"{WROTE}%")))
_MAY_TAKE_EFFECT: Final = remembered(
    select(writes.c.type, func.max(func.coalesce(writes.c.ended, sys.maxsize)).label("ended"))
    .where(or_(writes.c.ended.is_(None), writes.c.outcome == "unknown"))
    .group_by(writes.c.type)
)
_KNOWN_COUNT: Final = select(func.count()).where(records.c.type == _KIND, records.c.state == KNOWN)
_NEWER: Final = select(records.c.caller).where(records.c.type == _KIND, records.c.stamp > bindparam("at"))
_OWN: Final = select(identities.c.id).where(identities.c.caller == bindparam("user"))
_LATER: Final = select(func.count()).where(
    writes.c.type == _KIND,
    writes.c.id != bindparam("but"),
    or_(writes.c.ended.is_(None), writes.c.ended > bindparam("at")),
)
_LATEST: Final = remembered(
    select(
        func.count().label("known"), func.count(writes.c.ended).label("over"), func.max(writes.c.ended).label("at")
    ).where(writes.c.type == _KIND)
)
_LATER_TO_RECORD: Final = _LATER.where(writes.c.record == _ID)
_UNDER_WAY: Final = select(func.count()).where(writes.c.type == _KIND, writes.c.record == _ID, writes.c.ended.is_(None))
_BEING_WRITTEN: Final = select(writes.c.id).where(writes.c.type == _KIND, writes.c.ended.is_(None)).limit(1)


def number(connection: Connection, name: str) -> int:
    """A number of `meta`, or 0."""
    return connection.scalar(NUMBER, {"number": name}) or 0


def since(connection: Connection, kind: str) -> int:
    """The stamp before which what is known of the resource is unverified. What the standby owns is always verified."""
    return connection.scalar(_SINCE, {"number": VERIFIED_SINCE, "kind": kind}) or 0


def ids(connection: Connection, kind: str) -> set[str]:
    """Ids of the records of the resource that are known."""
    return set(connection.scalars(select(records.c.id).where(records.c.type == kind, records.c.state == KNOWN)))


def changed_since(connection: Connection, kind: str, stamp: int) -> Sequence[str | None]:
    """By whom each record of the resource was shown whose stamp is newer."""
    return connection.scalars(_NEWER, {"kind": kind, "at": stamp}).all()


def known_count(connection: Connection, kind: str) -> int:
    """Records of the resource that are known."""
    return connection.scalar(_KNOWN_COUNT, {"kind": kind}) or 0


def touched(connection: Connection, kind: str | None) -> int:
    """The stamp at which something last happened that may change what is said of the resource; None: of any."""
    if kind is not None:
        return number(connection, f"{TOUCHED}{kind}")
    return connection.scalar(_TOUCHED) or 0


def every_touched(connection: Connection) -> Sequence[tuple[str, int]]:
    """Of each resource when something last happened that may change what any answer about it says."""
    return [(row.name, row.value) for row in connection.execute(_EVERY_TOUCHED)]


def written_after(connection: Connection, at: int) -> set[str]:
    """The resources to which a write ended after the stamp, or may take effect yet."""
    ended = {kind for kind, stamp in last_writes(connection).items() if stamp > at}
    return ended | {row.type for row in connection.execute(_MAY_TAKE_EFFECT) if row.ended > at}


def last_writes(connection: Connection) -> dict[str, int]:
    """By resource, the stamp of the last write to it."""
    return {row.name.removeprefix(WROTE): row.value for row in connection.execute(_LAST_WRITES)}


def last_write(connection: Connection, kind: str) -> int:
    """The stamp of the last write to the resource, or 0."""
    return number(connection, f"{WROTE}{kind}")


def any_unclear(connection: Connection) -> bool:
    """Whether any write is under way, or nobody knows what became of it."""
    return connection.scalar(_ANY_UNCLEAR) is not None


def record(connection: Connection, kind: str, ident: str) -> Any:
    """The row of `records`, or None."""
    return connection.execute(_RECORD, {"kind": kind, "ident": ident}).one_or_none()


def collection(connection: Connection, kind: str) -> Any:
    """The row of `collections`, or None."""
    return connection.execute(_COLLECTION, {"kind": kind}).one_or_none()


def owned_types(connection: Connection) -> frozenset[str]:
    """The resources that the standby owns."""
    return frozenset(connection.scalars(_OWNED))


def own(connection: Connection, user: str) -> Sequence[str]:
    """The ids of the caller's own record, as the upstream told them."""
    return connection.scalars(_OWN, {"user": user}).all()


def was_shown(connection: Connection, user: str, kind: str, ident: str) -> bool:
    """Whether the caller was shown the record, or made it."""
    return connection.scalar(_SHOWN, {"user": user, "kind": kind, "ident": ident}) is not None


def reply(connection: Connection, endpoint: str, kind: str) -> Any:
    """The upstream's own words: the row of `replies`, or None."""
    return connection.execute(_REPLY, {"endpoint_id": endpoint, "kind": kind}).one_or_none()


def unclear(connection: Connection, kind: str, *, creates: bool) -> Sequence[str | None]:
    """The `fields` of writes under way or of unknown outcome: of all, or only of those that add records."""
    return connection.scalars(_UNCLEAR_CREATES if creates else _UNCLEAR, {"kind": kind}).all()


def unclear_to_record(connection: Connection, kind: str, ident: str) -> bool:
    """Whether a write to the record is under way, or nobody knows what became of one."""
    return connection.execute(_UNCLEAR_TO_RECORD, {"kind": kind, "ident": ident}).first() is not None


def written_since(connection: Connection, kind: str, ident: str | None, stamp: int, but: str) -> bool:
    """Whether a write other than `but`, to the record or to any of the resource, was under way at `stamp` or later."""
    if remembers(connection):
        latest = connection.execute(_LATEST, {"kind": kind}).one()
        if latest.known == latest.over and (latest.at or 0) <= stamp:
            return False
    asked = {"kind": kind, "but": but, "at": stamp}
    if ident is None:
        return bool(connection.scalar(_LATER, asked))
    return bool(connection.scalar(_LATER_TO_RECORD, {**asked, "ident": ident}))


def under_way(connection: Connection, kind: str, ident: str) -> bool:
    """Whether a write to the record is under way."""
    return bool(connection.scalar(_UNDER_WAY, {"kind": kind, "ident": ident}))


def being_written(connection: Connection, kind: str) -> bool:
    """Whether a write to any record of the resource is under way."""
    return connection.scalar(_BEING_WRITTEN, {"kind": kind}) is not None
