"""Which few questions, asked of the upstream, would tell rivals apart: what backfill asks when nothing is missing.

Only looks. It asks for nothing that could not become proof: what is proven, or cannot be settled with the records that
there are, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from sqlalchemy import Connection, select

from sidecar.contract import Action, Contract, Endpoint, Resource
from sidecar.standby import evidence, knowledge, queries
from sidecar.standby.answer import in_contracts_order
from sidecar.standby.derivations import (
    APART,
    DELETED,
    ITEM,
    LIST,
    MEANINGS,
    MISSING,
    PLACES,
    WRITTEN,
    by_filter,
    by_write,
    crosses_a_cap,
    list_rivals,
    places,
    probes,
    reach,
    room,
)
from sidecar.standby.tables import DOUBT, GONE, KNOWN, READ, WRITE, records

CANDIDATES: Final = 24
"""Values of a filter that are thought about at a time."""


def questions(connection: Connection, contract: Contract, proof: int) -> list[str]:
    """Targets of GET requests, resource by resource; none where all that can be proven is."""
    found: list[str] = []
    for resource in contract.resources.values():
        whole = queries.collection(connection, resource.name)
        if whole is None or not whole.complete or knowledge.private(resource, whole):
            continue
        if whole.stamp < queries.since(connection, resource.name) or knowledge.unsettled(
            connection, resource.name, membership=False
        ):
            continue
        rows = connection.execute(select(records).where(records.c.type == resource.name)).all()
        read = contract.endpoint_for(resource.name, Action.READ)
        listing = contract.endpoint_for(resource.name, Action.LIST)
        if read is not None and read.template.count("{") == 1:
            found += [_path(read, ident) for ident in _reads(connection, read, rows, proof)]
        if listing is not None and "{" not in listing.template:
            found += _lists(connection, listing, resource, whole, rows, proof)
    return list(dict.fromkeys(found))


def _path(endpoint: Endpoint, ident: str) -> str:
    before, _, rest = endpoint.template.partition("{")
    return before + quote(ident, safe="") + rest.partition("}")[2]


def _reads(connection: Connection, read: Endpoint, rows: Sequence[Any], proof: int) -> Iterator[str]:
    """Ids to read: records that only a list, or a write, has shown; deleted ones; and such as nobody has."""
    known = {row.id for row in rows if row.state == KNOWN}
    listed = [row.id for row in rows if row.state == KNOWN and row.source not in (READ, WRITE)]
    written = [row.id for row in rows if row.state == KNOWN and row.source == WRITE]
    deleted = [row.id for row in rows if row.state == GONE and row.source == WRITE]
    for derivation, ids, rival in (
        (ITEM, listed, "list_shows_otherwise"),
        (WRITTEN, written, "answer_is_an_echo"),
        (DELETED, deleted, "still_shown"),
    ):
        seen = evidence.standing(connection, read.id, derivation)
        if not seen.holds(proof, {rival}):
            step = max(1, len(ids) // proof)
            yield from ids[::step][:proof]
    yield from _longest(evidence.standing(connection, read.id, ITEM), rows, proof)
    yield from _absent(connection, read, known, proof)


def _longest(seen: evidence.Standing, rows: Sequence[Any], proof: int) -> Iterator[str]:
    """Of records that only a list has shown: the longest by each text that it may have cut, so that one is enough; of
    those that are as long as the longest, as many as it takes."""
    found: dict[str, list[tuple[float, str]]] = {}
    for row in rows if not seen.refuted else ():
        if row.state == KNOWN and row.source not in (READ, WRITE):
            for name, size in reach(orjson.loads(row.body)).items():
                if seen.beyond({name: size}, proof) is not None:
                    found.setdefault(name, []).append((size, row.id))
    chosen: dict[str, None] = {}
    for each in found.values():
        each.sort(reverse=True)
        chosen |= dict.fromkeys(ident for _, ident in each[:proof])
    yield from chosen


def _absent(connection: Connection, read: Endpoint, known: set[str], proof: int) -> Iterator[str]:
    """Ids that no record has: of each place where a list may leave something out, as many as it takes there."""
    seen, left_out = evidence.standing(connection, read.id, MISSING), room(known)
    lacking = dict.fromkeys(left_out - seen.told_apart, proof - seen.agreements)
    for name, needed in places(known, left_out, seen.told_apart, proof).items():
        here = evidence.standing(connection, read.id, PLACES[name])
        if not here.holds(needed, ()):
            lacking[name] = needed - here.agreements
    if not lacking and not seen.holds(proof, left_out):
        lacking["page_of_oldest"] = proof - seen.agreements
    for name, count in sorted(lacking.items()):
        here = evidence.standing(connection, read.id, PLACES[name])
        yield from probes(known, name, max(1, count), here.has)


def _lists(
    connection: Connection, listing: Endpoint, resource: Resource, whole: Any, rows: Sequence[Any], proof: int
) -> Iterator[str]:
    """The list, where it has changed since it was shown; and filters by values that tell meanings apart."""
    values = [orjson.loads(row.body) for row in rows if row.state == KNOWN]
    ours = in_contracts_order(resource, values, ())
    if ours is None or any(row.state == DOUBT for row in rows):
        return
    digest = knowledge.list_digest(orjson.dumps(value).decode() for value in ours)
    told = evidence.standing(connection, resource.name, APART).told_apart
    untold = {kind for kind in queries.written_after(connection, whole.stamp) if by_write(kind) not in told}
    capped = crosses_a_cap(whole.listed, len(values))  # until it is seen whole again nothing is made of it
    changed = digest != whole.digest
    if untold or capped or (changed and not evidence.standing(connection, listing.id, LIST).holds(proof, ())):
        yield listing.template
    for name in listing.filters:
        seen = evidence.standing(connection, listing.id, by_filter(name))
        living = [rival for rival in MEANINGS if rival not in seen.told_apart]
        if seen.holds(proof, living):
            continue
        wanted = sorted(_candidates(values, name), key=lambda v: -_tells(resource, values, name, v, seen.told_apart))
        asked = proof if seen.agreements < proof else 1
        useful = [value for value in wanted if asked > 1 or _tells(resource, values, name, value, seen.told_apart)]
        for value in useful[:asked]:
            yield f"{listing.template}?{urlencode({name: value})}"


def _candidates(values: Sequence[dict[str, Any]], name: str) -> list[str]:
    """Values to filter by: some that are there, parts and spellings of them, and one that is not."""
    present = list(dict.fromkeys(str(v[name]) for v in values if type(v.get(name)) in (int, str)))
    step = max(1, len(present) // 8)
    some = [value for value in present[::step][:8] if value]
    if all(value.lstrip("-").isdecimal() for value in some):
        highest = max((int(value) for value in present if value.lstrip("-").isdecimal()), default=0)
        short = sorted(present, key=len)[:3]
        return [*short, *some, *(str(highest + more) for more in range(1, 6))]
    parts = [part for value in some for part in (value[:3], value[1:4], value.swapcase(), f"{value},{some[0]}")]
    return list(dict.fromkeys([*some, *parts, "".join(some)[:40]]))[:CANDIDATES]


def _tells(
    resource: Resource, values: list[dict[str, Any]], name: str, value: str, told: frozenset[str]
) -> int:  # fmt: skip
    """How many living rivals a filter by this value would tell apart, if it means equality."""
    pairs = [(name, value)]
    ours = in_contracts_order(resource, values, pairs)
    if ours is None:
        return 0
    ids = [str(row[resource.id_field]) for row in ours]
    said = list_rivals(resource, values, pairs, told)[by_filter(name)]
    return sum(listed != ids for listed in said.values())
