"""Whether a write that may have taken effect has: both answers need proof, and what lies between is for a person.

Applied: a record that no other write has claimed, newer than the write, shows all that was sent, as the upstream casts
it (casts.py). Not applied: the whole collection was read, page by page, and nothing new in it could be the one. Who
asks does so only after a late effect could no longer come.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from sqlalchemy import Connection, Engine, func, select

from sidecar.clock import earliest, stamp
from sidecar.contract import Action, Contract, Endpoint, Resource
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.determining import TOTALS
from sidecar.http.messages import Headers, Response
from sidecar.standby import knowledge
from sidecar.standby.observations import LIMIT, RecordSeen, record_in, whole_record
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.casts import Match, all_of
from sidecar.standby.outbox.entries import State
from sidecar.standby.outbox.overlay import Pending, Value, candidates
from sidecar.standby.tables import KNOWN, records, writes
from sidecar.timeunits import MINUTE

MAX_PAGES: Final = 1000
WAIT_FOR_OTHERS: Final = 5.0
"""Seconds for which a look waits for other creates to be told apart from its own."""
GIVE_UP_AFTER: Final = 5 * MINUTE
"""ns since acceptance after which a collection that lacks what is known is not whole, rather than changing."""
_NEXT: Final = re.compile(r'<([^<>]*)>[^<]*rel="?next', re.IGNORECASE)
Ask = Callable[[Endpoint, str, Headers], "Response | None"]
"""A GET of this target in the name of these fields; None: nothing whole came of it."""


class Effect(StrEnum):
    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    CONFLICT = "conflict"
    """Someone changed the record meanwhile: what is there is neither what was nor what is wanted."""
    UNAVAILABLE = "unavailable"
    """The upstream could not be asked, or not yet."""
    UNDETERMINABLE = "undeterminable"


@dataclass(frozen=True)
class Found:
    """`seen`: the record that shows it; of a conflict, as it is now. `why`: why it cannot be told, for a person."""

    effect: Effect
    seen: RecordSeen | None = None
    why: str = ""


@dataclass(frozen=True)
class Listed:
    """A collection as it was read. `whole`: these are all; `dated`: the upstream's own clock then, in wall ns."""

    values: list[Value]
    whole: bool
    dated: float | None


class EffectLookup:
    """Asks the upstream, in the writer's own name."""

    def __init__(self, contract: Contract, engine: Engine, ask: Ask) -> None:
        self._contract = contract
        self._reader = engine.execution_options(writes=False)
        self._ask = ask

    def look(self, row: Any, headers: Headers, *, secret: bool) -> Found:
        """What has become of the entry. `secret`: it sends something that no record shows. Raises SQLAlchemyError."""
        with self._reader.connect() as connection, connection.begin():
            pending = box.pending(connection, self._contract, row)
        if row.action == Action.CREATE:
            return self._look_for_new(row, pending, headers)
        return self._look_at(row, pending, headers, secret)

    def _look_for_new(self, row: Any, pending: Pending, headers: Headers) -> Found:
        resource = self._contract.resources[row.type]
        listing = self._contract.endpoint_for(row.type, Action.LIST)
        if listing is None or "{" in listing.template or not resource.list_matches_read:
            return Found(Effect.UNDETERMINABLE, why="no list shows every record of its kind")
        began = earliest()
        read = self._collection(resource, listing, headers)
        if read is None:
            return Found(Effect.UNAVAILABLE)
        values = read.values
        pending = replace(pending, span=span_of(box.ages(row), read.dated))
        if not self._others_ended(row, resource, pending, stamp()):
            return Found(Effect.UNAVAILABLE)
        with self._reader.connect() as connection, connection.begin():
            taken = self._taken(connection, row, resource, read)
            found = judge_new(
                resource, pending, values, taken, lambda i: box.is_claimed(connection, row.type, i), read.whole
            )
            if found.effect is Effect.NOT_APPLIED and self._lacks_known(connection, resource, values, began):
                late = box.age(row) > GIVE_UP_AFTER
                why = "the list lacks records that are known to be there"
                return Found(Effect.UNDETERMINABLE if late else Effect.UNAVAILABLE, why=why)
        return found

    def _taken(self, connection: Connection, row: Any, resource: Resource, read: Listed) -> set[str]:
        """Of two unclear creates that look alike, the earlier has the earlier record."""
        taken: set[str] = set()
        for other in box.unsettled(connection, (State.SENDING, State.UNCLEAR, State.PARKED)):
            if other.type == row.type and other.action == Action.CREATE and other.seq < row.seq and other.sent:
                theirs = box.pending(connection, self._contract, other)
                theirs = replace(theirs, span=span_of(box.ages(other), read.dated))
                exact, _ = candidates(
                    resource, theirs, read.values, taken, lambda i: box.is_claimed(connection, row.type, i)
                )
                taken |= {str(value[resource.id_field]) for value in exact[:1]}
        return taken

    def _others_ended(self, row: Any, resource: Resource, pending: Pending, before: int) -> bool:
        """Whether every create whose record could be in the list, unclaimed, has ended, and claimed what it made."""
        deadline = time.monotonic() + WAIT_FOR_OTHERS
        open_ = (
            select(func.count())
            .select_from(writes)
            .where(writes.c.type == row.type, writes.c.record.is_(None), writes.c.ended.is_(None))
            .where(writes.c.started < before)
        )
        while True:
            with self._reader.connect() as connection, connection.begin():
                waiting = bool(connection.scalar(open_))
                for other in box.unsettled(connection, (State.SENDING,)):
                    if other.type == row.type and other.action == Action.CREATE and other.id != row.id:
                        theirs = box.pending(connection, self._contract, other)
                        alike = all_of(pending.fields, dict(theirs.fields), resource.schemas)
                        waiting = waiting or alike is not Match.DIFFERENT
            if not waiting:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def _lacks_known(self, connection: Connection, resource: Resource, values: Sequence[Value], began: int) -> bool:
        """Whether a record that is known to be there is not in the list: then it is not all of it, or changing."""
        if knowledge.is_private(connection, self._contract, resource.name):
            return False
        query = select(records.c.id).where(records.c.type == resource.name, records.c.state == KNOWN)
        known = set(connection.scalars(query.where(records.c.stamp < began)))
        listed = {str(value.get(resource.id_field)) for value in values}
        return bool(known - listed - box.deleting(connection, resource.name))

    def _collection(self, resource: Resource, listing: Endpoint, headers: Headers) -> Listed | None:
        """All records; None: they could not be read now."""
        target, whole, single = listing.template, True, True
        found: list[Value] = []
        dated: float | None = None
        for _ in range(MAX_PAGES):
            response = self._ask(listing, target, headers)
            if response is None or response.status not in (200, 206) or (response.header("age") or "0") != "0":
                return None
            values = _values(resource, response)
            dated = date_of(response)
            if values is None:
                return Listed(found, False, dated)
            found += values
            following = next_page(response)
            if following is None:
                whole = is_whole(response, len(found))
                break
            target, single = following, False
        else:
            return Listed(found, False, dated)
        if whole and single and looks_paged(len(found)):
            return self._beyond(resource, listing, headers, Listed(found, True, dated))
        return Listed(found, whole, dated)

    def _beyond(self, resource: Resource, listing: Endpoint, headers: Headers, first: Listed) -> Listed | None:
        """A list of so round a number may be a page, though nothing says so: asked for the second, an upstream that
        knows no pages gives the same again."""
        found, ids = list(first.values), {str(value[resource.id_field]) for value in first.values}
        for page in range(2, MAX_PAGES):
            response = self._ask(listing, f"{listing.template}?page={page}", headers)
            if response is None:
                return None
            values = _values(resource, response) if response.status == 200 else []
            new = [value for value in values or () if str(value[resource.id_field]) not in ids]
            if values is None:
                break
            if not new:
                return Listed(found, True, first.dated)
            found += new
            ids |= {str(value[resource.id_field]) for value in new}
        return Listed(found, False, first.dated)

    def _look_at(self, row: Any, pending: Pending, headers: Headers, secret: bool) -> Found:
        target = self._own_path(row, pending)
        if target is None:
            return Found(Effect.UNDETERMINABLE, why="its record cannot be read on its own")
        response = self._ask(*target, headers)
        if response is None:
            return Found(Effect.UNAVAILABLE)
        base = orjson.loads(row.base) if row.base else None
        if response.status in (404, 410):
            # What nobody had seen there was perhaps never there.
            gone = Effect.APPLIED if base is not None else Effect.UNDETERMINABLE
            why = "the record is not there, and had not been seen before"
            return Found(gone if row.action == Action.DELETE else Effect.NOT_APPLIED, why=why)
        resource = self._contract.resources[row.type]
        seen = record_in(resource, response) if response.status == 200 else None
        if seen is None or seen.id != pending.record:
            why = "what is read at its place is not the record"
            return Found(Effect.UNAVAILABLE if response.status >= 300 else Effect.UNDETERMINABLE, why=why)
        if row.action == Action.DELETE:
            return Found(Effect.NOT_APPLIED)
        return judge_record(resource, pending.fields, orjson.loads(seen.body), base or {}, seen,
                            hidden=secret or row.method == "PUT", restored=pending.restored)  # fmt: skip

    def _own_path(self, row: Any, pending: Pending) -> tuple[Endpoint, str] | None:
        """Where the entry's record is read: at its own path, or by its id alone."""
        endpoint = self._contract.endpoints[row.endpoint]
        readings = [e for e in self._contract.endpoints.values() if e.resource == row.type and e.action is Action.READ]
        for reading in readings:
            if reading.id_param is not None and reading.template.count("{") == 1:
                return reading, reading.template.replace("{" + reading.id_param + "}", pending.record)
        for reading in readings:
            path = row.target.partition("?")[0]
            if reading.template == endpoint.template and path.rpartition("/")[2] == pending.record:
                return reading, path
        return None


def span_of(ages: Sequence[int], dated: float | None) -> tuple[float, float] | None:
    """The earliest and latest moment of an entry's acceptance by the upstream's own clock, in wall ns, where it is now
    `dated`. None: the upstream does not tell the time. Pure."""
    return None if dated is None else (dated - max(*ages, 0), dated - max(min(ages), 0))


def date_of(response: Response) -> float | None:
    """The Date of an answer, in wall ns."""
    try:
        return parsedate_to_datetime(response.header("date") or "").timestamp() * 1e9
    except ValueError:
        return None


def judge_new(
    resource: Resource, write: Pending, values: Sequence[Value], taken: set[str], claimed: Callable[[str], bool],
    whole: bool,
) -> Found:  # fmt: skip
    """What a collection shows of an unclear create. `whole`: it is all of it. Pure."""
    exact, unsure = candidates(resource, write, values, taken, claimed)
    if exact and write.fields:
        return Found(Effect.APPLIED, whole_record(resource, exact[0]))
    if exact or unsure:
        alike = ", ".join(str(value[resource.id_field]) for value in [*exact, *unsure][:3])
        return Found(Effect.UNDETERMINABLE, why=f"it may have made record {alike}, which may also be another's")
    if write.restored and _may_be_gone(resource, write, values):
        return Found(Effect.UNDETERMINABLE, why="what it made may have been deleted again")
    if not whole:
        return Found(Effect.UNDETERMINABLE, why="only a part of the list could be read, and it is not in that")
    return Found(Effect.NOT_APPLIED)


def _may_be_gone(resource: Resource, write: Pending, values: Sequence[Value]) -> bool:
    """Whether what a create made may have been deleted again: an id above its floor is missing in the list."""
    ids = {str(value.get(resource.id_field)) for value in values}
    if write.floor is None or not all(ident.isdecimal() for ident in ids):
        return True
    above = {int(ident) for ident in ids if int(ident) > write.floor}
    return len(above) != max(above, default=write.floor) - write.floor


def judge_record(
    resource: Resource, fields: Mapping[str, Any], value: Value, base: Value, seen: RecordSeen, *, hidden: bool,
    restored: bool = False,
) -> Found:  # fmt: skip
    """What a record shows of a change to it. `hidden`: it changes more than what was sent, so that equal fields do not
    prove it; it may then be sent again, for that changes nothing more. `restored`: it may have been settled long ago,
    so that a record which was touched since says nothing. Pure."""
    unchanged = fields.keys() <= value.keys() and (
        all_of({name: base.get(name) for name in fields}, value, resource.schemas) is Match.EQUAL
    )
    alike = all_of(fields, value, resource.schemas) if fields else Match.EQUAL
    updated = resource.updated_field or ""
    touched = value.get(updated) is not None and updated in base and value[updated] != base[updated]
    if alike is Match.EQUAL:
        return Found(Effect.APPLIED, seen) if not hidden or touched and fields else Found(Effect.NOT_APPLIED)
    if unchanged:
        told = not touched or (alike is not Match.UNSURE and not restored)
        return Found(Effect.NOT_APPLIED if told else Effect.UNDETERMINABLE, why="the record was changed meanwhile")
    if alike is not Match.UNSURE:
        return Found(Effect.CONFLICT, seen)
    return Found(Effect.UNDETERMINABLE, why="the upstream may have written what was sent in another way")


def next_page(response: Response) -> str | None:
    """The path of the next page, by the answer's Link."""
    found = _NEXT.search(response.header("link") or "")
    if found is None:
        return None
    parts = urlsplit(found[1])
    return parts.path + (f"?{parts.query}" if parts.query else "") if parts.path.startswith("/") else None


def is_whole(response: Response, count: int) -> bool:
    """Whether nothing hints at more than what was read."""
    if response.status == 206 or response.header("content-range") is not None or "next" in (
        response.header("link") or ""
    ).lower():  # fmt: skip
        return False
    told = next((text for text in map(response.header, TOTALS) if text is not None), None)
    return told is None or told.strip() == str(count)


def looks_paged(count: int) -> bool:
    """Whether so many records are what a page usually holds."""
    return count >= 5 and (count % 5 == 0 or count & (count - 1) == 0)


def _values(resource: Resource, response: Response) -> list[Value] | None:
    """The records in a list; None for what is none."""
    try:
        value = orjson.loads(decode_body(response, LIMIT))
    except (Unreadable, orjson.JSONDecodeError):
        return None
    if not isinstance(value, list) or not all(isinstance(each, dict) and resource.id_field in each for each in value):
        return None
    return value
