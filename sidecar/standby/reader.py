"""Looks up what is known, in one transaction, and decides whether it suffices for an answer.

The upstream's own words to the same question are given again while nothing has happened since. Anything else is a
derivation, and answers only where the evidence for it holds (gate.py): what is not known is never made up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, select

from sidecar.contract import Action, Contract, Endpoint, Match, Resource
from sidecar.http.determining import manner, selecting
from sidecar.http.messages import Request
from sidecar.standby import by_reference, knowledge, literals, queries
from sidecar.standby.answer import Answer, DontKnow, Shape, accepts_json, item, listing, missing
from sidecar.standby.copies import answer_may_show_others, may_show_others
from sidecar.standby.derivations import ITEM, OWN
from sidecar.standby.derivations import LIST as LISTED
from sidecar.standby.gate import Claim, Gate
from sidecar.standby.observations import list_filters
from sidecar.standby.outbox.entries import real_id
from sidecar.standby.outbox.overlay import Pending, about, laid_over, provisional
from sidecar.standby.outbox.snapshot import Snapshot
from sidecar.standby.tables import DOUBT, GONE, KNOWN, records, sightings, views

FORBIDDEN: Final = 403
MOST: Final = 500
"""Pending writes whose records are looked up one by one for a filtered list; beyond it all are read."""


class Library:
    """Answers reads. Never writes."""

    def __init__(self, contract: Contract, *, serve_unverified: bool, proof: int, serve_unproven: bool) -> None:
        self._contract = contract
        self._serve_unverified = serve_unverified
        self._gate = Gate(contract, proof=proof, serve_unproven=serve_unproven)

    def answer(
        self, connection: Connection, match: Match, request: Request, user: str | None, view: Snapshot
    ) -> Answer | DontKnow:
        """The answer, with pending writes laid over what is known; or why there is none. `user` has been checked."""
        endpoint = match.endpoint
        if endpoint is None or not endpoint.safe:
            return DontKnow("not_a_read")
        if user is None and not endpoint.public:
            return DontKnow("not_kept")
        refusal, refused = literals.refused(connection, match, request, "" if endpoint.public else user or "")
        repeated = self._repeat(connection, endpoint, request, user or "", view, refused)
        if repeated is not None:
            return repeated
        if refusal == FORBIDDEN:
            return DontKnow("refused", "the upstream has refused this caller what is asked for")
        user = "" if endpoint.public else user
        if endpoint.resource is None or user is None or endpoint.action is Action.CALL:
            return DontKnow("never_seen", f"this very question was never answered by the upstream: {endpoint.name}")
        if not accepts_json(request):
            return DontKnow("not_json", "what is known can be told in JSON only")
        if selecting(request, endpoint.headers) or endpoint is not self._primary(endpoint):
            return DontKnow("unknown_query", "the question has a part that may select other content")
        resource = self._contract.resources[endpoint.resource]
        found = self._derived(connection, match, endpoint, resource, request, user, view)
        told = self._gate.format(endpoint, request) + self._gate.manner(connection, resource, manner(request))
        return self._gate.passes(connection, resource, found, told)

    def _derived(
        self, connection: Connection, match: Match, endpoint: Endpoint, resource: Resource, request: Request, user: str,
        view: Snapshot,
    ) -> Answer | DontKnow:  # fmt: skip
        """What is known, as the contract shows it."""
        if endpoint.action is Action.LIST:
            return self._list(connection, endpoint, resource, request, user, view)
        record = match.record_id
        claims: list[Claim] = []
        if endpoint.own:
            told = queries.own(connection, user)
            record = told[0] if told else self._by_name(connection, resource, user)
            if record is None:
                return DontKnow("unknown_caller")
            claims = [Claim(endpoint.id, ITEM)] if told else [Claim(endpoint.id, ITEM), Claim(endpoint.id, OWN)]
        if request.query or record is None:
            return DontKnow("unknown_query", "the contract does not say what this query means")
        return self._item(connection, endpoint, resource, record, request, user, view, claims)

    def _primary(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint whose answers are learned from: another of the same resource may have another shape."""
        levels = endpoint.template.count("{")
        if endpoint.own:
            return endpoint if levels == 0 else None
        if levels != (endpoint.action is Action.READ):
            return None
        return self._contract.endpoint_for(endpoint.resource or "", endpoint.action)

    def _repeat(
        self, connection: Connection, endpoint: Endpoint, request: Request, caller: str, view: Snapshot, refused: int
    ) -> Answer | None:
        """The upstream's own words to this caller's same question, if nothing has happened since, nor have they been
        `refused` it since (a stamp)."""
        kind = endpoint.resource
        if kind is None:
            since = 0 if endpoint.pure else queries.since(connection, "")
        elif view.touches(kind) or queries.unclear(connection, kind, creates=False):
            return None
        else:
            since = queries.touched(connection, kind) or 0
            if not self._serve_unverified:
                since = max(since, queries.since(connection, kind))
        caller, since = "" if endpoint.public else caller, max(since, refused)
        answer = literals.recall(connection, endpoint, request, caller, since)
        if answer is None or endpoint.pure:
            return answer
        resource = self._contract.resources.get(kind or "")
        if resource is not None and not answer_may_show_others(resource, answer):
            apart = self._others_written(connection, resource, view, since)
            if self._gate.refuses(connection, resource, apart) is None:
                return answer
        if self._may_change(connection, view) or (
            resource is not None and self._gate.refuses(connection, resource, self._gate.steady(resource)) is not None
        ):
            return None
        return literals.recall(connection, endpoint, request, caller, max(since, queries.touched(connection, None)))

    def _others_written(self, connection: Connection, resource: Resource, view: Snapshot, stamp: int) -> list[Claim]:
        """For what was known of the resource by the stamp: the upstream may have changed others since, and these with
        them. Its own that wait are laid over it."""
        sent = {kind for kind in self._contract.resources if any(write.sent for write in view.pending(kind))}
        return self._gate.apart(resource, queries.written_after(connection, stamp) | (sent - {resource.name}))

    def _may_change(self, connection: Connection, view: Snapshot) -> bool:
        """Whether any write is under way, waits, or has ended in a way that nobody knows."""
        return any(view.touches(name) for name in self._contract.resources) or queries.any_unclear(connection)

    def has_page(self, engine: Engine, endpoint: str) -> bool:
        """Whether a public endpoint's page is known."""
        with engine.connect() as connection, connection.begin():
            return literals.has_any(connection, endpoint)

    def missing_proof(self, connection: Connection, endpoint: Endpoint) -> str | None:
        """What is not proven of what an endpoint's answers are derived by; None: nothing."""
        return self._gate.missing(connection, endpoint)

    def _by_name(self, connection: Connection, resource: Resource, user: str) -> str | None:
        """The one record with the caller's user name, when all are known; the contract says which field that is."""
        whole = queries.collection(connection, resource.name)
        if resource.username_field is None or whole is None or not whole.complete or knowledge.private(resource, whole):
            return None
        rows = connection.execute(select(records).where(records.c.type == resource.name, records.c.state != GONE)).all()
        named = [row for row in rows if row.body and orjson.loads(row.body).get(resource.username_field) == user]
        doubtful = any(row.state != KNOWN for row in rows)
        return named[0].id if len(named) == 1 and not doubtful else None

    def _item(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, record: str, request: Request, user: str,
        view: Snapshot, claims: Sequence[Claim] = (),
    ) -> Answer | DontKnow:  # fmt: skip
        if provisional(record):
            record = real_id(connection, resource.name, record) or record
            if not any(write.record == record for write in view.about(resource.name, record)) and provisional(record):
                return DontKnow("unknown_provisional")
        if view.waits(resource.name):
            row = connection.execute(
                select(records.c.body).where(
                    records.c.type == resource.name, records.c.id == record, records.c.state == KNOWN
                )
            ).one_or_none()
            values = [] if row is None else [orjson.loads(row.body)]
            pending = about(
                resource, view.about(resource.name, record), record, values, lambda i: view.is_claimed(resource.name, i)
            )
            if pending:
                found = self._pending_item(connection, endpoint, resource, record, request, user, view, pending)
                made = any(write.action is Action.CREATE and write.record == record for write in pending)
                row = None if made else queries.record(connection, resource.name, record)
                claims = [*claims, *self._gate.source(endpoint.id, row)]
                if not any(write.user == user for write in pending):  # else they were told when it was accepted
                    claims += self._gate.shown(resource, user, row, queries.collection(connection, resource.name))
                return self._gate.passes(connection, resource, found, claims)
        whole = queries.collection(connection, resource.name)
        private = knowledge.private(resource, whole)
        if private and not endpoint.own and not _sighted(connection, user, resource.name, record):
            return DontKnow("never_shown")
        row = queries.record(connection, resource.name, record)
        stamp = max(row.stamp if row else 0, whole.stamp if whole and whole.complete else 0)
        verified = stamp >= queries.since(connection, resource.name)
        if not verified and not self._serve_unverified:
            return DontKnow("unverified")
        if row is not None and row.state == DOUBT:
            return DontKnow("in_doubt")
        if row is not None and row.state == KNOWN:
            other = may_show_others(resource, orjson.loads(row.body))
            if other is not None and (stamp <= queries.touched(connection, None) or self._may_change(connection, view)):
                return _in_doubt(other)
            claims = [*claims, *(self._gate.steady(resource) if other is not None else ())]
            shape = knowledge.shape(connection, endpoint.id, "good") or Shape()
            observed = max(row.observed, whole.observed if whole and whole.complete else 0)
            found = item(resource, row.body, request, Shape(200, shape.content_type), _age(observed), not verified)
            claims = [*claims, *self._gate.source(endpoint.id, row), *self._gate.shown(resource, user, row, whole)]
            claims += self._others_written(connection, resource, view, stamp)
            return self._gate.passes(connection, resource, found, claims)
        if private or not verified:
            return DontKnow("never_seen")
        if knowledge.unsettled(connection, resource.name, membership=True):
            return DontKnow("unsettled_write")  # an unclear create may have made just this record
        words = knowledge.shape(connection, endpoint.id, "missing")
        if words is None:
            return DontKnow("never_seen", "how the upstream says that there is no such record")
        absent = self._gate.absent(connection, endpoint.id, resource, user, row, whole, record)
        if absent is None:
            return DontKnow("never_seen", f"not all {resource.name} are known")
        claims = [*claims, *absent]
        observed = row.observed if row is not None else whole.observed if whole else 0
        return self._gate.passes(connection, resource, missing(words, _age(observed)), claims)

    def _list(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, request: Request, user: str,
        view: Snapshot,
    ) -> Answer | DontKnow:  # fmt: skip
        filters = list_filters(endpoint.filters, request.query)
        if filters is None or not resource.list_matches_read:
            return DontKnow("unknown_query")
        whole = queries.collection(connection, resource.name)
        if knowledge.private(resource, whole):
            return self._view(connection, endpoint, resource, filters, request, user, view)
        pairs = [(name, value) for name, value in orjson.loads(filters)] if filters else []
        named = [(resource.references[n], v) for n, v in pairs if n in resource.references and provisional(v)]
        if any(real_id(connection, target, value) is not None for target, value in named):
            return DontKnow("settled_meanwhile")
        if named:
            # What the upstream has never heard of, nothing there refers to.
            found = self._listing(connection, endpoint, resource, [], filters, request, time.time_ns(), True, view)
            return self._gate.passes(connection, resource, found, self._gate.filters(endpoint, pairs))
        if whole is None or not whole.complete:
            return DontKnow("incomplete")
        verified = whole.stamp >= queries.since(connection, resource.name)
        if not verified and not self._serve_unverified:
            return DontKnow("unverified")
        if knowledge.unsettled(connection, resource.name, membership=True, filters=pairs):
            return DontKnow("unsettled_write", "a write of which nobody knows what became of it")
        names = {name for name, _ in pairs}
        changing = {write.record for write in view.pending(resource.name) if names & write.fields.keys()}
        if knowledge.may_be_listed(connection, resource.name, pairs, changing):
            return DontKnow("in_doubt")
        narrowed = self._narrowed(connection, endpoint, resource, whole, pairs, view)
        if narrowed is None:
            rows = connection.execute(select(records).where(*_known(resource))).all()
            callers = {row.caller for row in rows if row.stamp > whole.stamp}
        else:
            rows, callers = narrowed[0], set(queries.changed_since(connection, resource.name, whole.stamp))
        values = [orjson.loads(row.body) for row in rows]
        shown = ((row.stamp, may_show_others(resource, value)) for row, value in zip(rows, values, strict=True))
        others = [(stamp, other) for stamp, other in shown if other is not None]
        changed = math.inf if self._may_change(connection, view) else queries.touched(connection, None)
        if whole.stamp <= changed:
            other = next((other for stamp, other in others if stamp <= changed), None)
            if other is not None:
                return _in_doubt(other)
        claims: list[Claim] | DontKnow = (
            narrowed[1]
            if narrowed is not None
            else self._gate.listing(connection, endpoint, resource, whole, rows, values, pairs)
        )
        if isinstance(claims, DontKnow):
            return claims
        claims = [*claims, *self._gate.shared(resource, user, shown={whole.caller, *callers} == {user})]
        claims += self._others_written(connection, resource, view, whole.stamp)
        if others:
            claims += self._gate.steady(resource)
        bodies = [row.body for row in rows]
        found = self._listing(connection, endpoint, resource, bodies, filters, request, whole.observed, verified, view)
        return self._gate.passes(connection, resource, found, claims)

    def _narrowed(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, whole: Any,
        pairs: Sequence[tuple[str, str]], view: Snapshot,
    ) -> tuple[list[Any], list[Claim]] | None:  # fmt: skip
        """Of a list by one reference: the records that may be in it, and what it stands on. None: all must be read."""
        if len(pairs) != 1 or pairs[0][0] not in resource.references:
            return None
        name, wanted = pairs[0]
        if not wanted.isascii() or not wanted.isdecimal() or str(int(wanted)) != wanted:
            return None
        pending = view.pending(resource.name)
        if len(pending) > MOST or any(write.sent and write.action is Action.CREATE for write in pending):
            return None  # one that may have arrived is looked for among all
        found = by_reference.referring(connection, resource, name, wanted)
        if found is None:
            return None
        rows = {row.id: row for row in found[0]}
        changing = {write.record for write in pending if write.action is not Action.CREATE} - rows.keys()
        for ident in changing:
            row = queries.record(connection, resource.name, ident)
            if row is not None and row.state == KNOWN:
                rows[row.id] = row
        values = [orjson.loads(row.body) for row in rows.values()]
        claims = self._gate.narrowed(connection, endpoint, resource, whole, values, pairs[0], nulls=found[1])
        return None if claims is None else (list(rows.values()), claims)

    def _view(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, filters: str, request: Request, user: str,
        now: Snapshot,
    ) -> Answer | DontKnow:  # fmt: skip
        """The last list that this caller was shown, if nothing was added or removed since."""
        where = (views.c.caller == user) & (views.c.type == resource.name) & (views.c.filters == filters)
        view = connection.execute(select(views).where(where)).one_or_none()
        if view is None:
            return DontKnow("never_shown")
        changed = queries.number(connection, f"changed:{resource.name}")
        if view.stamp < changed or knowledge.unsettled(connection, resource.name, membership=False):
            return DontKnow("changed_since")
        verified = view.stamp >= queries.since(connection, resource.name)
        if not verified and not self._serve_unverified:
            return DontKnow("unverified")
        ids = orjson.loads(view.ids)
        rows = {row.id: row for row in connection.execute(select(records).where(records.c.type == resource.name))}
        if any(ident not in rows or rows[ident].state != KNOWN for ident in ids):
            return DontKnow("in_doubt")
        bodies = [rows[ident].body for ident in ids]
        shown = now.only(user, set(ids))
        found = self._listing(connection, endpoint, resource, bodies, filters, request, view.observed, verified, shown)
        claims = [Claim(endpoint.id, LISTED), *self._gate.filters(endpoint, orjson.loads(filters) if filters else [])]
        return self._gate.passes(connection, resource, found, claims)

    def _listing(
        self,
        connection: Connection,
        endpoint: Endpoint,
        resource: Resource,
        bodies: Sequence[str],
        filters: str,
        request: Request,
        observed: int,
        verified: bool,
        view: Snapshot,
    ) -> Answer | DontKnow:
        shape = knowledge.shape(connection, endpoint.id, "good") or Shape()
        pairs = [(name, value) for name, value in orjson.loads(filters)] if filters else []
        values = [orjson.loads(body) for body in bodies]
        pending = view.pending(resource.name)
        if pending:
            seen = laid_over(resource, values, pending, lambda ident: view.is_claimed(resource.name, ident))
            if seen is None:
                return DontKnow("unsettled_write")
            values = seen
        return listing(resource, values, pairs, request, Shape(200, shape.content_type), _age(observed), not verified)

    def _pending_item(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, record: str, request: Request, user: str,
        view: Snapshot, pending: Sequence[Pending],
    ) -> Answer | DontKnow:  # fmt: skip
        """A record with writes that are not settled yet."""
        made = any(write.action is Action.CREATE and write.record == record for write in pending)
        base: list[dict[str, Any]] = []
        private = knowledge.is_private(connection, self._contract, resource.name)
        if private and not _sighted(connection, user, resource.name, record):
            return DontKnow("never_shown")
        observed, unverified = time.time_ns(), False
        if not made:
            row = queries.record(connection, resource.name, record)
            if row is None or row.state == DOUBT:
                return DontKnow("in_doubt")
            unverified = row.stamp < queries.since(connection, resource.name)
            if unverified and not self._serve_unverified:
                return DontKnow("unverified")
            base, observed = [orjson.loads(row.body)] if row.state == KNOWN else [], row.observed
        values = laid_over(resource, base, pending, lambda ident: view.is_claimed(resource.name, ident))
        if values is None:
            return DontKnow("unsettled_write")
        if not values:
            words = knowledge.shape(connection, endpoint.id, "missing")
            return DontKnow("never_seen", "how it says so") if words is None else missing(words, _age(observed))
        shape = knowledge.shape(connection, endpoint.id, "good") or Shape()
        body = orjson.dumps(values[0]).decode()
        return item(resource, body, request, Shape(200, shape.content_type), _age(observed), unverified)


def _in_doubt(field: str) -> DontKnow:
    why = (
        f"{field} may show other records, and something was written since; x-understudy-own would say that it does not"
    )
    return DontKnow("in_doubt", why)


def _known(resource: Resource) -> tuple[Any, Any]:
    return records.c.type == resource.name, records.c.state == KNOWN


def _sighted(connection: Connection, caller: str, kind: str, record: str) -> bool:
    where = (sightings.c.caller == caller) & (sightings.c.type == kind) & (sightings.c.id == record)
    return connection.scalar(select(sightings.c.id).where(where)) is not None


def _age(observed: int) -> float:
    return max(0.0, (time.time_ns() - observed) / 1e9)
