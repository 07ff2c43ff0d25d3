"""What is known and how it changes: every function works inside one transaction of the caller's.

The rule: an observation made from stamp t0 on counts only when each write that could have touched what was observed had
ended at or before t0. Otherwise what is known stays as it is, in doubt where a write left it so. A write that got no
answer may take effect for a while yet, so it ends LATE_EFFECT (a setting) after we stopped waiting.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from zlib import crc32

import orjson
from sqlalchemy import BigInteger, Connection, Engine, and_, bindparam, cast, delete, func, insert, select, update

from sidecar.clock import stamp as now_stamp
from sidecar.contract import Action, Contract, Endpoint, Resource
from sidecar.standby import queries
from sidecar.standby.answer import Shape
from sidecar.standby.copies import own_of
from sidecar.standby.derivations import MANNER
from sidecar.standby.numbers import bump, raise_to
from sidecar.standby.observations import ListSeen, Observation, OwnSeen, RecordMissing, RecordSeen, ReplySeen
from sidecar.standby.outbox import entries
from sidecar.standby.tables import (
    DOUBT,
    GONE,
    KNOWN,
    LAGS,
    LIST,
    MISSING,
    READ,
    WRITE,
    collections,
    identities,
    meta,
    records,
    replies,
    sightings,
    views,
    writes,
)
from sidecar.timeunits import MINUTE

_SET: Final = update(records).where(records.c.type == bindparam("kind"), records.c.id == bindparam("ident"))
_SET_PRESENT: Final = _SET.where(records.c.state != GONE)
_ADD: Final = insert(records)
_REFERENCE: Final = re.compile(r"(_id|Id|_uuid|Uuid)$")
_COUNTED: Final = (
    select(records.c.type, func.max(cast(records.c.id, BigInteger)).label("highest"))
    .where(func.ltrim(records.c.id, "0123456789") == "", records.c.id != "", func.length(records.c.id) < 19)
    .where(records.c.state != GONE)
    .group_by(records.c.type)
)
_DOUBTFUL: Final = select(records.c.id, records.c.body).where(
    records.c.type == bindparam("kind"), records.c.state == DOUBT
)
HIGHEST: Final = "highest:"
"""Before a resource's name: the number in `meta` that is the highest id which it ever had. One that somebody asked for
in vain is none."""
LAG: Final = MINUTE
"""ns after a write for which a read that shows its record otherwise may be of a copy that lags behind."""
_FRESH: Final = select(records.c.id, records.c.body, records.c.source, records.c.stamp).where(
    records.c.type == bindparam("kind"),
    records.c.stamp > bindparam("at"),
    records.c.stamp <= bindparam("until"),
    (records.c.source == WRITE) & (records.c.state != DOUBT) | (records.c.source == LAGS),
)
SAID_AGAIN: Final = MINUTE
"""ns after which it is written down that the upstream still says the same."""


def clean(connection: Connection, kind: str, record: str | None, t0: int, *, but: str = "") -> bool:
    """Whether no write (other than `but`) to the record, or to any of the resource, was under way at t0 or later.

    A create cannot touch a record that is there; who asks about one that may not be there asks about all.
    """
    return not queries.written_since(connection, kind, record, t0, but)


def put_record(
    connection: Connection, seen: RecordSeen, stamp: int, state: str = KNOWN, *, source: str = WRITE,
    caller: str | None = None,
) -> None:  # fmt: skip
    """The record is known to be so, by `stamp`, from an answer that `caller` was given."""
    values = {"state": state, "body": seen.body, "stamp": stamp, "source": source, "caller": caller}
    _set(connection, seen.type, seen.id, values)


def doubt_record(connection: Connection, kind: str, record: str, stamp: int) -> None:
    """Nobody can say how the record is now; how it was is kept."""
    _set(connection, kind, record, {"state": DOUBT, "stamp": stamp})


def forget_record(connection: Connection, kind: str, record: str, stamp: int) -> None:
    """Nobody can say how the record is now, nor does what it was tell anything of it."""
    _set(connection, kind, record, {"state": DOUBT, "body": None, "stamp": stamp})


def drop_record(connection: Connection, kind: str, record: str, stamp: int, source: str = WRITE) -> None:
    """The record is known to be gone."""
    _set(connection, kind, record, {"state": GONE, "body": None, "stamp": stamp, "source": source})


def doubt_referrers(connection: Connection, contract: Contract, kind: str, record: str, stamp: int) -> None:
    """A deleted record may have taken with it those that refer to it, and those that refer to these: nobody can say."""
    seen: set[tuple[str, str]] = {(kind, record)}
    gone = {kind: {record}}
    while gone:
        found: dict[str, set[str]] = {}
        for resource in contract.resources.values():
            referrers = _referrers(connection, resource, gone)
            if referrers or gone.keys() & set(resource.references.values()):
                unlist(connection, resource.name, stamp)
            for ident in referrers:
                if (resource.name, ident) not in seen:
                    found.setdefault(resource.name, set()).add(ident)
                    doubt_record(connection, resource.name, ident, stamp)
        gone = found
        seen |= {(name, ident) for name, idents in found.items() for ident in idents}


def _referrers(connection: Connection, resource: Resource, gone: Mapping[str, set[str]]) -> list[str]:
    """Those of its records that refer to one of these: by the contract, or, where it says nothing of a field, by the
    field's name (`owner_id`, `ownerId`)."""
    of_kind = (records.c.type == resource.name) & (records.c.state != GONE) & records.c.body.is_not(None)
    sample = connection.scalar(select(records.c.body).where(of_kind).limit(1))
    names = {*resource.fields, *(orjson.loads(sample) if sample is not None else ())} - {resource.id_field}
    anything = set().union(*gone.values())
    wanted = {
        name: anything if name not in resource.references else gone[resource.references[name]]
        for name in names
        if resource.references.get(name) in gone or (name not in resource.references and _REFERENCE.search(name))
    }
    rows = connection.execute(select(records.c.id, records.c.body).where(of_kind)) if wanted else ()
    return [
        ident
        for ident, value in ((ident, orjson.loads(body)) for ident, body in rows)
        if any(str(value.get(name)) in idents for name, idents in wanted.items())
    ]


def see(
    connection: Connection, contract: Contract, endpoint: Endpoint, seen: Observation, caller: str | None, t0: int
) -> bool:
    """What an answer of the endpoint, asked at t0, showed this caller. Returns True when that shows that the resource
    is not the same for everyone."""
    if isinstance(seen, RecordSeen):
        source = LIST if endpoint.own else READ  # the record's own endpoint may show it otherwise
        return see_record(connection, contract, seen, caller, t0, source)
    if isinstance(seen, ListSeen):
        return see_list(connection, contract, seen, caller, t0)
    if isinstance(seen, RecordMissing):
        see_missing(connection, contract, seen, t0, caller)
    elif isinstance(seen, OwnSeen) and caller is not None:
        see_own(connection, caller, seen.id)
    elif isinstance(seen, ReplySeen):
        see_reply(connection, endpoint.id, seen.kind, seen.status, seen.content_type, seen.body)
    return False


def in_manner(connection: Connection, kind: str, wanted: str) -> bool:
    """Whether what is known of the resource was learned from who asked in this manner; the first to be learned from
    decides it."""
    known, ours = queries.number(connection, f"{MANNER}{kind}"), crc32(wanted.encode()) + 1
    return known in (0, ours)


def learn_manner(connection: Connection, kind: str, wanted: str) -> None:
    """From now on what is learned of the resource is of this manner, if nothing was learned before."""
    if queries.number(connection, f"{MANNER}{kind}") == 0:
        bump(connection, f"{MANNER}{kind}", crc32(wanted.encode()) + 1)


def lags(connection: Connection, contract: Contract, seen: RecordSeen | ListSeen, t0: int) -> bool:
    """Whether what was shown at t0 contradicts what a confirmed write lately made of a record: it comes from a copy
    that lags, or another has written since. Neither is believed then, until LAG after the write or until it is seen.
    """
    if queries.last_write(connection, seen.type) <= t0 - LAG:
        return False
    resource = contract.resources[seen.type]
    asked = {"kind": seen.type, "at": t0 - LAG, "until": t0}
    fresh = connection.execute(_FRESH, asked).all()
    if not fresh or not clean(connection, seen.type, None, t0):
        return False
    shown = {seen.id: seen.body} if isinstance(seen, RecordSeen) else {each.id: each.body for each in seen.records}
    behind = [row for row in fresh if _contradicts(resource, row, seen, shown.get(row.id))]
    for row in behind:
        if row.source == WRITE:
            _set(connection, seen.type, row.id, {"state": DOUBT, "stamp": row.stamp, "source": LAGS})
    return bool(behind)


def _contradicts(resource: Resource, row: Any, seen: RecordSeen | ListSeen, body: str | None) -> bool:
    """Of a record as a write made it (or that it deleted), whether what is shown of it may be from before."""
    if body is None:
        if isinstance(seen, RecordSeen) or row.body is None:
            return False
        made = orjson.loads(row.body)
        pairs = orjson.loads(seen.filters) if seen.filters else []
        return all(str(made.get(name)) == value for name, value in pairs)
    if row.body is None:
        return True
    was, now = orjson.loads(row.body), orjson.loads(body)
    field = resource.updated_field
    if field in was and field in now and now[field] != was[field]:
        return str(now[field]) < str(was[field])
    return own_of(resource, row.body) != own_of(resource, body)


def see_record(
    connection: Connection, contract: Contract, seen: RecordSeen, caller: str | None, t0: int, source: str = READ
) -> bool:
    """A read showed the record. Returns True when that shows that the resource is not the same for everyone."""
    _sight(connection, contract, seen.type, [seen.id], caller)
    row = queries.record(connection, seen.type, seen.id)
    if (row is not None and row.stamp > t0) or not clean(connection, seen.type, seen.id, t0):
        return False
    private = _refused_to_another(row, caller) and tighten(connection, contract, seen.type)
    put_record(connection, seen, t0, source=source, caller=caller)
    whole = queries.collection(connection, seen.type) if row is None else None
    if (row is not None and row.body != seen.body) or (whole is not None and whole.complete):
        touched(connection, seen.type, t0)  # else it is new to us alone
    return private


def see_missing(
    connection: Connection, contract: Contract, seen: RecordMissing, t0: int, caller: str | None = None
) -> None:
    """A read said there is none. Of one that was there that is doubt: it may be gone, or not be for this caller."""
    row = queries.record(connection, seen.type, seen.id)
    if (row is not None and row.stamp > t0) or not clean(connection, seen.type, None, t0):
        return
    if seen.id in entries.deleting(connection, seen.type):
        return  # the outbox's own doing, perhaps; it will find out
    if row is not None and row.state == KNOWN and row.stamp >= queries.since(connection, seen.type):
        values = {"state": DOUBT, "stamp": t0, "source": MISSING, "caller": caller}
        _set(connection, seen.type, seen.id, values)
        touched(connection, seen.type, t0)
    elif not is_private(connection, contract, seen.type) and (row is None or row.state != DOUBT):
        drop_record(connection, seen.type, seen.id, t0, MISSING)


def see_list(connection: Connection, contract: Contract, seen: ListSeen, caller: str | None, t0: int) -> bool:
    """A list was shown. Returns True when that shows that the resource is not the same for everyone."""
    _sight(connection, contract, seen.type, [record.id for record in seen.records], caller)
    if not clean(connection, seen.type, None, t0):
        return False
    known = {row.id: row for row in connection.execute(select(records).where(records.c.type == seen.type))}
    verified = queries.since(connection, seen.type)
    whole = queries.collection(connection, seen.type)
    complete = whole is not None and bool(whole.complete)
    private = changed_now = False
    new: list[RecordSeen] = []
    other: list[RecordSeen] = []
    for record in seen.records:
        row = known.get(record.id)
        # One that is as it was is seen anew all the same, once after each gap: else nobody could change it.
        # What only its write's answer showed is, now that a list shows it too, as good as any other.
        if row is None or (
            row.stamp <= t0
            and (row.state != KNOWN or row.body != record.body or row.stamp < verified or row.source == WRITE)
        ):
            private = private or _refused_to_another(row, caller)
            (new if row is None else other).append(record)
            changed_now = changed_now or (complete if row is None else row.body != record.body)
    _put_listed(connection, seen.type, new, other, {"stamp": t0, "source": LIST, "caller": caller})
    if changed_now:
        touched(connection, seen.type, t0)
    private = private and tighten(connection, contract, seen.type)
    if is_private(connection, contract, seen.type):
        _view(connection, seen, caller, t0)
        return private
    if seen.filters:
        return False
    listed = {record.id for record in seen.records} | entries.deleting(connection, seen.type)
    unlisted = [row for row in known.values() if row.id not in listed and row.state != GONE and row.stamp <= t0]
    # What changed in a gap tells nothing of who may see what.
    if any(row.state == KNOWN and row.stamp >= verified for row in unlisted):
        # Gone, or beyond this page, or not for this caller: nobody can say.
        for row in unlisted:
            values = {"state": DOUBT, "stamp": t0, "source": MISSING, "caller": caller}
            _set(connection, seen.type, row.id, values)
        touched(connection, seen.type, t0)
        _collection(connection, seen.type, {"complete": False})
        return False
    for row in unlisted:
        drop_record(connection, seen.type, row.id, t0, LIST)
    values = {"complete": True, "stamp": t0, "observed": time.time_ns(), "caller": caller}
    values |= {"digest": list_digest([record.body for record in seen.records]), "listed": len(seen.records)}
    _collection(connection, seen.type, values)
    connection.execute(delete(writes).where(writes.c.type == seen.type, writes.c.ended <= t0))
    return False


def _put_listed(
    connection: Connection, kind: str, new: Sequence[RecordSeen], other: Sequence[RecordSeen], values: Mapping[str, Any]
) -> None:
    """Records of which there is no row yet, and of which there is: two statements, however many they are."""
    values = {**values, "state": KNOWN, "observed": time.time_ns()}
    if other:
        connection.execute(_SET, [{**values, "body": seen.body, "kind": kind, "ident": seen.id} for seen in other])
    if new:
        connection.execute(_ADD, [{**values, "body": seen.body, "type": kind, "id": seen.id} for seen in new])
    numbers = [int(seen.id) for seen in (*new, *other) if is_number(seen.id)]
    if numbers:
        raise_highest(connection, kind, max(numbers))


def is_number(ident: str) -> bool:
    """Whether an id counts for the highest one."""
    return ident.isdecimal() and len(ident) < 19


def list_digest(bodies: Iterable[str]) -> str:
    """Tells a list from any other: its records as they are kept, in order."""
    return sha256("\0".join(bodies).encode("utf-8", "surrogatepass")).hexdigest()


def touched(connection: Connection, kind: str, at: int | None = None) -> None:
    """Something has happened that may change what any answer about the resource says: a write, now; or a read that
    began at `at` has shown something new."""
    raise_to(connection, {f"{queries.TOUCHED}{kind}": now_stamp() if at is None else at})


def _refused_to_another(row: Any, caller: str | None) -> bool:
    """Whether what is shown to this caller was kept from another, with no write between."""
    return row is not None and row.state == DOUBT and row.source == MISSING and row.caller not in (None, caller)


def see_own(connection: Connection, caller: str, record: str) -> None:
    """The caller's own record is this one."""
    connection.execute(delete(identities).where(identities.c.caller == caller))
    connection.execute(insert(identities).values(caller=caller, id=record))


def see_reply(connection: Connection, endpoint: str, kind: str, status: int, content_type: str, body: bytes) -> None:
    """The upstream's own words. The same ones again are not written again for a while: everybody's reads come here."""
    known = queries.reply(connection, endpoint, kind)
    now, said = time.time_ns(), (status, content_type[:200], body)
    same = known is not None and (known.status, known.content_type, bytes(known.body)) == said
    if same and 0 <= now - known.observed < SAID_AGAIN:
        return
    connection.execute(delete(replies).where(replies.c.endpoint == endpoint, replies.c.kind == kind))
    row = {"status": status, "content_type": content_type[:200], "body": body, "observed": now}
    connection.execute(insert(replies).values(endpoint=endpoint, kind=kind, **row))


def shape(connection: Connection, endpoint: str, kind: str) -> Shape | None:
    """How the upstream was seen to answer."""
    row = queries.reply(connection, endpoint, kind)
    return None if row is None else Shape(row.status, row.content_type, row.body)


def is_private(connection: Connection, contract: Contract, kind: str) -> bool:
    """Whether callers may see different records: by the contract, or by what the upstream was seen to do."""
    return private(contract.resources[kind], queries.collection(connection, kind))


def private(resource: Resource, whole: Any) -> bool:
    """The same, by the resource's row of `collections`."""
    return resource.visibility == "caller" or (whole is not None and bool(whole.private))


def unsettled(connection: Connection, kind: str, *, membership: bool, filters: Sequence[tuple[str, str]] = ()) -> bool:
    """Whether writes are under way or unclear: any, or only those that add records that the filters let through."""
    found = queries.unclear(connection, kind, creates=membership)
    sent = [None if fields is None else orjson.loads(fields) for fields in found]
    return any(fields is None or all(fields.get(name) == value for name, value in filters) for fields in sent)


def may_be_listed(
    connection: Connection, kind: str, filters: Sequence[tuple[str, str]], changing: Collection[str]
) -> bool:
    """Whether a record in doubt may be in the list that these filters let through.

    `changing`: the records that accepted writes may bring into the list.
    """
    for row in connection.execute(_DOUBTFUL, {"kind": kind}).all():
        if not filters or row.body is None or row.id in changing:
            return True
        was = orjson.loads(row.body)
        if all(was.get(name) is None or str(was[name]) == value for name, value in filters):
            return True
        query = select(writes.c.fields).where(writes.c.type == kind, writes.c.record == row.id)
        for sent in connection.scalars(query.where(writes.c.outcome.in_(("open", "unknown")))):
            if sent is None or orjson.loads(sent).keys() & {name for name, _ in filters}:
                return True
    return False


def filter_fields(contract: Contract, endpoint: Endpoint, body: bytes) -> str | None:
    """The fields that a write gives of those by which its resource's list can be filtered, as text, in JSON; None when
    that cannot be told. Of a create all of them: what it does not give is null."""
    listing = contract.endpoint_for(endpoint.resource or "", Action.LIST)
    if endpoint.action is Action.DELETE:
        return "{}"
    if listing is None:
        return None
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(sent, dict):
        return None
    if any(isinstance(value, (dict, list)) for value in sent.values()):
        return None
    created = endpoint.action is Action.CREATE
    plain = {name: sent.get(name) for name in listing.filters if created or name in sent}
    if any(value is not None and type(value) not in (int, str) for value in plain.values()):
        return None
    return orjson.dumps({name: None if value is None else str(value).strip() for name, value in plain.items()}).decode()


def doubtful(connection: Connection, now: int) -> set[str]:
    """Resources that a look at the upstream would clear up: records in doubt, or writes that ended unclear."""
    doubts = connection.scalars(select(records.c.type).where(records.c.state == DOUBT).distinct())
    unclear = select(writes.c.type).where(writes.c.outcome == "unknown", writes.c.ended <= now).distinct()
    return {*doubts, *connection.scalars(unclear)}


def expire(connection: Connection, now: int, upstream_timeout: int, late_effect: int) -> None:
    """Writes that nobody can be waiting for any more have ended, unclear; old settled ones are dropped."""
    patience = upstream_timeout + late_effect
    connection.execute(
        update(writes)
        .where(writes.c.ended.is_(None), writes.c.started < now - patience)
        .values(ended=now + late_effect, outcome="unknown")
    )
    settled = and_(
        writes.c.outcome.in_(("success", "failure", "accepted", "queued")), writes.c.ended < now - 2 * patience
    )
    connection.execute(delete(writes).where(settled))


def highest(connection: Connection) -> dict[str, int]:
    """By resource, the highest number among the ids that were ever known: kept as records are added."""
    rows = connection.execute(select(meta).where(meta.c.name.startswith(HIGHEST)))
    return {row.name.removeprefix(HIGHEST): row.value for row in rows}


def count_highest(connection: Connection) -> dict[str, int]:
    """The same, found by reading all ids: for those that a program of before has added, which keeps no maximum."""
    return {row.type: int(row.highest) for row in connection.execute(_COUNTED)}


def raise_highest(connection: Connection, kind: str, ident: int) -> None:
    """From now on the resource has had this id."""
    if ident > queries.number(connection, f"{HIGHEST}{kind}"):
        raise_to(connection, {f"{HIGHEST}{kind}": ident})


def changed(connection: Connection, kind: str, stamp: int) -> None:
    """Records of the resource were added or removed: lists that were shown to single callers no longer hold."""
    bump(connection, f"changed:{kind}", stamp)
    _written(connection, kind, stamp)


def _written(connection: Connection, kind: str, stamp: int) -> None:
    """A write to the resource has ended: what it changed beside its own record is not said."""
    raise_to(connection, {f"{queries.TOUCHED}{kind}": now_stamp(), f"{queries.WROTE}{kind}": stamp})


def _set(connection: Connection, kind: str, record: str, values: Mapping[str, Any]) -> None:
    if values.get("source", WRITE) == WRITE:
        if values["state"] == DOUBT:  # it is under way, and its end will tell
            touched(connection, kind)
        else:
            _written(connection, kind, values["stamp"])
    values = {**values, "observed": time.time_ns()} if values["state"] != DOUBT else dict(values)
    there, named = values["state"] != GONE, {**values, "kind": kind, "ident": record}
    if there and connection.execute(_SET_PRESENT, named).rowcount:
        return
    if connection.execute(_SET, named).rowcount == 0:
        row = {"body": None, "observed": time.time_ns(), **values}
        connection.execute(_ADD, {"type": kind, "id": record, **row})
    if there and is_number(record):
        raise_highest(connection, kind, int(record))


def _collection(connection: Connection, kind: str, values: Mapping[str, Any]) -> None:
    if connection.execute(update(collections).where(collections.c.type == kind).values(**values)).rowcount == 0:
        row = {"complete": False, "stamp": 0, "observed": 0, "private": False, **values}
        connection.execute(insert(collections).values(type=kind, **row))


def unlist(connection: Connection, kind: str, stamp: int) -> None:
    """Nobody can say whether all records of the resource are known."""
    touched(connection, kind)
    _collection(connection, kind, {"complete": False, "stamp": stamp})


def tighten(connection: Connection, contract: Contract, kind: str) -> bool:
    """From now on the resource is shown only to callers who were shown it. True: this is news."""
    if is_private(connection, contract, kind):
        return False
    _collection(connection, kind, {"private": True, "complete": False})
    return True


def _sight(connection: Connection, contract: Contract, kind: str, ids: Iterable[str], caller: str | None) -> None:
    if caller is None or not is_private(connection, contract, kind):
        return
    mine = and_(sightings.c.caller == caller, sightings.c.type == kind)
    seen = set(connection.scalars(select(sightings.c.id).where(mine)))
    new = [{"caller": caller, "type": kind, "id": record} for record in ids if record not in seen]
    if new:
        connection.execute(insert(sightings), new)


def _view(connection: Connection, seen: ListSeen, caller: str | None, t0: int) -> None:
    if caller is None:
        return
    where = and_(views.c.caller == caller, views.c.type == seen.type, views.c.filters == seen.filters)
    connection.execute(delete(views).where(where))
    row = {
        "caller": caller,
        "type": seen.type,
        "filters": seen.filters,
        "ids": orjson.dumps([record.id for record in seen.records]).decode(),
        "stamp": t0,
        "observed": time.time_ns(),
    }
    connection.execute(insert(views).values(row))


def see_created(connection: Connection, contract: Contract, kind: str, record: str, caller: str) -> None:
    """The caller made or changed the record, so may see it."""
    _sight(connection, contract, kind, [record], caller)


def latest_stamp(engine: Engine, ahead: int) -> int:
    """The newest stamp that is kept, or 0: what comes after a restart must be newer. That of which on something is
    verified may be `ahead` by so many ns, and must not be reached sooner for it."""
    columns = (records.c.stamp, collections.c.stamp, writes.c.started, writes.c.ended)  # all in the past but `ended`
    with engine.execution_options(writes=False).connect() as connection, connection.begin():
        stamps = [connection.scalar(select(func.max(column))) or 0 for column in columns]
        verified = queries.number(connection, queries.VERIFIED_SINCE)
    return max(*stamps, verified - ahead)
