"""Compares what the standby would have derived with what the upstream did answer: the evidence. Off the request path.

Called before the answer is learned from, inside the same transaction. A difference that a write may explain is no
comparison: nothing is compared with knowledge that is newer than the question, unverified, or being written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, select

from sidecar.contract import Action, Contract, Endpoint, Match, Resource
from sidecar.http.content import media_type
from sidecar.http.determining import spelling
from sidecar.http.messages import Request, Response
from sidecar.standby import evidence, knowledge, queries
from sidecar.standby.answer import format_wanted, in_contracts_order, plain_filters
from sidecar.standby.copies import own_of
from sidecar.standby.derivations import (
    APART,
    CUT,
    DELETED,
    FORMAT,
    ITEM,
    MANNER,
    MISSING,
    ONE_PAGE,
    OWN,
    PLACES,
    SHARED,
    STEADY,
    WRITTEN,
    Comparison,
    by_filter,
    by_format,
    by_manner,
    by_write,
    equal,
    list_rivals,
    reach,
    shared_with,
    told_by_absence,
)
from sidecar.standby.derivations import LIST as LISTED
from sidecar.standby.diff import differences
from sidecar.standby.observations import ListSeen, Observation, OwnSeen, RecordMissing, RecordSeen, ReplySeen
from sidecar.standby.outbox.snapshot import Snapshot
from sidecar.standby.tables import DOUBT, GONE, KNOWN, LIST, READ, WRITE, records
from sidecar.storage.remembered import remembered
from sidecar.timeunits import HOUR

MOST_FORMATS: Final = 32
"""Ways of asking for a format that are kept of one endpoint."""
_FORMATS: Final = remembered(
    select(evidence.evidence.c.derivation).where(
        evidence.evidence.c.endpoint == bindparam("of"), evidence.evidence.c.derivation.startswith(FORMAT)
    )
)
_MANNERS: Final = remembered(
    select(evidence.evidence.c.derivation).where(
        evidence.evidence.c.endpoint == bindparam("of"), evidence.evidence.c.derivation.startswith(MANNER)
    )
)
Compared = tuple[str, Comparison]
"""An endpoint's id, with what was compared of it."""


class Comparer:
    """Makes comparisons. Only looks."""

    def __init__(self, contract: Contract, proof: int) -> None:
        self._contract = contract
        self._proof = proof

    def compare(
        self, connection: Connection, match: Match, response: Response, seen: Sequence[Observation],
        user: str | None, t0: int, view: Snapshot,
    ) -> list[Compared]:  # fmt: skip
        """What the answer to a question of t0 says of each derivation that would have answered it. `view`: what waits
        in the outbox."""
        endpoint = match.endpoint
        if endpoint is None or endpoint.resource is None or endpoint.action not in (Action.LIST, Action.READ):
            return []
        resource = self._contract.resources[endpoint.resource]
        found: list[Compared] = []
        for observation in seen:
            if isinstance(observation, OwnSeen | ReplySeen) or _may_be_written(
                connection, resource, observation, t0, view
            ):
                continue
            if isinstance(observation, RecordSeen):
                found += self._record(connection, endpoint, resource, observation, user, t0)
            elif isinstance(observation, RecordMissing):
                found += self._missing(connection, endpoint, resource, observation.id, response, user, t0)
            elif isinstance(observation, ListSeen):
                found += self._list(connection, endpoint, resource, observation, user, t0)
        return found

    def is_news(
        self, connection: Connection, endpoint: Endpoint, seen: Sequence[Observation], user: str | None
    ) -> bool:  # fmt: skip
        """Whether an answer says what the samples that are compared of a proven endpoint may never say: that there is
        no such record, that a list shows all of a text that is longer than any before, or that this caller is shown
        what others are."""
        for each in seen:
            if isinstance(each, RecordMissing):
                return True
            first = each if isinstance(each, RecordSeen) else _first_of(each)
            row = queries.record(connection, first.type, first.id) if first is not None else None
            if row is not None and user is not None and self._is_first_shown(connection, row, user):
                return True
            if row is not None and each is first and row.source == LIST and row.body is not None:
                known = evidence.standing(connection, endpoint.id, ITEM)
                if known.beyond(reach(orjson.loads(row.body)), self._proof) is not None:
                    return True
        return False

    def _is_first_shown(self, connection: Connection, row: Any, user: str) -> bool:
        """Whether another was shown the record last, and nobody knows whether this caller is shown the same."""
        if row.caller in (None, user) or evidence.standing(connection, row.type, shared_with(user)).holds(1, ()):
            return False
        resource = self._contract.resources[row.type]
        return not knowledge.private(resource, queries.collection(connection, row.type))

    def _record(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, seen: RecordSeen, user: str | None,
        t0: int,
    ) -> Iterator[Compared]:  # fmt: skip
        row, whole = queries.record(connection, resource.name, seen.id), queries.collection(connection, resource.name)
        since = queries.since(connection, resource.name)
        if endpoint.own and user is not None:
            yield from self._own(connection, endpoint, resource, seen, user, t0)
        if row is None or row.state == GONE:
            known = row.stamp if row is not None else whole.stamp if whole is not None and whole.complete else None
            if known is not None and since <= known <= t0 and not knowledge.private(resource, whole):
                there = "the upstream shows a record that we took to be gone"
                if row is not None and row.source == WRITE:
                    yield endpoint.id, Comparison(DELETED, seen.id, there)
                else:
                    yield from _there_after_all(endpoint.id, seen.id, there)
            return
        if row.state != KNOWN or not since <= row.stamp <= t0:
            return
        said = _differences(row.body, seen.body)
        if row.source == READ:
            yield from self._steady(connection, resource, [(row, seen)], _stamp(whole), t0)
        if said is not None and row.source == READ:
            yield from self._apart(connection, resource, [(row, seen)], _stamp(whole), t0)
        if row.source == WRITE:
            rival = frozenset({"answer_is_an_echo"})
            yield endpoint.id, Comparison(WRITTEN, f"{seen.id} {row.body}", said, rival)
        elif row.source != READ or endpoint.own:
            shown = reach(orjson.loads(row.body)) if row.source == LIST else {}
            yield endpoint.id, Comparison(ITEM, seen.id, said, frozenset({"list_shows_otherwise"}), shown)
        if row.caller is not None and user is not None and row.caller != user:
            yield from _shared(endpoint, user, row.caller, seen.id, said)

    def _own(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, seen: RecordSeen, user: str, t0: int
    ) -> Iterator[Compared]:
        value = orjson.loads(seen.body)
        if resource.username_field is not None:
            right = value.get(resource.username_field) == user
            said = None if right else "the caller's record has another name"
            yield endpoint.id, Comparison(OWN, user, said, frozenset({"another_field"}))

    def _missing(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, asked: str, response: Response,
        user: str | None, t0: int,
    ) -> Iterator[Compared]:  # fmt: skip
        row, whole = queries.record(connection, resource.name, asked), queries.collection(connection, resource.name)
        since = queries.since(connection, resource.name)
        if knowledge.private(resource, whole):
            return
        if row is not None and row.state == KNOWN and since <= row.stamp <= t0:
            said = "the upstream does not show a record that was there"
            if row.caller not in (None, user) and user is not None:
                yield from _shared(endpoint, user, row.caller, asked, said)
            else:
                yield endpoint.id, Comparison({LIST: ITEM, WRITE: WRITTEN}.get(row.source, ITEM), asked, said)
        elif response.status == 404 and row is not None and row.state == GONE and row.source == WRITE:
            if since <= row.stamp <= t0:
                yield endpoint.id, Comparison(DELETED, asked, None, frozenset({"still_shown"}))
            return
        complete = whole is not None and whole.complete and since <= whole.stamp <= t0
        if response.status == 404 and complete and (row is None or (row.state == GONE and row.source != WRITE)):
            told = told_by_absence(queries.ids(connection, resource.name), asked)
            if told is not None:
                yield endpoint.id, Comparison(MISSING, asked, None, told)
                for rival in told:
                    yield endpoint.id, Comparison(PLACES[rival], asked)

    def _list(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, seen: ListSeen, user: str | None, t0: int
    ) -> Iterator[Compared]:
        whole, since = queries.collection(connection, resource.name), queries.since(connection, resource.name)
        if knowledge.private(resource, whole):
            return
        read = self._contract.endpoint_for(resource.name, Action.READ) or endpoint
        rows = connection.execute(select(records).where(records.c.type == resource.name)).all()
        if any(row.stamp > t0 or row.state == DOUBT for row in rows):
            return
        known = {row.id: row for row in rows if row.state == KNOWN}
        yield from self._written_and_listed(connection, read, seen, known, since)
        theirs = [record.id for record in seen.records]
        if not seen.filters:
            both = [(known[record.id], record) for record in seen.records if record.id in known]
            listed = _stamp(whole)
            alike = [(row, record) for row, record in both if row.source == LIST]
            yield from self._steady(connection, resource, alike, listed, t0)
            yield from self._apart(connection, resource, both, listed, t0, whole=listed > since)
        if not seen.filters:
            hidden = known.keys() - set(theirs)
            if any(known[ident].stamp >= since for ident in hidden):
                yield from _there_after_all(read.id, "left out", "a list leaves out records that are there")
            if seen.counted:
                yield read.id, Comparison(MISSING, f"counted {len(theirs)}", None, CUT | {ONE_PAGE})
        if whole is None or not whole.complete or not since <= whole.stamp <= t0:
            return
        values = [orjson.loads(row.body) for row in known.values()]
        pairs = [(str(name), str(value)) for name, value in orjson.loads(seen.filters)] if seen.filters else []
        ours = in_contracts_order(resource, values, pairs)
        if ours is None or not plain_filters(values, pairs):
            return
        said = _list_differences(resource, ours, [orjson.loads(record.body) for record in seen.records])
        told = {
            derivation: frozenset(name for name, ids in said_by.items() if ids != theirs)
            for derivation, said_by in list_rivals(resource, values, pairs).items()
        }
        if pairs:
            sound = not any(evidence.standing(connection, endpoint.id, by_filter(name)).refuted for name, _ in pairs)
            for name, _ in pairs:
                derivation = by_filter(name)
                yield endpoint.id, Comparison(derivation, seen.filters, said, told[derivation])
            if user is not None and sound:
                told_of = theirs if said is None else {str(value[resource.id_field]) for value in ours} - set(theirs)
                yield from _shown_to_another(endpoint, user, seen, [known[ident] for ident in told_of], said)
            return
        text = [orjson.dumps(value).decode() for value in ours]
        digest = knowledge.list_digest(text)
        yield endpoint.id, Comparison(LISTED, digest, said, told[LISTED])
        if said is None and len(ours) > whole.listed and digest != whole.digest:
            yield read.id, Comparison(MISSING, "grown", None, CUT | {ONE_PAGE})
        if user is not None and whole.caller not in (None, user):
            yield from _shared(endpoint, user, whole.caller, "list " + digest, said)

    def _apart(
        self, connection: Connection, resource: Resource, both: Sequence[tuple[Any, RecordSeen]], at: int, t0: int,
        *, whole: bool = False,
    ) -> Iterator[Compared]:  # fmt: skip
        """What was known of records, all of it last shown at `at` or since, beside what is shown after others were
        written. A read tells only what has changed: whose writes leave it alone is told by a list of all. Kept by the
        resource."""
        since, wrote = queries.since(connection, resource.name), queries.last_writes(connection)
        agreed: list[tuple[str, set[str]]] = []
        for row, seen in both:
            shown = max(row.stamp, at)
            kinds = {kind for kind, stamp in wrote.items() if shown < stamp <= t0}
            if not kinds or shown < since:
                continue
            said = _differences(own_of(resource, row.body), own_of(resource, seen.body))
            if said is not None and row.source == WRITE:
                return  # it may be that the write's answer was no more than an echo
            if said is not None:
                yield resource.name, Comparison(APART, f"{seen.id} {t0}", said)
                return
            agreed.append((seen.id, kinds))
        if not whole:
            return
        ended = {kind for kind in wrote if knowledge.clean(connection, kind, None, t0)}
        for ident, kinds in agreed[: self._proof]:
            told = frozenset(by_write(kind) for kind in kinds & ended)
            yield resource.name, Comparison(APART, f"{ident} {max(wrote[kind] for kind in kinds)}", None, told)

    def _steady(
        self, connection: Connection, resource: Resource, both: Sequence[tuple[Any, RecordSeen]], at: int, t0: int
    ) -> Iterator[Compared]:
        """What is not the records' own, shown again before anything was written."""
        refuted = evidence.standing(connection, resource.name, STEADY).refuted
        if not refuted and all(row.body == seen.body for row, seen in both):
            return
        if queries.any_unclear(connection):
            return
        last = max([queries.since(connection, resource.name), *queries.last_writes(connection).values()])
        both = [(row, seen) for row, seen in both if max(row.stamp, at) >= last]
        for row, seen in both:
            if row.body != seen.body and own_of(resource, row.body) == own_of(resource, seen.body):
                said = _differences(row.body, seen.body)
                if said is not None:
                    yield resource.name, Comparison(STEADY, f"{seen.id} {t0}", said)
                    return
        if both and refuted:
            yield resource.name, Comparison(STEADY, str(t0 // HOUR))

    def _written_and_listed(
        self, connection: Connection, read: Endpoint, seen: ListSeen, known: Mapping[str, Any], since: int
    ) -> Iterator[Compared]:
        """A list that shows what a write's answer had shown, where reads are proven to show what lists do. Where it
        shows something else, a read will tell."""
        rival = frozenset({"answer_is_an_echo"})
        written = [
            record
            for record in seen.records
            if (row := known.get(record.id)) is not None
            and row.source == WRITE and row.stamp >= since and row.body == record.body
        ]  # fmt: skip
        shows = evidence.standing(connection, read.id, ITEM) if written else evidence.NOTHING
        if shows.holds(self._proof, {"list_shows_otherwise"}):
            for record in written:
                yield read.id, Comparison(WRITTEN, f"{record.id} {record.body}", None, rival)


def _may_be_written(
    connection: Connection, resource: Resource, seen: Observation, t0: int, view: Snapshot
) -> bool:  # fmt: skip
    """Whether a write may explain what was shown at t0: of a record that was known, a write to it; of one that was not,
    of one that is missing, and of a list, any write to the resource."""
    row = queries.record(connection, resource.name, seen.id) if isinstance(seen, RecordSeen) else None
    record = row.id if row is not None and row.state == KNOWN else None
    if not knowledge.clean(connection, resource.name, record, t0) or view.may_have_written(resource.name, record):
        return True
    return record is None and knowledge.unsettled(connection, resource.name, membership=False)


def compare_manner(
    connection: Connection, resource: Resource, wanted: str, seen: RecordSeen | ListSeen, t0: int, proof: int
) -> list[Compared]:  # fmt: skip
    """Whether who asks in this manner is told what is known from others. Kept by the resource; how many manners are
    kept is bounded."""
    name, since = by_manner(wanted), queries.since(connection, resource.name)
    kept = connection.scalars(_MANNERS, {"of": resource.name}).all()
    if (name not in kept and len(kept) >= MOST_FORMATS) or not knowledge.clean(connection, resource.name, None, t0):
        return []
    found: list[Compared] = []
    for record in [seen] if isinstance(seen, RecordSeen) else seen.records:
        row = queries.record(connection, resource.name, record.id)
        if row is not None and row.state == KNOWN and since <= row.stamp <= t0:
            said = _differences(own_of(resource, row.body), own_of(resource, record.body))
            if said is not None:
                return [(resource.name, Comparison(name, record.id, said))]
            if len(found) < proof:
                found.append((resource.name, Comparison(name, record.id)))
    return found


def compare_format(
    connection: Connection, endpoint: Endpoint, request: Request, response: Response, seen: Sequence[Observation],
    t0: int,
) -> list[Compared]:  # fmt: skip
    """Whether who asks so is answered in JSON; who spells the path otherwise, also with what is known by its plain
    spelling. How many ways of asking are kept of an endpoint is bounded."""
    wanted = format_wanted(request, endpoint.template)
    if wanted is None or response.status != 200 or request.method != "GET" or endpoint.resource is None:
        return []
    name = by_format(wanted)
    names = connection.scalars(_FORMATS, {"of": endpoint.id}).all()
    if name not in names and len(names) >= MOST_FORMATS:
        return []
    media = media_type(response.header("content-type")) or "no type"
    said = None if media == "application/json" or media.endswith("+json") else f"{media[:60]} instead of JSON"
    if said is None and spelling(request.path, endpoint.template):
        unproven = evidence.standing(connection, endpoint.id, name).agreements == 0
        if unproven and not _shows_known(connection, seen, t0):
            return []
    return [(endpoint.id, Comparison(name, request.target, said))]


def _shows_known(connection: Connection, seen: Sequence[Observation], t0: int) -> bool:
    """Whether an answer showed exactly what is known: the record, or those that the filters let through."""
    for each in seen:
        if not isinstance(each, RecordSeen | ListSeen):
            continue
        shown = {each.id: each.body} if isinstance(each, RecordSeen) else {one.id: one.body for one in each.records}
        query = select(records).where(records.c.type == each.type, records.c.state == KNOWN, records.c.stamp <= t0)
        rows = connection.execute(query.where(records.c.id == each.id) if isinstance(each, RecordSeen) else query).all()
        pairs = orjson.loads(each.filters) if isinstance(each, ListSeen) and each.filters else []
        known = {row.id: row.body for row in rows}
        if pairs:
            values = {ident: orjson.loads(body) for ident, body in known.items()}
            known = {i: b for i, b in known.items() if all(equal(values[i].get(n), w) for n, w in pairs)}
        since = queries.since(connection, each.type)
        return bool(shown) and shown == known and all(row.stamp >= since for row in rows if row.id in shown)
    return False


def _there_after_all(endpoint: str, what: str, said: str) -> Iterator[Compared]:
    """A record that a complete list does not have: what was seen of ids that no record has counts no more, of all
    places."""
    for derivation in (MISSING, *PLACES.values()):
        yield endpoint, Comparison(derivation, what, said)


def _stamp(whole: Any) -> int:
    """The stamp by which a whole list showed all records, or 0."""
    return int(whole.stamp) if whole is not None and whole.complete else 0


def _shared(endpoint: Endpoint, user: str, other: str | None, asked: str, said: str | None) -> Iterator[Compared]:
    """Of what one caller was shown, for another: of all callers together, and of these two. Kept by the resource."""
    kept, rival = str(endpoint.resource), frozenset({"callers_own"})
    yield kept, Comparison(SHARED, f"{user} {asked}", said, rival)
    for caller in (user, other):
        yield kept, Comparison(shared_with(str(caller)), asked, said, rival)


def _first_of(seen: Observation) -> RecordSeen | None:
    """Of a list its first record."""
    return seen.records[0] if isinstance(seen, ListSeen) and seen.records else None


def _shown_to_another(
    endpoint: Endpoint, user: str, seen: ListSeen, rows: Iterable[Any], said: str | None
) -> Iterator[Compared]:  # fmt: skip
    """Of a list by a filter that holds: that it shows this caller records that another was shown. `rows`: those that
    it shows; where it is otherwise than known, those that it leaves out, but what only a write's answer has shown."""
    others = (row.caller for row in rows if row.caller not in (None, user) and (said is None or row.source != WRITE))
    other = next(others, None)
    if other is not None:
        difference = None if said is None else "a list leaves out what another caller was shown"
        yield from _shared(endpoint, user, other, "list " + seen.filters, difference)


def _differences(ours: str, theirs: str) -> str | None:
    """Masked; None: equal as values."""
    if ours == theirs:
        return None
    return "; ".join(differences(orjson.loads(ours), orjson.loads(theirs))) or None


def _list_differences(resource: Resource, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str | None:
    return None if ours == theirs else "; ".join(differences(ours, theirs)) or "another order"
