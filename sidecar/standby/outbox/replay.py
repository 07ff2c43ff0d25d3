"""Sends the outbox to the upstream, each write taking effect exactly once. One replayer per deployment.

Promises: writes that depend on one another go in the order in which they were accepted (dependencies.py); nothing else
waits. What may have taken effect is looked for before it is sent again, and sent again only once a late effect can no
longer come. What cannot be settled is parked for a person. Each step is fenced: whoever lost the lease sends nothing
more. Nothing is sent from a database that went back in time, until it was brought forward (high_water.py).

The fence. Before a write is sent its entry is marked as being sent, under the lease's token, and no other may look for
its effect for `patience` (UPSTREAM_TIMEOUT + LATE_EFFECT) and SOON. Then, when the connection to the upstream stands
and the first byte is next, one transaction asks whether lease and mark are still ours; where less than `patience` is
left by then, it moves that moment. (It seldom has to: who sends does not wait for those who write.) A process that was
stopped at any time before that sends nothing. One that is stopped between that transaction and the first byte,
microseconds, can be late only by more than `patience` to do harm, and only if the upstream kept a connection open that
long on which nothing was said: no successor looks, and sends again, before that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import stamp
from sidecar.contract import Action, Contract, Endpoint
from sidecar.exchange import Outcome
from sidecar.http.credentials import basic_authorization
from sidecar.http.messages import Headers, Request, Response
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.dependencies import Held
from sidecar.standby.outbox.effect_lookup import Effect, EffectLookup, Found
from sidecar.standby.outbox.entries import Outbox, State
from sidecar.standby.outbox.missing import Key
from sidecar.standby.outbox.orphans import orphans, park_orphans
from sidecar.standby.outbox.review import IN_ANOTHERS_NAME
from sidecar.standby.outbox.revoked import is_revoked, revoked_since
from sidecar.standby.outbox.rewrite import rewritten
from sidecar.standby.outbox.sealing import Seal, SealError
from sidecar.standby.writes.intents import Intents
from sidecar.storage.group_commit import GroupCommit
from sidecar.storage.lease import Lease
from sidecar.timeunits import SECOND
from sidecar.upstream.connection import Call
from sidecar.upstream.scheduler import Result

log = logging.getLogger(__name__)
Send = Callable[[Endpoint, Call, str], Result]
"""Sends a call for an endpoint and judges its answer; the last is the request's id."""
WORKED_ON: Final = (State.PENDING, State.SENDING, State.UNCLEAR)
GIVE_UP: Final = 12
"""Attempts that failed, each shown to have had no effect, after which a person must decide."""
SOON: Final = 2 * SECOND
"""ns within which what was marked is most often sent."""
HOPELESS: Final = 5
"""Attempts after which, where the upstream has taken other writes of the kind meanwhile."""
_WHOLE: Final = select(box.outbox).where(box.outbox.c.id == bindparam("entry"))
_STANDING: Final = select(box.outbox.c.state, box.outbox.c.attempts, box.outbox.c.token, box.outbox.c.due).where(
    box.outbox.c.id == bindparam("entry")
)


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
        self._lookup = EffectLookup(contract, engine, self._ask)
        self._changes = GroupCommit(engine, lease.still_mine, outbox.touch)

    def ready(self) -> list[str]:
        """The entries that may be worked on now, side by side: none waits for another, or for a moment to come."""
        return [ident for ident, _ in self._ready()]

    def work(self, ident: str) -> bool:
        """Works on an entry that was ready. False: there is nothing to do, any more or for now."""
        with self._reader.connect() as connection, connection.begin():
            row = connection.execute(_WHOLE, {"entry": ident}).one_or_none()
            if row is None or row.state not in WORKED_ON or row.due > stamp() or not self._may_send(row.endpoint):
                return False
            revoked = is_revoked(connection, row.user)
        try:
            self._work(row, revoked=revoked)
        except SealError as error:
            self._park(row, f"sealed: {error}", "discard")
        return True

    def park_orphans(self) -> None:
        """Parks what the contract has no place for."""

        def park(connection: Connection) -> None:
            if count := park_orphans(connection, self._contract):
                fields = {"event.action": "orphans_parked", "understudy.entries": count}
                log.error(
                    "%d pending writes are parked: the contract lost their endpoints", count, extra={"fields": fields}
                )

        with self._reader.connect() as connection, connection.begin():
            found = orphans(connection, self._contract)
        if found:
            self._change(park)

    def settle_recorded(self, found: Mapping[Key, str]) -> None:
        """Settles entries of a database that went back in time, of which it was recorded that they were done: the real
        ids of their records, by request and endpoint, "-" where it was not recorded."""

        def settle(connection: Connection) -> None:
            for row in box.restored(connection, WORKED_ON):
                real = found.get((row.request_id, row.endpoint))
                if real is None:
                    continue
                if row.action == Action.CREATE and real == "-":
                    reason = "restored: it was done, and which record it made was not recorded"
                    self._intents.park(connection, row, reason, "discard")
                    continue
                if row.action == Action.CREATE:
                    box.alias(connection, row.type, row.record, real)
                self._intents.settle(connection, row, None)

        self._change(settle)

    def step(self, kind: str) -> bool:
        """Works on the resource's next entry. False: there is none for now."""
        ident = next((ident for ident, of in self._ready() if of == kind), None)
        return ident is not None and self.work(ident)

    def _ready(self) -> list[tuple[str, str]]:
        """(id, resource) in order."""
        if not self._outbox.snapshot().waits():
            return []
        now, held, ready = stamp(), Held(), []
        may_send = cache(self._may_send)
        with self._reader.connect() as connection, connection.begin():
            needs = self._outbox.view(connection).needs
            rows = box.waiting(connection)
        for row in rows:
            mine = needs.get(row.id)
            if mine is None or row.endpoint not in self._contract.endpoints:
                continue  # it will be parked
            due = row.state in WORKED_ON and row.due <= now
            if due and not held.stops(mine) and may_send(row.endpoint):
                ready.append((row.id, row.type))
            held.add(mine)
        return ready

    # One entry ----------------------------------------------------------------------------------------------------

    def _work(self, row: Any, *, revoked: bool) -> None:
        """`row`: with its sealed request. Raises SealError."""
        if row.sealed is None:
            raise SealError("nothing is kept of the request")
        headers, body = self._seal.open(row.id, row.sealed)
        if row.proposal == IN_ANOTHERS_NAME and self._substitute is not None:  # a person has said so of this entry
            headers = _in_name_of(self._substitute, headers)
        elif revoked:
            self._park(row, revoked_since(row), "discard")
            return
        endpoint = self._contract.endpoints[row.endpoint]
        match = self._contract.match(row.method, row.target.partition("?")[0])
        request = rewritten(self._contract, match, Request(row.method, row.target, headers, body), self._outbox.real)
        uncertain = row.state != State.PENDING
        if uncertain or row.action != Action.CREATE:
            secret = any(name.encode() in body for name in self._contract.secrets)
            found = self._lookup.look(row, headers, secret=secret)
            if self._conclude(row, found, uncertain):
                return
        if row.attempts >= GIVE_UP or (row.attempts >= HOPELESS and self._is_well(row)):
            self._park(row, f"failed {row.attempts} times: {row.reason}", "retry")
            return
        if not self._change(lambda connection: self._claim(connection, row)):
            return
        target, content = request.request.target, request.request.body
        call = Call(row.method, target, headers, content, fence=lambda: self._still_claimed(row))
        result = self._send(endpoint, call, row.request_id)
        self._change(lambda connection: self._judge(connection, row, result))

    def _claim(self, connection: Connection, row: Any) -> bool:
        """Marks the entry as being sent, if it is as we saw it."""
        if self._outbox.is_behind(connection):
            return False
        now = connection.execute(_STANDING, {"entry": row.id}).one()
        if (now.state, now.attempts) != (row.state, row.attempts):
            return False
        due = stamp() + SOON + self._intents.patience
        box.change(connection, row.id, state=State.SENDING, sent=True, attempts=row.attempts + 1, due=due,
                   token=self._lease.token)  # fmt: skip
        return True

    def _still_claimed(self, row: Any) -> bool:
        """The fence: asked when the next thing to happen is that the upstream gets the write."""
        try:
            with self._reader.connect() as connection, connection.begin():
                due = self._claimed_until(connection, row, look=True)
            if due is None or due >= stamp() + self._intents.patience:
                return due is not None
            with self._engine.begin() as connection:
                if self._claimed_until(connection, row) is None:
                    return False
                box.change(connection, row.id, due=stamp() + self._intents.patience)
        except SQLAlchemyError:
            return False
        return True

    def _claimed_until(self, connection: Connection, row: Any, *, look: bool = False) -> int | None:
        """The stamp before which nobody looks for the effect of an entry that is still marked as ours; None: it is not
        ours any more."""
        if not self._lease.still_mine(connection, look=look) or self._outbox.is_behind(connection):
            return None
        now = connection.execute(_STANDING, {"entry": row.id}).one()
        return int(now.due) if (now.state, now.token) == (State.SENDING, self._lease.token) else None

    def _judge(self, connection: Connection, row: Any, result: Result) -> str:
        current = box.one(connection, row.id)
        if current.state != State.SENDING or current.token != self._lease.token:
            return str(current.state)
        return self._intents.judge(connection, current, result.response, result.attempt.outcome)

    def _conclude(self, row: Any, found: Found, uncertain: bool) -> bool:
        """Acts on what a look showed. True: nothing is to be sent now."""
        effect = found.effect
        if effect is Effect.APPLIED and (uncertain or row.action == Action.DELETE):
            self._change(lambda connection: self._intents.settle(connection, row, found.seen))
            return True
        if effect is Effect.CONFLICT:
            reason = f"conflict: someone changed this record at {self._contract.name} meanwhile"
            self._park(row, reason, "merge", found.seen.body if found.seen is not None else None)
            return True
        if effect is Effect.UNDETERMINABLE and uncertain:
            self._park(row, f"unclear: nobody can tell whether it has taken effect: {found.why}", "retry")
            return True
        if effect is Effect.UNAVAILABLE:
            self._change(lambda connection: self._later(connection, row))
            return True
        return False

    def _is_well(self, row: Any) -> bool:
        """Whether the upstream has taken other writes of the kind since: it is this one that it cannot take."""
        with self._reader.connect() as connection, connection.begin():
            return box.other_settled(connection, row)

    def _later(self, connection: Connection, row: Any) -> None:
        box.change(connection, row.id, due=stamp() + 2 * SECOND, reason="the upstream could not be asked")

    def _park(self, row: Any, reason: str, proposal: str, theirs: str | None = None) -> None:
        self._change(lambda connection: self._intents.park(connection, row, reason, proposal, theirs))

    def _change(self, change: Callable[[Connection], Any]) -> Any:
        """Unless the lease is another's by now; then None. Nobody takes it before the transaction ends."""
        return self._changes.run(lambda connection, mine: change(connection) if mine else None)

    # Looking for an effect ------------------------------------------------------------------------------------------

    def _ask(self, endpoint: Endpoint, target: str, headers: Headers) -> Response | None:
        kept = [(n, v) for n, v in headers if n.lower() not in ("content-type", "content-length", "x-request-id")]
        for _ in range(3):
            result = self._send(endpoint, Call("GET", target, _json_please(kept), repeatable=True), "")
            if result.response is not None and result.response.status == 401 and self._substitute is not None:
                kept = _in_name_of(self._substitute, kept)
                continue
            if result.attempt.outcome is Outcome.SUCCESS:
                return result.response
        return None


def _json_please(headers: Headers) -> Headers:
    return [(n, v) for n, v in headers if n.lower() != "accept"] + [("Accept", "application/json")]


def _in_name_of(credentials: tuple[str, str], headers: Headers) -> Headers:
    kept = [(n, v) for n, v in headers if n.lower() != "authorization"]
    return [*kept, ("Authorization", basic_authorization(*credentials))]
