"""Sends the outbox to the upstream, in order, each write taking effect exactly once. One replayer per deployment.

Promises: writes of one resource go in the order in which they were accepted, and after those that they refer to. What
may have taken effect is looked for before it is sent again, and sent again only once a late effect can no longer come.
What cannot be settled is parked for a person. Each step is fenced: whoever lost the lease sends nothing more.

The fence. Before a write is sent its entry is marked as being sent, under the lease's token. Then, when the connection
to the upstream stands and the first byte is next, one transaction asks whether lease and mark are still ours, and moves
the moment from which on another may look for its effect. A process that was stopped at any time before that sends
nothing. One that is stopped between that transaction and the first byte, microseconds, can be late only by more than
`patience` (UPSTREAM_TIMEOUT + LATE_EFFECT) to do harm, and only if the upstream kept a connection open that long on
which nothing was said: no successor looks, and sends again, before that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import stamp
from sidecar.contract import Action, Contract, Endpoint
from sidecar.exchange import Outcome
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.credentials import basic_authorization
from sidecar.http.messages import Headers, Request, Response
from sidecar.standby.observations import LIMIT, RecordSeen, record_in, whole_record
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import UNSETTLED, Outbox, State
from sidecar.standby.outbox.overlay import Pending, effect, same
from sidecar.standby.outbox.rewrite import rewritten
from sidecar.standby.outbox.sealing import Seal, SealError
from sidecar.standby.writes.intents import Intents
from sidecar.storage.lease import Lease
from sidecar.timeunits import SECOND
from sidecar.upstream.connection import Call
from sidecar.upstream.scheduler import Result

log = logging.getLogger(__name__)
Send = Callable[[Endpoint, Call, str], Result]
"""Sends a call for an endpoint and judges its answer; the last is the request's id."""
GIVE_UP: Final = 12
"""Attempts that failed, each shown to have had no effect, after which a person must decide."""


@dataclass(frozen=True)
class Found:
    """What a look at the upstream showed: done (with the record), absent, conflict, or unknown."""

    what: str
    seen: RecordSeen | None = None


class Replayer:
    """Steps through the outbox. `may_send` says whether an endpoint's upstream is to be asked at the moment."""

    def __init__(
        self, contract: Contract, engine: Engine, intents: Intents, outbox: Outbox, seal: Seal, lease: Lease,
        send: Send, may_send: Callable[[str], bool], substitute: tuple[str, str] | None,
    ) -> None:  # fmt: skip
        self._contract = contract
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._intents = intents
        self._outbox = outbox
        self._seal = seal
        self._lease = lease
        self._send = send
        self._may_send = may_send
        self._substitute = substitute

    def due(self) -> list[str]:
        """The resources with an entry that may be worked on now."""
        waiting = self._outbox.snapshot().pending
        if not waiting:
            return []
        with self._reader.connect() as connection, connection.begin():
            return [kind for kind in waiting if self._next(connection, kind) is not None]

    def step(self, kind: str) -> bool:
        """Works on the resource's next entry. False: there is none for now."""
        with self._reader.connect() as connection, connection.begin():
            row = self._next(connection, kind)
        if row is None:
            return False
        try:
            self._work(row)
        except SealError as error:
            reason = f"sealed: {error}"
            self._change(lambda connection: self._intents.park(connection, row, reason, "discard"))
        return True

    def _next(self, connection: Connection, kind: str) -> Any:
        """The first entry that waits for no other and for no moment to come."""
        now = stamp()
        rows = [row for row in box.unsettled(connection, (State.SENDING, State.UNCLEAR)) if row.type == kind]
        pending = box.first_pending(connection, kind)
        for row in sorted([*rows, *([] if pending is None else [pending])], key=lambda row: int(row.seq)):
            if row.due <= now and self._may_send(row.endpoint) and not self._waits_for(connection, row):
                return row
        return None

    def _waits_for(self, connection: Connection, row: Any) -> bool:
        """Whether an earlier entry must be settled first: of the same record or person, or of one that this refers to.

        Earlier pending entries of the resource need not be looked at: only the first of those is ever asked about.
        """
        references = self._contract.resources[row.type].references
        known = box.real_id(connection, row.type, row.record) or row.record
        if box.dangling(connection, references, orjson.loads(row.fields)):
            return True
        deletes = row.action == Action.DELETE
        states = UNSETTLED if deletes else (State.SENDING, State.UNCLEAR, State.PARKED)
        for other in box.unsettled(connection, states):
            if other.seq >= row.seq:
                break
            if other.type == row.type and (box.real_id(connection, other.type, other.record) or other.record) == known:
                return True
            if other.type == row.type and other.user == row.user and other.state != State.PARKED:
                return True
            if deletes and box.refers(self._contract, other, row.type, known):
                return True
        return False

    # One entry ----------------------------------------------------------------------------------------------------

    def _work(self, row: Any) -> None:
        headers, body = self._open(row)
        endpoint = self._contract.endpoints[row.endpoint]
        match = self._contract.match(row.method, row.target.partition("?")[0])
        request = rewritten(self._contract, match, Request(row.method, row.target, headers, body), self._outbox.real)
        uncertain = row.state != State.PENDING
        if uncertain or row.action != Action.CREATE:
            found = self._look(row, headers)
            if self._conclude(row, found, uncertain):
                return
        if row.attempts >= GIVE_UP:
            reason = f"failed {row.attempts} times: {row.reason}"
            self._change(lambda connection: self._intents.park(connection, row, reason, "retry"))
            return
        if not self._claim(row):
            return
        target, content = request.request.target, request.request.body
        call = Call(row.method, target, headers, content, fence=lambda: self._still_claimed(row))
        result = self._send(endpoint, call, row.request_id)
        if result.response is not None and result.response.status == 401 and self._substitute is not None:
            result = self._send(endpoint, _with(call, self._substitute), row.request_id)
        self._change(lambda connection: self._judge(connection, row, result))

    def _open(self, row: Any) -> tuple[Headers, bytes]:
        with self._reader.connect() as connection, connection.begin():
            sealed = connection.scalar(select(box.outbox.c.sealed).where(box.outbox.c.id == row.id))
        if sealed is None:
            raise SealError("nothing is kept of the request")
        return self._seal.open(row.id, sealed)

    def _claim(self, row: Any) -> bool:
        """Marks the entry as being sent, if it is as we saw it and the lease is still ours."""
        with self._engine.begin() as connection:
            if not self._lease.still_mine(connection):
                return False
            query = select(box.outbox.c.state, box.outbox.c.attempts).where(box.outbox.c.id == row.id)
            now = connection.execute(query).one()
            if (now.state, now.attempts) != (row.state, row.attempts):
                return False
            due = stamp() + self._intents.patience
            box.change(connection, row.id, state=State.SENDING, sent=True, attempts=row.attempts + 1, due=due,
                       token=self._lease.token)  # fmt: skip
        self._outbox.touch()
        return True

    def _still_claimed(self, row: Any) -> bool:
        """The fence: asked when the next thing to happen is that the upstream gets the write."""
        try:
            with self._engine.begin() as connection:
                if not self._lease.still_mine(connection):
                    return False
                query = select(box.outbox.c.state, box.outbox.c.token).where(box.outbox.c.id == row.id)
                if tuple(connection.execute(query).one()) != (State.SENDING, self._lease.token):
                    return False
                box.change(connection, row.id, due=stamp() + self._intents.patience)
        except SQLAlchemyError:
            return False
        return True

    def _judge(self, connection: Connection, row: Any, result: Result) -> str:
        current = connection.execute(select(box.outbox).where(box.outbox.c.id == row.id)).one()
        if current.state != State.SENDING or current.token != self._lease.token:
            return str(current.state)
        return self._intents.judge(connection, current, result.response, result.attempt.outcome)

    def _conclude(self, row: Any, found: Found, uncertain: bool) -> bool:
        """Acts on what a look showed. True: nothing is to be sent now."""
        if found.what == "done":
            self._change(lambda connection: self._intents.settle(connection, row, found.seen))
            return True
        if found.what == "conflict":
            reason = (
                f"conflict: the {row.type} record at {self._contract.name} is neither as it was nor as it should be"
            )
            self._change(lambda connection: self._intents.park(connection, row, reason, "retry"))
            return True
        if found.what == "untellable" and uncertain:
            reason = "unclear: nobody can tell whether it has taken effect"
            self._change(lambda connection: self._intents.park(connection, row, reason, "retry"))
            return True
        if found.what == "unknown":
            self._change(lambda connection: self._later(connection, row))
            return True
        return False

    def _later(self, connection: Connection, row: Any) -> None:
        box.change(connection, row.id, due=stamp() + 2 * SECOND, reason="the upstream could not be asked")

    def _change(self, change: Callable[[Connection], Any]) -> None:
        with self._engine.begin() as connection:
            if not self._lease.still_mine(connection):
                return
            change(connection)
        self._outbox.touch()

    # Looking for an effect ------------------------------------------------------------------------------------------

    def _look(self, row: Any, headers: Headers) -> Found:
        with self._reader.connect() as connection, connection.begin():
            pending = box.pending(connection, self._contract, row)
        if row.action == Action.CREATE:
            return self._look_for_new(row, pending, headers)
        return self._look_at(row, pending, headers)

    def _look_for_new(self, row: Any, pending: Pending, headers: Headers) -> Found:
        resource = self._contract.resources[row.type]
        listing = self._contract.endpoint_for(row.type, Action.LIST)
        if listing is None or not resource.list_matches_read or not pending.fields:
            return Found("untellable")
        query = {name: pending.fields[name] for name in listing.filters if pending.fields.get(name) is not None}
        target = listing.template + (f"?{urlencode(query)}" if query else "")
        response = self._ask(listing, target, headers)
        if response is None or response.status != 200:
            return Found("unknown")
        try:
            values = orjson.loads(decode_body(response, LIMIT))
        except (Unreadable, orjson.JSONDecodeError):
            return Found("unknown")
        with self._reader.connect() as connection, connection.begin():
            taken: set[str] = set()
            for other in box.unsettled(connection, (State.SENDING, State.UNCLEAR)):
                # Of two that look alike, the earlier has the earlier record.
                if other.type == row.type and other.action == Action.CREATE and other.seq < row.seq and other.sent:
                    theirs = effect(resource, box.pending(connection, self._contract, other), values, taken,
                                    lambda ident: box.is_claimed(connection, row.type, ident))  # fmt: skip
                    taken |= {theirs} if theirs is not None else set()
            ident = effect(resource, pending, values, taken, lambda i: box.is_claimed(connection, row.type, i))
        value = next((v for v in values if ident is not None and str(v.get(resource.id_field)) == ident), None)
        return Found("absent") if value is None else Found("done", whole_record(resource, value))

    def _look_at(self, row: Any, pending: Pending, headers: Headers) -> Found:
        reading = self._contract.endpoint_for(row.type, Action.READ)
        if reading is None or reading.id_param is None:
            return Found("untellable")
        response = self._ask(reading, reading.template.replace("{" + reading.id_param + "}", pending.record), headers)
        if response is None:
            return Found("unknown")
        if response.status in (404, 410):
            return Found("done") if row.action == Action.DELETE else Found("absent")
        seen = record_in(self._contract.resources[row.type], response) if response.status == 200 else None
        if seen is None:
            return Found("unknown")
        if row.action == Action.DELETE or not pending.fields:
            return Found("absent")
        value, base = orjson.loads(seen.body), orjson.loads(row.base) if row.base else {}
        if same(pending.fields, value):
            secret = any(name.encode() in self._open(row)[1] for name in self._contract.secrets)
            return Found("absent") if secret else Found("done", seen)
        was = {name: base[name] for name in pending.fields if name in base}
        return Found("absent") if same(was, value) else Found("conflict")

    def _ask(self, endpoint: Endpoint, target: str, headers: Headers) -> Response | None:
        kept = [(n, v) for n, v in headers if n.lower() not in ("content-type", "content-length", "x-request-id")]
        for _ in range(3):
            result = self._send(endpoint, Call("GET", target, _json_please(kept), repeatable=True), "")
            if result.response is not None and result.response.status == 401 and self._substitute is not None:
                kept = _with(Call("GET", target, kept), self._substitute).headers
                continue
            if result.attempt.outcome is Outcome.SUCCESS:
                return result.response
        return None


def _json_please(headers: Headers) -> Headers:
    return [(n, v) for n, v in headers if n.lower() != "accept"] + [("Accept", "application/json")]


def _with(call: Call, credentials: tuple[str, str]) -> Call:
    """The same call in another's name."""
    kept = [(n, v) for n, v in call.headers if n.lower() != "authorization"]
    return replace(call, headers=[*kept, ("Authorization", basic_authorization(*credentials))])
