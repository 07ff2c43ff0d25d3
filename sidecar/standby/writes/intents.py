"""Writes, from their intent to what became of them: settled, refused, not sent, or unclear.

Promises: an intent is on disk before `begin` returns, what a write did before `end` returns, and an accepted write,
sealed, before `accept` returns. A write that must come after one that is not settled yet is never sent past it: `begin`
says that it is queued. What is known of a record is never believed where a write may have overtaken it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from sidecar.clock import boot, earliest, stamp, uptime
from sidecar.contract import Action, Contract, Endpoint, Match, Resource
from sidecar.exchange import ABSENT, UNKNOWN, Outcome
from sidecar.http.identifiers import uuid7
from sidecar.http.messages import Headers, Request, Response
from sidecar.standby import knowledge, queries
from sidecar.standby.answer import NOT_FOUND, Answer, DontKnow, Shape, localised, missing
from sidecar.standby.departures import Departures
from sidecar.standby.gate import Gate
from sidecar.standby.known_callers import Callers, hashed
from sidecar.standby.numbers import bump
from sidecar.standby.observations import RecordSeen, digest, record_in
from sidecar.standby.outbox import dependencies
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import Outbox, State
from sidecar.standby.outbox.overlay import Pending, laid_over, merged, new_record, provisional, sent_fields
from sidecar.standby.outbox.sealing import Seal
from sidecar.standby.tables import DOUBT, GONE, KNOWN, records, writes
from sidecar.standby.writes import learned
from sidecar.standby.writes.acceptable import fault
from sidecar.timeunits import SECOND

CREATED: Final = Shape(201)
DELETED: Final = Shape(204, "")
_INTEND: Final = insert(writes)
_END: Final = update(writes).where(writes.c.id == bindparam("write"))
_ENTER: Final = insert(box.outbox)


@dataclass
class Write:
    """A write under way. `queued`: it must wait behind others, so must not be sent now. Its lock orders acceptance by
    the request's thread and the late answer in the pool's."""

    id: str
    match: Match
    endpoint: Endpoint
    kind: str
    record: str | None
    secrets: bool
    started: int
    before: str | None
    """The state of what was known of the record when it began."""
    known_at: int = 0
    """The stamp of that."""
    was: str = UNKNOWN
    """The digest of the record before, "none" where there was none, or "unknown"."""
    was_record: str | None = None
    became: str = UNKNOWN
    refused: bool = False
    """It took no effect."""
    queued: bool = False
    begun: bool = False
    """Its intent is on disk."""
    floor: int | None = None
    whole: bool = False
    accepted: bool = False
    ended: bool = False
    """Its answer has come, or never will."""
    kept: bool = False
    """So is what became of it: on disk."""
    given: frozenset[str] = frozenset()
    """The fields that it gives, with a value that is not blank."""
    vouched: frozenset[tuple[str, str]] = frozenset()
    """Records (resource, id) that the upstream itself has just shown to be there."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def change(self) -> tuple[str, str] | None:
        """The record before and after, by what is known by now; None: nothing was changed."""
        return (self.was, self.became) if self.begun and not self.refused else None


class Intents:
    """What happens to writes. One per process."""

    def __init__(
        self, contract: Contract, engine: Engine, callers: Callers, outbox: Outbox, seal: Callable[[], Seal],
        process: str, gate: Gate, *, upstream_timeout: int, late_effect: int, serve_unverified: bool,
    ) -> None:  # fmt: skip
        self._contract = contract
        self._gate = gate
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._callers = callers
        self._departures = Departures(contract, callers)
        self._outbox = outbox
        self._seal = seal
        self._process = process
        self.patience = upstream_timeout + late_effect
        self._late_effect = late_effect
        self._serve_unverified = serve_unverified
        self.floors: Mapping[str, int] = {}
        """By resource, the highest id that was known a little while ago."""
        self.verified_since = 1 << 63
        """The stamp before which what is known is unverified; until it is told, all of it."""

    # Before anything is sent --------------------------------------------------------------------------------------

    def begin(self, match: Match, request: Request, user: str | None, *, wait: bool = False) -> Write | None:
        """Puts the intent on disk and the record in doubt. None, where the caller can `wait`: another write to the
        record is under way, and nothing was kept of this one. Raises SQLAlchemyError."""
        write = self.plan(match, request)
        with self._engine.begin() as connection:
            if wait and self._is_overtaking(connection, write):
                return None
            self._look_before(connection, write)
            write.queued = self._must_wait(connection, write, request, user)
            if write.record is not None and write.before is not None and not write.queued:
                knowledge.doubt_record(connection, write.kind, write.record, write.started)
            ended, outcome = (write.started, "queued") if write.queued else (None, "open")
            self._intend(connection, write, request, user, ended, outcome)
        return write

    def is_under_way(self, match: Match) -> bool:
        """Whether a write to the record is: who waits for its end asks this. Raises SQLAlchemyError."""
        kind = match.endpoint.resource if match.endpoint is not None else None
        if kind is None or match.record_id is None:
            return False
        with self._reader.connect() as connection, connection.begin():
            return queries.under_way(connection, kind, match.record_id)

    def _is_overtaking(self, connection: Connection, write: Write) -> bool:
        return write.record is not None and queries.under_way(connection, write.kind, write.record)

    def _look_before(self, connection: Connection, write: Write) -> None:
        """What is known of what it is going to change."""
        kind = write.kind
        write.floor = self.floors.get(kind)
        if write.endpoint.action is Action.CREATE:
            write.was = ABSENT
            whole = queries.collection(connection, kind)
            write.whole = whole is not None and whole.complete and whole.stamp >= queries.since(connection, kind)
            if write.whole and write.floor is None:
                write.floor = knowledge.highest(connection).get(kind, 0)
        if write.record is not None:
            row = queries.record(connection, kind, write.record)
            write.before, write.known_at = (row.state, row.stamp) if row is not None else (None, 0)
            write.was, write.was_record = self._known(row)

    def _intend(
        self, connection: Connection, write: Write, request: Request, user: str | None, ended: int | None, outcome: str
    ) -> None:
        row = {
            "id": write.id,
            "endpoint": write.endpoint.id,
            "type": write.kind,
            "record": write.record,
            "user": user,
            "process": self._process,
            "accepted_at": time.time_ns(),
            "started": write.started,
            "ended": ended,
            "outcome": outcome,
            "fields": knowledge.filter_fields(self._contract, write.endpoint, request.body),
        }
        connection.execute(_INTEND, row)
        write.begun = True

    def plan(self, match: Match, request: Request) -> Write:
        """A write of which nothing is written down yet: it is `accept`ed, and never sent."""
        endpoint = match.endpoint
        assert endpoint is not None
        assert endpoint.resource is not None
        secrets = endpoint.takes_secrets and any(name.encode() in request.body for name in self._contract.secrets)
        ident = uuid7(time.time_ns())
        given = frozenset(name for name, value in (_json(request.body) or {}).items() if value not in (None, "", []))
        return Write(ident, match, endpoint, endpoint.resource, match.record_id, secrets, earliest(), None, queued=True,
                     given=given)  # fmt: skip

    def _known(self, row: Any) -> tuple[str, str | None]:
        """A record as it is known to be, its digest first; what is in doubt, or unverified, is unknown."""
        if row is None or row.stamp < self.verified_since or row.state == DOUBT:
            return UNKNOWN, None
        return (ABSENT, None) if row.state == GONE else (digest(row.body), row.body)

    def _must_wait(self, connection: Connection, write: Write, request: Request, user: str | None) -> bool:
        """Whether sending it now could overtake a write that was accepted and on which it depends (dependencies.py).
        Nor is it sent where the resource has just been promoted."""
        kind, record = write.kind, write.record
        if kind in queries.owned_types(connection):
            return True
        if record is not None and provisional(record) and box.real_id(connection, kind, record) is not None:
            return True  # settled this very moment; when it is replayed, it has its real id
        if record is not None and queries.under_way(connection, kind, record):
            return True
        if not box.any_unsettled(connection):
            return False
        name, fields = self._contract.resources[kind].username_field or "", _json(request.body) or {}
        was = orjson.loads(write.was_record) if write.was_record else {}
        mine = dependencies.of_write(
            self._contract, write.endpoint, record, write.match.params, fields, user, (fields.get(name), was.get(name)),
            lambda target, ident: box.real_id(connection, target, ident),
        )  # fmt: skip
        return self._outbox.view(connection).holds.stops(mine)

    # After an answer, or none -------------------------------------------------------------------------------------

    def end(self, write: Write, response: Response | None, outcome: Outcome, user: str | None) -> None:
        """Keeps what became of a write that its user waits for. A 4xx took no effect; neither did one not sent."""
        now = stamp()
        with self._engine.begin() as connection:
            if write.queued:
                write.refused, verdict = True, "failure"
            elif _is_refusal(response) or outcome is Outcome.FAILURE:
                if response is None or response.status not in (404, 410):  # else it is not as we thought
                    self._took_no_effect(connection, write)
                write.refused, verdict = True, "failure"
                if response is not None and response.status in (400, 422):
                    resource = self._contract.resources[write.kind]
                    learned.refused(connection, write.endpoint.id, resource, write.given, response)
            elif outcome is Outcome.SUCCESS and response is not None and self._confirmed(
                connection, write, response, user, now
            ):  # fmt: skip
                verdict = "success"
                self._learn_shape(connection, write.endpoint.id, "good", response)
                if write.endpoint.action is Action.CREATE:
                    learned.taken(connection, write.endpoint.id, write.given)
            else:
                self._unclear(connection, write, now)
                verdict = "unknown"
            ended = now + self._late_effect if verdict == "unknown" and may_come_late(response) else now
            connection.execute(_END, {"write": write.id, "ended": ended, "outcome": verdict})
            pending = verdict == "success" and box.any_unsettled(connection)
            if pending:
                box.changed(connection)
                bump(connection, box.taken_directly(write.endpoint.id), now)
        if pending:
            self._outbox.touch()  # an unclear create must not take this one's record for its own

    def _took_no_effect(self, connection: Connection, write: Write) -> None:
        """The record is as it was, unless another write was there meanwhile: known no better, and since no later, than
        before it began."""
        if write.record is None or write.before is None or write.before == DOUBT:
            return
        if knowledge.clean(connection, write.kind, write.record, write.started, but=write.id):
            where = (records.c.type == write.kind) & (records.c.id == write.record)
            connection.execute(update(records).where(where).values(state=write.before, stamp=write.known_at))

    def _confirmed(self, connection: Connection, write: Write, response: Response, user: str | None, now: int) -> bool:
        """Applies a write that the upstream confirmed (`_took_effect`); whose password it changed signs in anew."""
        if write.secrets:
            seen = record_in(self._contract.resources[write.kind], response)
            self._departures.new_password(connection, write.kind, write.record, seen)
        with self._departures.watch(connection, write.kind):
            return self._took_effect(connection, write, response, user, now)

    def _took_effect(
        self, connection: Connection, write: Write, response: Response, user: str | None, now: int
    ) -> bool:
        """Applies a write that the upstream confirmed. False when its answer does not say what is now true."""
        kind, record = write.kind, write.record
        resource = self._contract.resources[kind]
        alone = record is None or knowledge.clean(connection, kind, record, write.started, but=write.id)
        if response.status >= 300:
            return False
        if write.endpoint.action is Action.DELETE and record is not None:
            if alone:
                knowledge.drop_record(connection, kind, record, now)
            knowledge.doubt_referrers(connection, self._contract, kind, record, now)
            knowledge.changed(connection, kind, now)
            write.became = ABSENT if alone else UNKNOWN
            return alone
        seen = record_in(resource, response)
        if seen is None or (record is not None and seen.id != record) or not alone:
            return False
        knowledge.put_record(connection, seen, now, caller=user)
        write.became = seen.digest
        if record is None:
            box.claim(connection, kind, seen.id)
            knowledge.changed(connection, kind, now)
        if user is not None:
            knowledge.see_created(connection, self._contract, kind, seen.id, user)
        return True

    def _unclear(self, connection: Connection, write: Write, now: int) -> None:
        knowledge.changed(connection, write.kind, now)
        if write.record is not None:
            knowledge.doubt_record(connection, write.kind, write.record, now)
            if write.endpoint.action is Action.DELETE:
                knowledge.doubt_referrers(connection, self._contract, write.kind, write.record, now)

    def _learn_shape(self, connection: Connection, endpoint: str, kind: str, response: Response) -> None:
        """The status and type of the upstream's own words; of a refusal or a deletion also its body, if it is short."""
        known = queries.reply(connection, endpoint, kind)
        if known is not None and known.status == response.status:
            return
        body = b"" if kind == "good" or len(response.body) > 300 else response.body
        media = response.header("content-type") or ""
        knowledge.see_reply(connection, endpoint, kind, response.status, media, body)

    # Acceptance ---------------------------------------------------------------------------------------------------

    def refusal(self, match: Match, request: Request, user: str) -> Answer | DontKnow | None:
        """Of a write that has not begun and must not be sent: what `accept` would say instead of taking it. None: it
        would take it. Only looks. Raises SQLAlchemyError."""
        write = self.plan(match, request)
        with self._reader.connect() as connection, connection.begin():
            owned = write.kind in queries.owned_types(connection)
            seen = self._considered(connection, self._contract.resources[write.kind], write, request, user, owned)
        return seen if isinstance(seen, Answer | DontKnow) else None

    def accept(
        self, write: Write, request: Request, request_id: str, headers: Headers, user: str, *, sent: bool,
        answered: bool, under_way: bool, again: bool = False,
    ) -> Answer | DontKnow:  # fmt: skip
        """Takes a write over from its user, and answers as the upstream would; or refuses it as it would; or cannot.

        `sent`: it may have taken effect; `answered`: an answer came, so that it has or has not by now; `under_way`:
        its answer may yet come (then `late` is called); `again`: this failed before, perhaps after it was committed.
        The caller holds `write.lock`.
        """
        resource = self._contract.resources[write.kind]
        if again and (kept := self._accepted_before(write)) is not None:
            self._outbox.touch()
            return self._answer(resource, write, kept[0], request, kept[1])
        now, at = stamp(), time.time_ns()
        sealed = self._seal().close(write.id, headers, request.body)
        password = self._new_password(resource, write, request) if write.kind in self._outbox.owned() else None
        with self._engine.begin() as connection:
            if not write.begun:
                self._look_before(connection, write)
            owned = write.kind in queries.owned_types(connection)
            draft = self._draft(connection, resource, write, request, user, at, owned)
            if isinstance(draft, DontKnow):
                return draft
            if isinstance(draft, Answer):
                if sent:
                    return DontKnow("unclear")  # the upstream may have judged otherwise
                if write.begun:
                    self._took_no_effect(connection, write)
                    self._close(connection, write, now, "failure")
                write.refused = True
                return draft
            due = now if answered or not sent else now + (self.patience if under_way else self._late_effect)
            state = State.SENDING if under_way else State.UNCLEAR if sent else State.PENDING
            self._insert(connection, write, request, request_id, user, draft, at, due, sealed, sent,
                         State.OWNED if owned else state)  # fmt: skip
            if write.begun:
                self._took_no_effect(connection, write)
                self._close(connection, write, now, "accepted")
            else:
                self._intend(connection, write, request, user, now, "accepted")
            if owned:
                self._apply(connection, resource, write.endpoint.action, draft, now)
            if owned and password is not None:  # else nobody has confirmed it
                self._sign_in(connection, resource, draft, password)
            if draft.action is Action.CREATE:
                knowledge.see_created(connection, self._contract, write.kind, draft.record, user)
            shape = knowledge.shape(connection, write.endpoint.id, "good")
        self._outbox.touch()
        return self._answer(resource, write, draft, request, shape)

    def _accepted_before(self, write: Write) -> tuple[Pending, Shape | None] | None:
        """The write as it was accepted, and the shape of its answer; None: it was not."""
        with self._engine.begin() as connection:
            row = box.one(connection, write.id)
            shape = knowledge.shape(connection, write.endpoint.id, "good")
        return None if row is None else (_as_drafted(row), shape)

    def _draft(
        self, connection: Connection, resource: Resource, write: Write, request: Request, user: str, at: int,
        owned: bool,
    ) -> Pending | Answer | DontKnow:  # fmt: skip
        """The entry to be, with the record as it will be in `body`; or the upstream's refusal; or why it cannot be."""
        action = write.endpoint.action
        seen = self._considered(connection, resource, write, request, user, owned)
        if isinstance(seen, Answer | DontKnow):
            return seen
        fields, base = seen
        if action is Action.CREATE:
            ident = self._next_own(connection, write.kind) if owned else box.next_provisional(connection)
            body = new_record(resource, fields, ident, at, self._sample(connection, resource))
            floor = write.floor
            return Pending(0, write.kind, action, str(ident), fields, body, user, at, False, floor, write.whole)
        assert write.record is not None
        return Pending(0, write.kind, action, write.record, fields, base, user, at)

    def _considered(
        self, connection: Connection, resource: Resource, write: Write, request: Request, user: str, owned: bool
    ) -> tuple[dict[str, Any], dict[str, Any] | None] | Answer | DontKnow:
        """What is sent, and the record that it would change; or the upstream's refusal; or why it cannot be taken."""
        action = write.endpoint.action
        why = fault(write.endpoint, resource, request, learned.needed(connection, write.endpoint.id))
        if why is None and not owned:
            why = _unkeepable(resource, write)
        if why is None and not owned and self._is_respelled(connection, resource, write, request):
            why = "other_spelling"
        if why is not None:
            return DontKnow(why)
        fields = {} if action is Action.DELETE else sent_fields(resource, _json(request.body))
        if fields is None:
            return DontKnow("unreadable")
        fields = box.resolved(connection, resource.references, fields)
        for name, kind in resource.references.items():
            named = (kind, str(fields.get(name)))
            if fields.get(name) is not None and named not in write.vouched and not self._is_there(connection, *named):
                return DontKnow("unknown_reference")  # in whose words it would be refused nobody can say
        if action is Action.CREATE:
            return fields, None
        assert write.record is not None
        write.record = box.real_id(connection, write.kind, write.record) or write.record
        current = self._current(connection, resource, write)
        if isinstance(current, DontKnow):
            return current
        if current is None:
            return self._not_there(connection, resource, write.record, user, owned)
        return self._may_not_see(connection, resource, write.record, user) or (fields, current)

    def _is_respelled(self, connection: Connection, resource: Resource, write: Write, request: Request) -> bool:
        """Whether its path is not spelled as the contract has it, and none so spelled was seen to be understood."""
        looked = Action.LIST if write.endpoint.action is Action.CREATE else Action.READ
        read = self._contract.endpoint_for(resource.name, looked) or write.endpoint
        claims = self._gate.respelled(read, request, write.endpoint)
        return self._gate.refuses(connection, resource, claims) is not None

    def _not_there(
        self, connection: Connection, resource: Resource, record: str, user: str, owned: bool
    ) -> Answer | DontKnow:  # fmt: skip
        """What is said of a write to a record that is not there, as users see it: the upstream's 404, if it would say
        so."""
        words = missing(knowledge.shape(connection, _read_id(self._contract, resource.name), "missing") or NOT_FOUND, 0)
        if owned or box.about(connection, resource.name, record):
            return words  # by the outbox's own doing
        row, whole = queries.record(connection, resource.name, record), queries.collection(connection, resource.name)
        read = _read_id(self._contract, resource.name)
        claims = self._gate.absent(connection, read, resource, user, row, whole, record)
        if claims is None or self._gate.refuses(connection, resource, claims) is not None:
            return DontKnow("never_seen")
        return words

    def _may_not_see(self, connection: Connection, resource: Resource, record: str, user: str) -> DontKnow | None:
        """Why a caller would not be shown the record that they change, and must not be told how it is; None: they
        would."""
        if knowledge.is_private(connection, self._contract, resource.name):
            shown = queries.was_shown(connection, user, resource.name, record)
            return None if shown else DontKnow("never_shown")
        if any(row.user == user and row.state != State.PARKED for row in box.about(connection, resource.name, record)):
            return None  # they were told when it was accepted
        row, whole = queries.record(connection, resource.name, record), queries.collection(connection, resource.name)
        claims = self._gate.shown(resource, user, row, whole)
        return None if self._gate.refuses(connection, resource, claims) is None else DontKnow("never_shown")

    def _is_there(self, connection: Connection, kind: str, ident: str) -> bool:
        """Whether it is known that there is such a record, as users see it: one that is pending is, and one whose
        deletion is, is not."""
        entries = [row for row in box.about(connection, kind, ident) if row.state != State.PARKED]
        if any(row.action == Action.DELETE for row in entries):
            return False
        if any(row.action == Action.CREATE for row in entries):
            return True
        row = queries.record(connection, kind, box.real_id(connection, kind, ident) or ident)
        whole = queries.collection(connection, kind)
        if row is None or row.state != KNOWN:
            return False
        seen = max(row.stamp, whole.stamp if whole is not None and whole.complete else 0)
        return bool(self._serve_unverified or seen >= queries.since(connection, kind))

    def _current(self, connection: Connection, resource: Resource, write: Write) -> dict[str, Any] | None | DontKnow:
        """The record as users see it now; None: there is none."""
        assert write.record is not None
        rows = box.about(connection, write.kind, write.record)
        if any(row.state == State.PARKED and row.action == Action.CREATE for row in rows):
            return DontKnow("parked")
        mine = [box.pending(connection, self._contract, row, write.record) for row in rows if row.state != State.PARKED]
        values = []
        made = any(entry.action is Action.CREATE for entry in mine)
        if not made:
            row = queries.record(connection, write.kind, write.record)
            state = write.before if row is not None and not write.queued else row.state if row is not None else None
            if state == DOUBT:
                return DontKnow("in_doubt")
            since = 0 if self._serve_unverified else queries.since(connection, write.kind)
            known_at = write.known_at if write.before is not None and not write.queued else row.stamp if row else since
            if known_at < since:
                return DontKnow("unverified")
            if state == KNOWN and row is not None and row.body is not None:
                values = [orjson.loads(row.body)]
            elif state != GONE and not self._is_absent(connection, write.kind, write.record):
                return DontKnow("never_seen")
        shown = laid_over(resource, values, mine, lambda _: True)
        if shown is None:
            return DontKnow("in_doubt")
        return shown[0] if shown else None

    def _is_absent(self, connection: Connection, kind: str, ident: str) -> bool:
        """Whether it is known that there is no such record, also none that is pending."""
        if any(row.action == Action.CREATE for row in box.about(connection, kind, ident)):
            return False
        if knowledge.is_private(connection, self._contract, kind) or provisional(ident):
            return False
        row = queries.record(connection, kind, ident)
        whole = queries.collection(connection, kind)
        since = queries.since(connection, kind)
        if row is not None:
            return bool(row.state == GONE and row.stamp >= since)
        complete = whole is not None and whole.complete and whole.stamp >= since
        return bool(complete and not knowledge.unsettled(connection, kind, membership=True))

    def _next_own(self, connection: Connection, kind: str) -> int:
        """The next id of a resource that the standby owns: above every real one."""
        ids = connection.scalars(select(records.c.id).where(records.c.type == kind))
        return max((int(ident) for ident in ids if ident.isdecimal() and not provisional(ident)), default=0) + 1

    def _insert(
        self, connection: Connection, write: Write, request: Request, request_id: str, user: str, draft: Pending,
        at: int, due: int, sealed: bytes, sent: bool, state: State,
    ) -> None:  # fmt: skip
        body = None if draft.body is None else orjson.dumps(draft.body).decode()
        create = draft.action is Action.CREATE
        row = {
            "id": write.id,
            "endpoint": write.endpoint.id,
            "type": write.kind,
            "action": write.endpoint.action.value,
            "record": draft.record,
            "user": user,
            "method": request.method,
            "target": request.target,
            "request_id": request_id,
            "fields": orjson.dumps(dict(draft.fields)).decode(),
            "body": body if create else None,
            "base": None if create else body,
            "floor": draft.floor,
            "whole": draft.whole,
            "sealed": sealed,
            "state": state.value,
            "sent": sent,
            "attempts": int(sent),
            "accepted_at": at,
            "accepted_stamp": stamp(),
            "accepted_boot": boot(),
            "accepted_uptime": uptime(),
            "due": due,
            "token": 0,
            "revision": box.changed(connection),
        }
        connection.execute(_ENTER, row)

    def _apply(self, connection: Connection, resource: Resource, action: Action, draft: Pending, now: int) -> None:
        """To the standby's own records: there is no other."""
        if action is Action.DELETE:
            knowledge.drop_record(connection, resource.name, draft.record, now)
            return
        assert draft.body is not None
        value = draft.body if action is Action.CREATE else merged(resource, draft.body, draft)
        seen = RecordSeen(resource.name, draft.record, orjson.dumps(value).decode())
        knowledge.put_record(connection, seen, now)

    def _close(self, connection: Connection, write: Write, now: int, outcome: str) -> None:
        connection.execute(_END, {"write": write.id, "ended": now, "outcome": outcome})

    def _new_password(self, resource: Resource, write: Write, request: Request) -> str | None:
        """The hash of a password that the write sets. Slow, so before any lock is taken."""
        sent = _json(request.body) if write.secrets and resource.username_field is not None else None
        given = next((v for n, v in (sent or {}).items() if n in resource.secrets and isinstance(v, str)), None)
        return None if given is None else hashed(given)

    def _sign_in(self, connection: Connection, resource: Resource, draft: Pending, password: str) -> None:
        """Of a resource that we own, and whose writes nobody else confirms: its person signs in with this password.
        A create gives one to nobody who has one already: it would open another's account."""
        name = draft.fields.get(str(resource.username_field)) or (draft.body or {}).get(str(resource.username_field))
        if isinstance(name, str) and not (draft.action is Action.CREATE and self._callers.has(connection, name)):
            self._callers.replace(connection, name, password)

    def _sample(self, connection: Connection, resource: Resource) -> dict[str, Any] | None:
        where = (records.c.type == resource.name) & (records.c.state == KNOWN)
        body = connection.scalar(select(records.c.body).where(where).limit(1))
        return None if body is None else orjson.loads(body)

    def _answer(
        self, resource: Resource, write: Write, draft: Pending, request: Request, shape: Shape | None
    ) -> Answer:
        """In the upstream's own shape and status, learned from past answers, else the contract's."""
        action = write.endpoint.action
        if action is Action.DELETE:
            shape = shape or DELETED
            fields = [("Content-Type", shape.content_type)] if shape.content_type else []
            body = shape.body if shape.status != 204 else b""
            return Answer(shape.status, fields, body)
        status = (write.endpoint.success or (200,))[0]
        shape = shape or (CREATED if action is Action.CREATE else Shape(status))
        assert draft.body is not None
        value = draft.body if action is Action.CREATE else merged(resource, draft.body, draft)
        shown = localised(resource, dict(value), request)
        media = shape.content_type if "json" in shape.content_type else Shape().content_type
        fields = [("Content-Type", media)]
        if action is Action.CREATE:
            path = resource.path.replace("{}", draft.record)
            url = shown.get(resource.url_field or "")
            where = url.removesuffix(".json") if isinstance(url, str) else f"{request.scheme}://{request.host}{path}"
            fields.append(("Location", where))
        return Answer(shape.status, fields, orjson.dumps(shown))

    # Settlement ---------------------------------------------------------------------------------------------------

    def late(self, write: Write, response: Response | None, outcome: Outcome) -> None:
        """The answer to an accepted write whose user no longer waits."""
        with self._engine.begin() as connection:
            row = connection.execute(select(box.outbox).where(box.outbox.c.id == write.id)).one_or_none()
            if row is None or row.state != State.SENDING or row.token:
                return  # somebody else has seen to it
            self.judge(connection, row, response, outcome)
        self._outbox.touch()

    def judge(self, connection: Connection, row: Any, response: Response | None, outcome: Outcome) -> str:
        """What an answer to an entry's request means for the entry; returns its new state."""
        now = stamp()
        if _is_refusal(response) and response is not None:
            if row.action == Action.DELETE and response.status in (404, 410):
                return self.settle(connection, row, None)
            if response.status in (408, 425, 429):
                return _put_off(connection, row, now, f"upstream_{response.status}")
            proposal = "retry" if response.status == 401 else "discard"
            box.change(connection, row.id, sent=False)  # it took no effect, so nobody waits for it
            return self.park(connection, row, f"refused: {self._contract.name} answered {response.status}", proposal)
        if outcome is Outcome.FAILURE:
            return _put_off(connection, row, now, "not_sent")
        if outcome is Outcome.SUCCESS and response is not None:
            seen = record_in(self._contract.resources[row.type], response)
            deleted = row.action == Action.DELETE and response.status < 300  # a page to sign in on says nothing
            if deleted or (
                row.action != Action.DELETE and seen is not None and self._is_its_own(connection, row, seen)
            ):
                return self.settle(connection, row, seen)
        wait = self._late_effect if may_come_late(response) else 0
        return _retry(connection, row, State.UNCLEAR, now + wait, f"unclear: {self._said(response, outcome)}")

    def _said(self, response: Response | None, outcome: Outcome) -> str:
        if response is None:
            return f"{self._contract.name} gave no whole answer"
        shown = " and did not show the record" if outcome is Outcome.SUCCESS else ""
        return f"{self._contract.name} answered {response.status}{shown}"

    def _is_its_own(self, connection: Connection, row: Any, seen: RecordSeen) -> bool:
        """Whether an answer shows the record that the entry was for."""
        known = box.real_id(connection, row.type, row.record) or row.record
        return row.action == Action.CREATE or seen.id == known

    def settle(self, connection: Connection, row: Any, seen: RecordSeen | None) -> str:
        """The entry is true upstream: `seen` is its record there, where that is known."""
        now, kind = stamp(), row.type
        real = seen.id if seen is not None else box.real_id(connection, kind, row.record) or row.record
        if self._contract.endpoints[row.endpoint].takes_secrets:
            self._departures.new_password(connection, kind, real, seen)
        with self._departures.watch(connection, kind):
            if row.action == Action.DELETE:
                knowledge.drop_record(connection, kind, real, now)
                knowledge.doubt_referrers(connection, self._contract, kind, real, now)
            elif seen is not None:
                knowledge.put_record(connection, seen, now)
            else:
                knowledge.forget_record(connection, kind, real, now)
        if row.action == Action.CREATE:
            box.alias(connection, kind, row.record, real)
            box.claim(connection, kind, real)
            knowledge.see_created(connection, self._contract, kind, real, row.user)
        knowledge.changed(connection, kind, now)
        box.change(connection, row.id, state=State.SETTLED, sealed=None, settled_as=real, settled=now, reason=None,
                   proposal=None)  # fmt: skip
        return State.SETTLED

    def park(self, connection: Connection, row: Any, reason: str, proposal: str, theirs: str | None = None) -> str:
        """A person must decide. `theirs`: the record as the upstream shows it, where that is why."""
        box.change(connection, row.id, state=State.PARKED, reason=reason, proposal=proposal, theirs=theirs)
        return State.PARKED


def _retry(connection: Connection, row: Any, state: State, due: int, reason: str) -> str:
    """Later again, and later each time."""
    pause = min(30.0, 0.5 * 2 ** min(max(0, row.attempts - 1), 6))
    box.change(connection, row.id, state=state, due=due + int(pause * 1e9), reason=reason)
    return state


def _put_off(connection: Connection, row: Any, now: int, reason: str) -> str:
    """Later again, after a tenth of its age: the upstream did not get it, or did not look at it, so that nothing is
    learned of the write, and however long an outage lasts no attempt counts against it."""
    pause = min(30.0, max(0.5, box.age(row) / 10 / SECOND))
    box.change(connection, row.id, state=State.PENDING, sent=False, attempts=max(0, row.attempts - 1),
               due=now + int(pause * SECOND), reason=reason)  # fmt: skip
    return State.PENDING


def may_come_late(response: Response | None) -> bool:
    """Whether the effect of a write that was answered so may yet come: a gateway answers for one that still works."""
    return response is None or response.status in (502, 504)


def _as_drafted(row: Any) -> Pending:
    """An entry as it was when it was accepted."""
    body = row.body if row.action == Action.CREATE else row.base
    return Pending(
        row.seq, row.type, Action(row.action), row.record, orjson.loads(row.fields),
        None if body is None else orjson.loads(body), row.user, row.accepted_at,
    )  # fmt: skip


def _is_refusal(response: Response | None) -> bool:
    return response is not None and 400 <= response.status < 500


def _unkeepable(resource: Resource, write: Write) -> str | None:
    """Why the answer to it could not be kept, though the upstream would take it."""
    if write.endpoint.action is Action.CREATE and "integer" not in resource.fields.get(resource.id_field, ("integer",)):
        return "string_id"  # what a provisional one would have to look like nobody can say
    if write.secrets and resource.username_field is not None and write.endpoint.action is Action.UPDATE:
        return "credentials"  # neither the old password nor the new one could be believed
    return None


def _read_id(contract: Contract, kind: str) -> str:
    endpoint = contract.endpoint_for(kind, Action.READ)
    return endpoint.id if endpoint is not None else ""


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
