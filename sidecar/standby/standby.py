"""The standby of one process: what the gateway asks and tells. Thread-safe; processes share the database.

A write is on disk before it is sent and settled before its answer leaves. Reads are learned a moment later, in the
order they came; an observation that a write may have overtaken is dropped, so lateness costs freshness, never truth.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import re
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from sidecar.clock import stamp
from sidecar.contract import Action, Contract, Match
from sidecar.gateway.exchange import Outcome, Request, Response
from sidecar.settings import Settings
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.callers import Callers, Standing
from sidecar.standby.inquire import Inquirer
from sidecar.standby.knowledge import Knowledge
from sidecar.standby.learn import load, observe, sent_fields, whole
from sidecar.standby.parity import Parity
from sidecar.standby.store import (
    collections, credentials, exclusive, meta, put, reader, records, replies, setting_of, shapes, writes,
)  # fmt: skip

log = logging.getLogger(__name__)
GRACE: Final = 30 * 10**9
"""A write that got no answer may still take effect for so long: what is seen sooner does not settle it."""
KEEP: Final = 600 * 10**9
LONGEST: Final = 300 * 10**9
"""Observations that took longer are not used; ended writes are kept for longer than that (KEEP)."""
HARMLESS: Final = frozenset({400, 401, 403, 405, 406, 409, 413, 415, 422, 429})
"""Answers to a write that say it changed nothing."""


@dataclass(frozen=True)
class Write:
    """A write under way."""

    id: str
    kind: str
    record: str
    action: Action
    started: int
    prior: str
    secret: bool
    names: tuple[str, ...]
    endpoint: str


class Standby:
    """Everything that the gateway needs to know."""

    def __init__(self, contract: Contract, engine: Engine, settings: Settings, grace: int = GRACE) -> None:
        self._contract, self._engine, self._settings, self._grace = contract, engine, settings, grace
        self._knowledge = Knowledge(contract)
        self._callers = Callers(engine)
        self._inquirer = Inquirer(contract, engine, self._knowledge, settings.unverified == "serve")
        self.parity = Parity(engine)
        self._process = f"{settings.node_name}/{os.getpid()}/{_born(os.getpid())}"
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._checked = 0.0
        self._able: dict[str, bool] = {}
        with engine.begin() as connection:
            exclusive(connection)
            for name in contract.resources:
                if not connection.execute(select(collections.c.type).where(collections.c.type == name)).first():
                    connection.execute(insert(collections).values(
                        type=name, complete=False, ordered=False, stamp=0, observed=0, generation=-1, version=0))
        self.refresh()
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
        self._thread.start()

    # Writes
    def begin_write(self, match: Match, request: Request, user: str | None) -> Write | None:
        """Makes the intent durable and doubts what it may touch. None for what acts on no resource."""
        endpoint = match.endpoint
        if endpoint is None or endpoint.resource is None or endpoint.repeatable:
            return None
        action = endpoint.action if endpoint.action.writes else Action.DELETE
        kind, number = endpoint.resource, "" if action is Action.CREATE else match.record_id or ""
        sent = sent_fields(request.body)
        resource = self._contract.resources[kind]
        secret = bool(resource.username_field) and (
            action is Action.DELETE or (bool(resource.secrets) and (sent is None or bool(resource.secrets & sent.keys()))))
        identity = str(uuid.uuid4())
        with self._engine.begin() as connection:
            exclusive(connection)
            names = self._names(connection, kind, number, sent)
            prior = self._knowledge.begin(connection, kind, action, number)
            started = stamp()
            targets = [(kind, number, action.value)]
            if action is Action.DELETE:
                targets += [(name, "*", "cascade") for name in self._knowledge.dependents(kind)]
            rows = {(t, r): k for t, r, k in targets}
            connection.execute(insert(writes), [
                {"id": identity, "type": t, "record": r, "kind": k, "endpoint": endpoint.id, "process": self._process,
                 "started": started, "ended": None, "outcome": None, "prior": prior, "accepted": time.time_ns()}
                for (t, r), k in rows.items()])
        return Write(identity, kind, number, action, started, prior, secret, names, endpoint.id)

    def end_write(self, write: Write | None, response: Response | None, outcome: Outcome, user: str | None) -> None:
        """Settles a write, durably. Unclear ones leave in doubt what they may have touched."""
        if write is None:
            return
        status = response.status if response is not None else None
        good = status is not None and 200 <= status < 300 and outcome is Outcome.SUCCESS
        untouched = status in HARMLESS or (response is None and outcome is Outcome.FAILURE)
        with self._engine.begin() as connection:
            exclusive(connection)
            now = stamp()
            if good and response is not None:
                self._succeeded(connection, write, response, user, now)
            elif untouched:
                if write.prior in ("known", "gone") and not self._overlapped(connection, write, write.record):
                    connection.execute(update(records).where(
                        records.c.type == write.kind, records.c.id == write.record).values(state=write.prior))
            elif write.action is not Action.UPDATE:
                self._knowledge.incomplete(connection, write.kind)
            if write.secret and not untouched:
                self._forget(connection, write.names)
            self._knowledge.bump(connection, write.kind)
            unclear = not good and not untouched and status is None
            connection.execute(update(writes).where(writes.c.id == write.id).values(
                ended=now + self._grace if unclear else now,
                outcome="success" if good else "failure" if untouched else "unknown"))
            connection.execute(delete(writes).where(writes.c.ended < now - KEEP))
        if write.secret and not untouched:
            self._callers.refresh()

    def _succeeded(
        self, connection: Connection, write: Write, response: Response, user: str | None, now: int
    ) -> None:
        generation = self._knowledge.generation(connection, write.started)
        if write.action is Action.DELETE:
            if not self._overlapped(connection, write, write.record):
                self._knowledge.gone(connection, write.kind, write.record, now, generation)
            return
        try:
            record = whole(self._contract.resources[write.kind], load(response.body))
        except ValueError:
            record = None
        fits = record is not None and (write.action is Action.CREATE or record.id == write.record)
        if record is None or not fits:
            if write.action is Action.CREATE:
                self._knowledge.incomplete(connection, write.kind)
            return
        if self._overlapped(connection, write, record.id):
            put(connection, records, {"type": write.kind, "id": record.id}, {
                "body": record.text, "state": "doubt", "stamp": now, "observed": time.time_ns(),
                "generation": generation})
        else:
            self._knowledge.keep(connection, write.kind, record, now, generation)
        self._knowledge.show(connection, user, write.kind, [record.id])

    def _overlapped(self, connection: Connection, write: Write, number: str) -> bool:
        return self._knowledge.overlapped(connection, write.id, write.kind, number, write.started)

    def _names(
        self, connection: Connection, kind: str, number: str, sent: dict[str, Any] | None
    ) -> tuple[str, ...]:
        """The users whose credentials a write may change; empty: nobody can say whose."""
        field = self._contract.resources[kind].username_field
        body = connection.execute(select(records.c.body).where(
            records.c.type == kind, records.c.id == number, records.c.state == "known")).scalar()
        if field is None or (number and body is None):
            return ()
        found = {load(body.encode()).get(field)} if body else set()
        return tuple(str(name) for name in (found | {(sent or {}).get(field)}) - {None})

    def _forget(self, connection: Connection, names: tuple[str, ...]) -> None:
        chosen = [credentials.c.user.in_(names)] if names else []
        connection.execute(update(credentials).where(credentials.c.retired == 0, *chosen).values(retired=stamp()))

    # Reads
    def learn(
        self, match: Match, request: Request, response: Response, user: str | None, t0: int, t1: int,
        compare: bool | None = None,
    ) -> None:  # fmt: skip
        """Takes an answer in, soon; `compare` (None: a sample) first compares it with what we would have said."""
        if t1 - t0 <= LONGEST and request.method == "GET":
            chosen = random.random() < self._settings.parity_sample if compare is None else compare
            self._queue.put((match, request, response, user, t0, chosen))

    def answer(self, match: Match, request: Request, user: str | None) -> Answer | DontKnow:
        """What is truly known for this caller, or why nothing is."""
        return self._inquirer.answer(match, request, user)

    def likely(self, match: Match) -> bool:
        """A guess from memory."""
        return match.endpoint is not None and self._able.get(match.endpoint.id, False)

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until everything given to `learn` is known; False when that took too long."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(5)

    def _run(self) -> None:
        running = True
        while running:
            batch = [self._queue.get()]
            while len(batch) < 100 and not self._queue.empty():
                batch.append(self._queue.get())
            running = None not in batch
            try:
                self._take([item for item in batch if isinstance(item, tuple)])
            except Exception:
                log.exception("learning failed", extra={"event.action": "learn_failed"})
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()

    def _take(self, batch: list[Any]) -> None:
        for match, request, response, user, t0, compare in batch:
            if compare and not self._busy(match, t0):
                self.parity.compare(match, self.answer(match, request, user), response)
            with self._engine.begin() as connection:
                exclusive(connection)
                self._shape(connection, match, request, response)
                for seen in observe(self._contract, match, request, response):
                    self._knowledge.apply(connection, seen, user, t0)

    def _busy(self, match: Match, t0: int) -> bool:
        kind = match.endpoint.resource if match.endpoint else None
        with reader(self._engine) as connection, connection.begin():
            return kind is not None and bool(self._knowledge.since(connection, kind, t0))

    def _shape(self, connection: Connection, match: Match, request: Request, response: Response) -> None:
        endpoint, media = match.endpoint, response.header("content-type") or ""
        if endpoint is None:
            return
        key = {"endpoint": endpoint.id, "status": response.status}
        if endpoint.public and endpoint.action is Action.CALL and response.status == 200 and not request.query:
            put(connection, replies, {"endpoint": endpoint.id, "key": ""}, {
                "status": 200, "media": media, "body": response.body, "observed": time.time_ns()})
        elif endpoint.resource and response.status in (200, 404) and "json" in media:
            named = re.search(rf"\b{re.escape(match.record_id or ' ')}\b", response.body.decode(errors="replace"))
            if response.status == 200 or (not named and len(response.body) < 4096):
                put(connection, shapes, key, {"media": media, "body": response.body if response.status == 404 else None})

    # Callers
    def check(self, user: str, password: str) -> Standing:
        return self._callers.check(user, password)

    def accepted(self, user: str, password: str) -> None:
        self._callers.accepted(user, password)

    def rejected(self, user: str, password: str) -> None:
        self._callers.rejected(user, password)

    def revoke(self, user: str) -> None:
        self._callers.revoke(user)

    def restore(self, user: str) -> None:
        self._callers.restore(user)

    def is_revoked(self, user: str) -> bool:
        return self._callers.is_revoked(user)

    # State
    def mark_gap(self, reason: str) -> None:
        """Traffic may have passed us by: what is known is unverified until it is seen again."""
        log.warning("knowledge is unverified: %s", reason, extra={"event.action": "gap"})
        with self._engine.begin() as connection:
            exclusive(connection)
            generation = int(setting_of(connection, "generation", "0")) + 1
            put(connection, meta, {"key": "generation"}, {"value": str(generation)})
            put(connection, meta, {"key": "verified_since"}, {"value": str(stamp())})

    def refresh(self) -> None:
        """Looks at what other processes wrote; finds writes whose process died."""
        self._callers.refresh()
        if time.monotonic() - self._checked > 2:
            self._checked = time.monotonic()
            self._bury()
        completeness = self.completeness()
        self._able = {
            name: endpoint.resource is None or (
                completeness[endpoint.resource]["complete"] if endpoint.action is Action.LIST
                else completeness[endpoint.resource]["known"] > 0)
            for name, endpoint in self._contract.endpoints.items() if endpoint.method == "GET"
        }

    def _bury(self) -> None:
        """Writes of processes that died are unclear."""
        with reader(self._engine) as connection, connection.begin():
            running = set(connection.execute(select(writes.c.process).where(writes.c.ended.is_(None))).scalars())
        dead = [name for name in running if self._is_dead(name)]
        if not dead:
            return
        with self._engine.begin() as connection:
            exclusive(connection)
            lost = [writes.c.process.in_(dead), writes.c.ended.is_(None)]
            for kind in connection.execute(select(writes.c.type).where(*lost, writes.c.kind != "update")).scalars().all():
                self._knowledge.incomplete(connection, kind)
            connection.execute(update(writes).where(*lost).values(ended=stamp() + self._grace, outcome="unknown"))

    def _is_dead(self, process: str) -> bool:
        node, pid, born = process.rsplit("/", 2)
        return node == self._settings.node_name and _born(int(pid)) != born

    def completeness(self) -> dict[str, dict[str, Any]]:
        """By resource: known, expected, complete, in_doubt, verified, ratio."""
        found = {}
        with reader(self._engine) as connection, connection.begin():
            generation = int(setting_of(connection, "generation", "0"))
            counts = {(t, s): n for t, s, n in connection.execute(select(
                records.c.type, records.c.state, func.count()).group_by(records.c.type, records.c.state))}
            fresh = {t: n for t, n in connection.execute(select(records.c.type, func.count()).where(
                records.c.state == "known", records.c.generation >= generation).group_by(records.c.type))}
            for row in connection.execute(select(collections)):
                known, doubt = counts.get((row.type, "known"), 0), counts.get((row.type, "doubt"), 0)
                verified = row.generation >= generation and fresh.get(row.type, 0) == known
                complete = bool(row.complete) and verified and not doubt
                ratio = 1.0 if complete else fresh.get(row.type, 0) / max(1, known + doubt) if row.complete else 0.0
                found[row.type] = {"known": known, "expected": known + doubt if row.complete else None,
                                   "complete": complete, "in_doubt": doubt, "verified": verified, "ratio": ratio}
        return found

    def ready(self, endpoint_id: str) -> tuple[bool, str]:
        """Whether the standby can answer for an endpoint, and why not."""
        endpoint = self._contract.endpoints[endpoint_id]
        if endpoint.method != "GET":
            return False, "writes_need_the_upstream"
        if endpoint.resource is None:
            with reader(self._engine) as connection, connection.begin():
                had = connection.execute(select(replies.c.key).where(replies.c.endpoint == endpoint_id)).first()
            return had is not None, "known" if had else "never_seen"
        state = self.completeness()[endpoint.resource]
        return state["complete"], "complete" if state["complete"] else "incomplete"


def _born(pid: int) -> str:
    """When a process started, in clock ticks; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
