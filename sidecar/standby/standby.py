"""The standby: what the gateway tells it, and what it answers. One per process; all share the database.

Promises: an intent is on disk before `begin_write` returns, and what a write did before `end_write` returns. Answers
are given from one consistent look at what is known. Learning from reads happens later, in a thread, and may be dropped
under load; nothing is ever believed that a write may have overtaken.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import stamp
from sidecar.contract import Action, Contract, Match, Resource
from sidecar.gateway.exchange import Outcome, Request, Response, uuid7
from sidecar.gateway.validate import Unreadable, plain_body
from sidecar.settings import Settings
from sidecar.standby import knowledge
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.callers import Callers, Standing, bump
from sidecar.standby.learn import (
    LIMIT,
    ListSeen,
    OwnSeen,
    RecordMissing,
    RecordSeen,
    ReplySeen,
    observations,
    whole_record,
)
from sidecar.standby.library import Library
from sidecar.standby.parity import Parity
from sidecar.standby.store import DOUBT, KNOWN, collections, meta, records, writes

log = logging.getLogger(__name__)
AGAIN: Final = 10**9
"""ns in which the same answer to the same question is learned from once."""
RECENT: Final = 4096
QUEUE: Final = 2000
"""Exchanges waiting to be learned from; beyond it reads are not learned from, which loses nothing that is true."""


@dataclass(frozen=True)
class Write:
    """A write under way: its intent's id, and the state of the record before it."""

    id: str
    match: Match
    secrets: bool
    started: int
    before: str | None


class Standby:
    """The façade. Thread-safe."""

    def __init__(self, contract: Contract, engine: Engine, settings: Settings) -> None:
        self._contract = contract
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._settings = settings
        self._callers = Callers(engine)
        self._library = Library(contract, serve_unverified=settings.unverified == "serve")
        self.parity = Parity(engine)
        self._process = f"{settings.node_name}/{os.getpid()}"
        self._ready: frozenset[str] = frozenset()
        self._verified_since = 0
        self._expired = 0.0
        self._generation = 0
        self._recent: dict[tuple[str, str | None], tuple[tuple[int, int], int]] = {}
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE)
        self._thread = threading.Thread(target=self._learner, name="learner", daemon=True)
        self._thread.start()

    # Writes -------------------------------------------------------------------------------------------------------

    def begin_write(self, match: Match, request: Request, user: str | None) -> Write:
        """Puts the intent on disk and the record in doubt. Raises SQLAlchemyError."""
        endpoint = match.endpoint
        assert endpoint is not None
        assert endpoint.resource is not None
        self._generation += 1
        now, kind, record = stamp(), endpoint.resource, match.record_id
        ident = uuid7(time.time_ns())
        with self._engine.begin() as connection:
            before = None
            if record is not None:
                query = select(records.c.state).where(records.c.type == kind, records.c.id == record)
                before = connection.scalar(query)
                if before is not None:
                    knowledge.doubt_record(connection, kind, record, now)
            row = {
                "id": ident,
                "endpoint": endpoint.id,
                "type": kind,
                "record": record,
                "user": user,
                "process": self._process,
                "accepted_at": time.time_ns(),
                "started": now,
                "ended": None,
                "outcome": "open",
                "fields": knowledge.filter_fields(self._contract, endpoint, request.body),
            }
            connection.execute(insert(writes).values(row))
        secrets = endpoint.takes_secrets and any(name.encode() in request.body for name in self._contract.secrets)
        return Write(ident, match, secrets, now, before)

    def end_write(self, write: Write, response: Response | None, outcome: Outcome, user: str | None) -> None:
        """Keeps what became of a write. A 4xx took no effect; neither did one that was not sent (FAILURE)."""
        self._generation += 1
        refused = response is not None and 400 <= response.status < 500
        now = stamp()
        with self._engine.begin() as connection:
            if refused or outcome is Outcome.FAILURE:
                self._took_no_effect(connection, write, now)
                verdict = "failure"
            elif (
                outcome is Outcome.SUCCESS
                and response is not None
                and self._took_effect(connection, write, response, user, now)
            ):
                verdict = "success"
            else:
                self._unclear(connection, write, now)
                verdict = "unknown"
            ended = now + knowledge.LATE_EFFECT if verdict == "unknown" and response is None else now
            connection.execute(update(writes).where(writes.c.id == write.id).values(ended=ended, outcome=verdict))

    def _took_no_effect(self, connection: Connection, write: Write, now: int) -> None:
        """The record is as it was, unless another write was there meanwhile."""
        kind, record = _about(write)
        if record is None or write.before is None or write.before == DOUBT:
            return
        if knowledge.clean(connection, kind, record, write.started, but=write.id):
            where = (records.c.type == kind) & (records.c.id == record)
            connection.execute(update(records).where(where).values(state=write.before, stamp=now))

    def _took_effect(
        self, connection: Connection, write: Write, response: Response, user: str | None, now: int
    ) -> bool:
        """Applies a write that the upstream confirmed. False when its answer does not say what is now true."""
        kind, record = _about(write)
        resource = self._contract.resources[kind]
        alone = record is None or knowledge.clean(connection, kind, record, write.started, but=write.id)
        if write.match.endpoint is not None and write.match.endpoint.action is Action.DELETE and record is not None:
            if alone:
                knowledge.drop_record(connection, kind, record, now)
            knowledge.doubt_referrers(connection, self._contract, kind, record, now)
            knowledge.changed(connection, kind, now)
            return alone
        seen = _record_in(resource, response)
        if seen is None or (record is not None and seen.id != record) or not alone:
            return False
        knowledge.put_record(connection, seen, now)
        if record is None:
            knowledge.changed(connection, kind, now)
        if user is not None:
            knowledge.see_created(connection, self._contract, kind, seen.id, user)
        if write.secrets and resource.username_field is not None:
            name = orjson.loads(seen.body).get(resource.username_field)
            if isinstance(name, str):
                self._callers.forget(connection, name)
        return True

    def _unclear(self, connection: Connection, write: Write, now: int) -> None:
        kind, record = _about(write)
        knowledge.changed(connection, kind, now)
        if record is not None:
            knowledge.doubt_record(connection, kind, record, now)
            if write.match.endpoint is not None and write.match.endpoint.action is Action.DELETE:
                knowledge.doubt_referrers(connection, self._contract, kind, record, now)

    # Learning -----------------------------------------------------------------------------------------------------

    def learn(self, match: Match, request: Request, response: Response, user: str | None, t0: int, t1: int) -> None:
        """Queues a read's answer to be learned from. t0 and t1 are stamps around the call."""
        if self._just_learned((request.target, user), hash((response.status, response.body)), t0):
            return
        compare = hash((t0, request.target)) % 1000 < self._settings.parity_sample * 1000
        self._later(lambda: self._learn(match, request, response, user, t0, compare))

    def _just_learned(self, key: tuple[str, str | None], content: int, t0: int) -> bool:
        """Whether the very same was learned within AGAIN, and nothing that we know of has happened since."""
        latest = (content, self._generation)
        found = self._recent.get(key)
        if found is not None and found[0] == latest and 0 <= t0 - found[1] < AGAIN:
            return True
        if len(self._recent) >= RECENT:
            self._recent.clear()
        self._recent[key] = (latest, t0)
        return False

    def accepted(self, user: str, password: str) -> None:
        """The upstream has accepted these credentials."""
        if self._callers.is_new(user, password):
            self._later(lambda: self._callers.remember(user, password))

    def rejected(self, user: str, password: str) -> None:
        """The upstream answered 401 to these credentials."""
        if self._callers.may_know(user, password):
            self._callers.reject(user, password)
        else:
            self._later(lambda: self._callers.reject(user, password))

    def flush(self, timeout: float = 5.0) -> None:
        """Waits until all that is queued has been learned."""
        done = threading.Event()
        self._work.put(done.set)
        if not done.wait(timeout):
            raise TimeoutError("the standby is still learning")

    def _later(self, work: Callable[[], None]) -> None:
        try:
            self._work.put_nowait(work)
        except queue.Full:
            return

    def _learner(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:
                log.exception("learning failed", extra={"fields": {"event.action": "learn_failed"}})

    def _learn(
        self, match: Match, request: Request, response: Response, user: str | None, t0: int, compare: bool
    ) -> None:
        endpoint = match.endpoint
        seen = observations(self._contract, match, request, response)
        if endpoint is None or not seen:
            return
        if compare and endpoint.resource is not None and request.method == "GET":
            self._compare(match, request, response, user, t0)
        with self._engine.begin() as connection:
            for observation in seen:
                self._see(connection, endpoint.id, observation, user, t0)

    def _see(self, connection: Connection, endpoint: str, seen: Any, user: str | None, t0: int) -> None:
        private = False
        if isinstance(seen, RecordSeen):
            knowledge.see_record(connection, self._contract, seen, user, t0)
        elif isinstance(seen, RecordMissing):
            self._generation += 1  # it may put in doubt what others were shown
            private = knowledge.see_missing(connection, self._contract, seen, t0)
        elif isinstance(seen, ListSeen):
            private = knowledge.see_list(connection, self._contract, seen, user, t0)
        elif isinstance(seen, OwnSeen) and user is not None:
            knowledge.see_own(connection, user, seen.id)
        elif isinstance(seen, ReplySeen):
            knowledge.see_reply(connection, endpoint, seen.kind, seen.status, seen.content_type, seen.body)
        if private:
            fields = {"event.action": "visibility_tightened", "resource": seen.type}
            log.warning(
                "the upstream does not show everyone the same: from now on neither do we", extra={"fields": fields}
            )

    def _compare(self, match: Match, request: Request, response: Response, user: str | None, t0: int) -> None:
        """Parity: what we would have said before we learned this answer."""
        kind = match.endpoint.resource if match.endpoint else None
        with self._reader.connect() as connection, connection.begin():
            if kind is None or not knowledge.clean(connection, kind, match.record_id, t0):
                return
            ours = self._library.answer(connection, match, request, user)
        assert match.endpoint is not None
        self.parity.compare(match.endpoint.id, ours, response, self._contract.resources[kind])

    # Answers ------------------------------------------------------------------------------------------------------

    def answer(self, match: Match, request: Request, user: str | None) -> Answer | DontKnow:
        """What is known to be true for this caller, whose credentials have been checked."""
        try:
            with self._reader.connect() as connection, connection.begin():
                return self._library.answer(connection, match, request, user)
        except SQLAlchemyError:
            log.exception("the standby's database failed", extra={"fields": {"event.action": "database_failed"}})
            return DontKnow("database")

    def likely(self, match: Match) -> bool:
        """A guess, from memory, whether the standby could answer."""
        endpoint = match.endpoint
        return endpoint is not None and (endpoint.public or endpoint.resource in self._ready) and endpoint.safe

    def check(self, user: str, password: str) -> Standing:
        """Who the caller is to us."""
        try:
            return self._callers.check(user, password)
        except SQLAlchemyError:
            log.exception("the standby's database failed", extra={"fields": {"event.action": "database_failed"}})
            return Standing.UNKNOWN

    def is_revoked(self, user: str) -> bool:
        return self._callers.is_revoked(user)

    def revoke(self, user: str) -> None:
        self._callers.revoke(user)

    def restore(self, user: str) -> None:
        self._callers.restore(user)

    # State --------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Looks at what other processes know; called every quarter of a second."""
        with self._reader.connect() as connection, connection.begin():
            self._callers.refresh(connection)
            self._verified_since = (
                connection.scalar(select(meta.c.value).where(meta.c.name == knowledge.VERIFIED_SINCE)) or 0
            )
            rows = connection.execute(select(collections)).all()
        since = self._verified_since
        self._ready = frozenset(row.type for row in rows if row.complete and row.stamp >= since)
        if time.monotonic() - self._expired > 5:
            self._expired = time.monotonic()
            with self._engine.begin() as connection:
                knowledge.expire(connection, stamp(), self._settings.upstream_timeout)

    def verified_since(self) -> int:
        """The stamp before which nothing that is known is verified."""
        return self._verified_since

    def doubtful(self) -> set[str]:
        """Resources that are incomplete or in doubt, and that a look at the upstream could clear up now."""
        with self._reader.connect() as connection, connection.begin():
            shared = {name for name in self._contract.resources if not self._private(connection, name)}
            return (shared - self._ready) | knowledge.doubtful(connection, stamp())

    def _private(self, connection: Connection, kind: str) -> bool:
        return knowledge.is_private(connection, self._contract, kind)

    def mark_gap(self, reason: str) -> None:
        """Changes may have passed us by: what is known counts as unverified until it is seen again."""
        log.warning("what the standby knows is unverified: %s", reason, extra={"fields": {"event.action": "gap"}})
        self._generation += 1
        with self._engine.begin() as connection:
            bump(connection, knowledge.VERIFIED_SINCE, stamp())

    def completeness(self) -> dict[str, dict[str, Any]]:
        """Per resource: known, in_doubt, complete, verified, and ratio (0 to 1, or None: nobody can say)."""
        with self._reader.connect() as connection, connection.begin():
            since = connection.scalar(select(meta.c.value).where(meta.c.name == knowledge.VERIFIED_SINCE)) or 0
            lists = {row.type: row for row in connection.execute(select(collections))}
            query = select(records.c.type, records.c.state, func.count().label("n")).group_by(
                records.c.type, records.c.state
            )
            counts = {(row.type, row.state): row.n for row in connection.execute(query)}
            unsettled = {
                name: knowledge.unsettled(connection, name, membership=True) for name in self._contract.resources
            }
        state = {}
        for name in self._contract.resources:
            known, doubt, row = counts.get((name, KNOWN), 0), counts.get((name, DOUBT), 0), lists.get(name)
            complete = row is not None and row.complete and not unsettled[name]
            verified = row is not None and row.stamp >= since
            ratio = (known / (known + doubt) if known + doubt else 1.0) if complete and verified else None
            state[name] = {
                "known": known,
                "in_doubt": doubt,
                "complete": complete,
                "verified": verified,
                "private": bool(row is not None and row.private),
                "ratio": ratio,
            }
        return state

    def ready(self, endpoint_id: str) -> tuple[bool, str]:
        """Whether the standby can answer for the endpoint, and why not."""
        endpoint = self._contract.endpoints[endpoint_id]
        if endpoint.public and endpoint.safe:
            return self._library.has_page(self._reader, endpoint_id), "the page has not been seen yet"
        if endpoint.resource is None or not endpoint.safe or endpoint.action is Action.CALL:
            return False, "only the upstream can answer this"
        row = self.completeness()[endpoint.resource]
        if row["private"] or self._contract.resources[endpoint.resource].visibility == "caller":
            return False, "each caller sees something else"
        if not row["complete"]:
            return False, f"not all {endpoint.resource} are known"
        if not row["verified"]:
            return False, "what is known is unverified"
        if row["in_doubt"]:
            return False, f"{row['in_doubt']} {endpoint.resource} are in doubt"
        return True, "ready"

    def unsettled(self) -> list[Mapping[str, Any]]:
        """Writes that are under way or unclear."""
        columns = (writes.c.id, writes.c.endpoint, writes.c.type, writes.c.record, writes.c.user)
        query = select(*columns, writes.c.accepted_at, writes.c.outcome).where(
            writes.c.outcome.in_(("open", "unknown"))
        )
        with self._reader.connect() as connection, connection.begin():
            return [dict(row) for row in connection.execute(query.order_by(writes.c.accepted_at)).mappings()]

    def close(self) -> None:
        """Learns what is queued, then ends."""
        self._work.put(None)
        self._thread.join(10)


def _about(write: Write) -> tuple[str, str | None]:
    endpoint = write.match.endpoint
    assert endpoint is not None
    assert endpoint.resource is not None
    return endpoint.resource, write.match.record_id


def _record_in(resource: Resource, response: Response) -> RecordSeen | None:
    try:
        return whole_record(resource, orjson.loads(plain_body(response, LIMIT)))
    except (orjson.JSONDecodeError, Unreadable):
        return None
