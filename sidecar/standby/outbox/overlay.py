"""Pending writes laid over what the upstream holds: what users see until their writes are settled there. Pure.

A write that was accepted is visible at once. Whether an unclear create has in truth arrived is told by its effect: a
record with the fields that were sent, made since, and claimed by no other write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.contract import Action, Resource
from sidecar.standby.outbox.casts import Match, all_of
from sidecar.timeunits import MINUTE

LONGEST_CALL: Final = MINUTE
"""ns before a write was accepted in which it may have been made: the longest that a call lasts, and some skew."""
PROVISIONAL: Final = 2_000_000_000
"""The first provisional id. Upstream ids stay below."""
SKEW: Final = 5 * MINUTE
"""ns that a time which the upstream shows may be off its own clock."""
Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pending:
    """A write accepted and not settled. References to records of other pending writes are resolved where they can be.

    `record`: the id by which users know it now. `fields`: what was sent, less secrets. `body`: of a create, the record
    as it was answered. `sent`: it may have taken effect. `floor`: ids up to this were there before (None: unknown).
    """

    seq: int
    type: str
    action: Action
    record: str
    fields: Mapping[str, Any]
    body: Value | None
    user: str | None
    at: int
    sent: bool = False
    floor: int | None = None
    whole: bool = False
    """Whether every record of the resource was known when it began, so that `floor` alone tells what is new."""
    parked: bool = False
    """A person must decide: it is shown to nobody as if it were done."""
    span: tuple[float, float] | None = None
    """The earliest and the latest moment that `at` may be, in wall ns of the upstream's own clock; None where only ours
    is known, which may have been wrong."""
    restored: bool = False
    """It stood in a database that went back in time: it may have been settled, and what it made changed again since."""


def provisional(value: object) -> bool:
    """Whether an id, as a number or in decimal, is one of ours."""
    text = str(value)
    return not isinstance(value, bool) and text.isascii() and text.isdecimal() and int(text) >= PROVISIONAL


def sent_fields(resource: Resource, body: Any) -> Value | None:
    """The fields of a request's JSON body that the resource takes, in its own types, less secrets; None: unreadable."""
    if not isinstance(body, dict):
        return None
    known = resource.writable or resource.fields.keys() or body.keys()
    return {n: _typed(resource, n, v) for n, v in body.items() if n in known and n not in resource.secrets}


def new_record(resource: Resource, fields: Mapping[str, Any], ident: int, at: int, sample: Value | None) -> Value:
    """A record in the upstream's own shape: the keys of a sample record, or of the contract, as far as their values are
    known. What the upstream would put into the others is not invented, null neither."""
    now, known = moment(at), {resource.id_field: ident, **fields}
    for name in (resource.created_field, resource.updated_field):
        if name is not None:
            known[name] = now
    if resource.url_field is not None:
        known[resource.url_field] = record_path(resource, ident, sample)
    keys = sample or dict.fromkeys((*resource.fields, *known))
    return {name: known[name] for name in keys if name in known}


def record_path(resource: Resource, ident: object, sample: Value | None) -> str:
    """The path of a record's URL field, as the upstream was seen to write it."""
    seen = (sample or {}).get(resource.url_field or "")
    if sample is not None and isinstance(seen, str):
        head, found, tail = seen.rpartition(str(sample.get(resource.id_field)))
        if found:
            return f"{head}{ident}{tail}"
    return resource.path.replace("{}", str(ident))


def merged(resource: Resource, value: Value, pending: Pending) -> Value:
    """The record after an update."""
    changed = {name: given for name, given in pending.fields.items() if name in value}
    if resource.updated_field in value:
        changed[resource.updated_field] = moment(pending.at)
    return {**value, **changed}


def laid_over(
    resource: Resource, values: Iterable[Value], pending: Sequence[Pending], claimed: Claimed
) -> list[Value] | None:
    """All records as users see them: `values` are the upstream's; `pending` is in order. None: of one that may have
    been made nobody can say whether it is a pending create's, so that it would be shown twice, or not at all; or one of
    the pending writes may have been settled, and overtaken, before the database went back in time."""
    if any(write.restored for write in pending):
        return None
    shown = {str(value.get(resource.id_field)): value for value in values}
    maybe_new = dict.fromkeys(_maybe_new(resource, shown, pending))
    arrived: dict[str, str] = {}
    for write in pending:
        record = arrived.get(write.record, write.record)
        if write.action is Action.CREATE:
            exact, unsure = list[Value](), list[Value]()
            if write.sent:
                among = shown if write.floor is None else [ident for ident in maybe_new if ident in shown]
                exact, unsure = candidates(resource, write, (shown[i] for i in among), arrived.values(), claimed)
            if exact:
                arrived[write.record] = str(exact[0][resource.id_field])
            elif unsure:
                return None
            elif write.body is not None:
                shown[record] = dict(write.body)
        elif record in shown:
            if write.action is Action.DELETE:
                del shown[record]
            else:
                shown[record] = merged(resource, shown[record], write)
                maybe_new[record] = None  # its time may be another now
    return list(shown.values())


def _maybe_new(resource: Resource, shown: Mapping[str, Value], pending: Sequence[Pending]) -> Iterator[str]:
    """The ids of the records that may be new to any of the creates that have a floor: every other is DIFFERENT to each
    of them (`newness`). Found in one go: what a list takes would else grow as all records times all such creates."""
    unclear = [write for write in pending if write.action is Action.CREATE and write.sent and write.floor is not None]
    floor = min((write.floor for write in unclear if write.floor is not None), default=None)
    if floor is None:
        return
    since = min(write.span[1] if write.span else write.at for write in unclear) - LONGEST_CALL
    for ident, value in shown.items():
        if ident.isdecimal() and int(ident) <= floor:
            made = _made_at(resource, value)
            if made is None or made < since:
                continue
        yield ident


def about(
    resource: Resource, pending: Sequence[Pending], record: str | None, values: Collection[Value], claimed: Claimed
) -> Sequence[Pending]:
    """Those of the pending writes that are about one record, of which `values` is what the upstream shows (or nothing).

    A create that has arrived without our knowing is about the record that it made, and so are the changes to it.
    """
    ids = {record}
    for write in pending:
        if write.action is Action.CREATE and write.sent and effect(resource, write, values, (), claimed) == record:
            ids.add(write.record)
    return [write for write in pending if write.record in ids]


Claimed = Callable[[str], bool]
"""Whether a record's id belongs to a write that was settled."""


def effect(
    resource: Resource, write: Pending, values: Iterable[Value], taken: Collection[str], claimed: Claimed
) -> str | None:
    """The id of the record that an unclear create made, or None: it is not there."""
    exact, _ = candidates(resource, write, values, taken, claimed)
    return str(exact[0][resource.id_field]) if exact else None


def candidates(
    resource: Resource, write: Pending, values: Iterable[Value], taken: Collection[str], claimed: Claimed
) -> tuple[list[Value], list[Value]]:
    """The records that an unclear create may have made, in the order of their ids: those that are new and have all that
    was sent, as the upstream casts it; and those of which it cannot be told. No other can be its."""
    exact: list[Value] = []
    unsure: list[Value] = []
    for value in values:
        new = newness(resource, write, value)
        if new is Match.DIFFERENT:
            continue
        alike = all_of(write.fields, value, resource.schemas)
        ident = str(value[resource.id_field])
        if alike is Match.DIFFERENT and write.restored and _may_have_been_changed(resource, value):
            alike = Match.UNSURE
        if alike is Match.DIFFERENT or ident in taken or claimed(ident):
            continue
        (exact if new is alike is Match.EQUAL else unsure).append(value)

    def by_id(value: Value) -> tuple[int, str]:
        ident = str(value[resource.id_field])
        return len(ident), ident

    return sorted(exact, key=by_id), sorted(unsure, key=by_id)


def moment(at: int) -> str:
    """ISO 8601 in UTC with milliseconds, from wall ns."""
    return datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def newness(resource: Resource, write: Pending, value: Value) -> Match:
    """Whether a record was made since the write began: EQUAL is yes, DIFFERENT no, UNSURE nobody can tell.

    Ids that rise tell it, and the record's own time. Where the two disagree ids do not rise, or a clock was wrong: no
    clock of ours alone rules out a record, for a write that is wrongly thought lost is sent twice.
    """
    ident = value.get(resource.id_field)
    if isinstance(ident, bool) or not isinstance(ident, (int, str)) or provisional(ident):
        return Match.DIFFERENT
    then = _made_at(resource, value)
    earliest, latest = write.span or (write.at, write.at)
    recent = then is not None and then >= latest - LONGEST_CALL
    old = then is not None and then < earliest - SKEW
    if write.floor is not None and str(ident).isdecimal():
        if int(ident) <= write.floor:
            return Match.UNSURE if recent else Match.DIFFERENT
        return Match.EQUAL if recent or (write.whole and not old) else Match.UNSURE
    if old and write.span is not None:
        return Match.DIFFERENT
    return Match.EQUAL if recent else Match.UNSURE


def _may_have_been_changed(resource: Resource, value: Value) -> bool:
    """Whether a record may be other than it was made: only its own times can say that it is not."""
    made = value.get(resource.created_field or "")
    return made is None or made != value.get(resource.updated_field or "")


def _made_at(resource: Resource, value: Value) -> float | None:
    """Wall ns, by the upstream's clock."""
    made = value.get(resource.created_field or "")
    try:
        then = datetime.fromisoformat(made) if isinstance(made, str) else None
    except ValueError:
        return None
    return None if then is None else (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() * 1e9


def _typed(resource: Resource, name: str, value: Any) -> Any:
    kinds = resource.fields.get(name, frozenset())
    if isinstance(value, str) and "integer" in kinds and value.strip().removeprefix("-").isdecimal():
        return int(value)
    return value
