"""The replayer's threads: one holds the lease and sees which entries are ready, some work on them side by side."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.contract import Action, Contract, Endpoint
from sidecar.events.recorded import in_journals, in_store
from sidecar.events.recorder import Recorder
from sidecar.events.store import StoreUnavailable
from sidecar.exchange import Outcome, Purpose
from sidecar.settings import Settings
from sidecar.standby import high_water
from sidecar.standby.observations import digest_in
from sidecar.standby.outbox.entries import prune, restored
from sidecar.standby.outbox.entries import reached as come_to
from sidecar.standby.outbox.missing import reached
from sidecar.standby.outbox.other_lives import ANY_LIFE
from sidecar.standby.outbox.replay import WORKED_ON, Replayer
from sidecar.standby.outbox.watermark import Mark
from sidecar.standby.standby import Standby
from sidecar.storage.changes import start_changes
from sidecar.storage.database import in_request, open_engine
from sidecar.storage.heartbeat import start_heartbeat
from sidecar.storage.lease import Lease
from sidecar.takeover.circuit import State
from sidecar.takeover.coordinator import Switchboard, counted
from sidecar.takeover.routing import Mode
from sidecar.telemetry.metrics import Metrics
from sidecar.upstream.connection import Call
from sidecar.upstream.internal_client import Errands, own_fields
from sidecar.upstream.scheduler import BackgroundCalls, Result, new_upstream

log = logging.getLogger(__name__)
TICK: Final = 0.1
SENDERS: Final = 16
"""Entries that are worked on at once. Half of the time that one takes it is not at the upstream: of HOSP's eight places
those that users leave free are in use."""
ENOUGH: Final = 2 * SENDERS
"""Entries handed out and not done yet, above which nobody looks which others are ready: for a long outbox that takes
long, and each entry that is done would make it necessary again."""
PAUSE: Final = 0.05
"""Seconds between two looks at what is ready; after one that took long, twice as long, and at most LONG_PAUSE."""
LONG_PAUSE: Final = 1.0
"""Seconds: the lease is renewed once a round, and must not end between two."""
REFRESH_EVERY: Final = 0.2
"""Seconds between two looks at what other processes know of takeover and of the standby."""
PRUNE_EVERY: Final = 60.0
"""Seconds."""
SYNC_EVERY: Final = 1.0
"""Seconds between two times that the mark is put on disk for certain."""
STORE_PATIENCE: Final = 10.0
"""Seconds for which replay waits for the event store's mark, where the node has one of its own."""
REFUSED: Final = frozenset(("refused", "unresolved", "connect_timeout"))


class Replaying:
    """One per deployment works; the others wait for its lease to end."""

    def __init__(self, settings: Settings, contract: Contract, recorder: Recorder) -> None:
        self._settings = settings
        self._contract = contract
        self._engine = open_engine(settings, in_request(settings))
        self._heartbeat = start_heartbeat(settings, self._engine)
        self._changes = start_changes(self._engine)
        self._standby = Standby(contract, self._engine, settings, self._heartbeat)
        key = f"{settings.node_name}/replay/{os.getpid()}"
        self._switchboard = Switchboard(
            self._engine, contract.endpoints, key, on_transition=counted(contract, Metrics())
        )
        self._upstream = BackgroundCalls(lambda: new_upstream(settings), SENDERS + 1, "replay")
        self._errands = Errands(settings.max_answer, contract, self._upstream, recorder, Purpose.REPLAY, digest_in)
        self._lease = Lease(self._engine, "replay", key)
        self._replayer = Replayer(
            contract, self._engine, self._standby.intents, self._standby.outbox, self._standby.seal(), self._lease,
            self._send, self._may_send, settings.replay_credentials,
        )  # fmt: skip
        self._mark = high_water.kept(settings)
        """What is known of the outbox's height beside the file, which all processes raise."""
        self._began = self._synced = time.monotonic()
        self._known: bool | None = self._mark != Mark() or None
        """Whether this node knows by itself how far the outbox had come; None: it has not looked."""
        self._told = threading.Event()
        """The event store has said how far the outbox had come."""
        self._consulted: set[str] = set()
        """Restored entries of which the records were asked."""
        self._pruned = -PRUNE_EVERY
        self._refreshed = -REFRESH_EVERY
        self._outdated = True
        """Others may know more since what they know was looked at."""
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._busy: set[str] = set()
        """The entries that were handed out."""
        self._wake = threading.Event()
        self._probing: dict[str, threading.Thread] = {}
        self._leads = False

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        self._standby.outbox.touch()  # whoever died before us may not have told what it did
        senders = [
            threading.Thread(target=self._sender, args=(stop,), name=f"replay-{n}", daemon=True) for n in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        threading.Thread(target=self._ask_store, args=(stop,), name="replay-mark", daemon=True).start()
        took = 0.0
        while not stop.wait(max(PAUSE, min(2 * took, LONG_PAUSE))):
            self._wake.wait(TICK)
            self._wake.clear()
            began = time.monotonic()
            if self._heartbeat.why_away() is not None:
                self._standby.refresh()
                continue
            try:
                with self._changes.looking() as look:
                    self._round(look or self._is_restless())
            except SQLAlchemyError:
                log.exception("replay has no database", extra={"fields": {"event.action": "replay_failed"}})
                stop.wait(1)
            except Exception:  # whatever an entry is like, it does not end replay of the others
                log.exception("a round of replay broke", extra={"fields": {"event.action": "replay_failed"}})
                stop.wait(1)
            took = time.monotonic() - began
        for _ in senders:
            self._ready.put(None)
        for thread in (*senders, *self._probing.values()):
            thread.join(1)
        self._lease.release()
        self._upstream.close()
        self._standby.close()
        self._changes.close()
        self._heartbeat.close()
        self._engine.dispose()

    def _round(self, look: bool) -> None:
        """Hands out what is ready; where nothing has changed, nothing is. Raises SQLAlchemyError."""
        if look:
            self._notice_restore()
        self._refresh(look)
        led = self._leads
        self._leads = self._may_begin() and self._lease.hold()
        if not self._leads or not (look or not led):
            return
        self._consult()
        self._prune()
        if len(self._busy) <= ENOUGH:
            self._hand_out()
        self._probe()

    def _refresh(self, look: bool) -> None:
        """Looks at what others know, now or soon. Raises SQLAlchemyError."""
        self._outdated |= look
        if 0 <= time.monotonic() - self._refreshed < REFRESH_EVERY:
            return
        self._refreshed = time.monotonic()
        self._switchboard.tick(self._outdated)
        self._standby.refresh(self._outdated)
        self._outdated = False

    def _hand_out(self) -> None:
        for ident in self._replayer.ready():
            if ident not in self._busy:
                self._busy.add(ident)
                self._ready.put(ident)

    def _is_restless(self) -> bool:
        """Whether time alone may bring something to do: an entry that comes due, an endpoint to try, a beginning."""
        seen = self._standby.outbox.last_looked()
        states = self._switchboard.states().values()
        return (
            bool(self._busy or seen.entries)
            or not self._may_begin()
            or any(state.circuit.state is not State.CLOSED for state in states)
        )

    def _start(self, where: dict[str, threading.Thread], name: str, work: Callable[[], object]) -> None:
        thread = where.get(name)
        if thread is None or not thread.is_alive():
            where[name] = threading.Thread(target=work, name=f"replay-{name}", daemon=True)
            where[name].start()

    def _sender(self, stop: threading.Event) -> None:
        while (ident := self._ready.get()) is not None and not stop.is_set():
            try:
                self._replayer.work(ident)
            except Exception:
                log.exception("replay of an entry broke", extra={"fields": {"event.action": "replay_failed"}})
                time.sleep(1)
            finally:
                self._busy.discard(ident)
                self._wake.set()

    def _may_send(self, endpoint: str) -> bool:
        state = self._switchboard.state(endpoint)
        if self._standby.owns(self._contract.endpoints[endpoint].resource) or state.mode is Mode.STANDBY:
            return False
        return state.circuit.state is not State.OPEN

    def _send(self, endpoint: Endpoint, call: Call, request_id: str) -> Result:
        result = self._errands.send(endpoint, call, request_id)
        if result.attempt.outcome is Outcome.SUCCESS:  # a write that the upstream cannot take is not users' failure
            self._switchboard.observe(endpoint.id, True, False)
        return result

    def _try(self, endpoint: Endpoint, call: Call) -> None:
        """A probe: what comes of it is what users would meet."""
        attempt = self._errands.send(endpoint, call, "").attempt
        self._switchboard.observe(endpoint.id, attempt.outcome is Outcome.SUCCESS, attempt.error in REFUSED)

    def _notice_restore(self) -> None:
        """A database that is behind what it was, as after a failover to a replica, sends nothing before it is brought
        forward."""
        mark = self._standby.mark.read().above(self._mark)  # before the database: what it shows is no older
        engine = self._engine.execution_options(**ANY_LIFE)
        with engine.execution_options(writes=False).connect() as connection, connection.begin():
            behind, now = high_water.compare(connection, mark) is not None, come_to(connection)
        if self._known is None:
            self._known = now == Mark()  # nothing was ever taken
        if not behind:
            self._standby.mark.raise_to(now)
            if not 0 <= time.monotonic() - self._synced < SYNC_EVERY:
                self._synced = time.monotonic()
                self._standby.mark.sync()
            return
        with engine.begin() as connection:
            found = high_water.bring_forward(connection, mark)
        if found is not None:
            self._standby.mark_gap("the database went back in time")
            self._standby.outbox.touch()
            high_water.say(self._settings, found)

    def _consult(self) -> None:
        """Before the entries of a database that went back in time are looked up: what was recorded may say that they
        were done. Where it says nothing they are looked up all the same."""
        with self._engine.execution_options(writes=False).connect() as connection, connection.begin():
            rows = restored(connection, WORKED_ON)
        if not {row.id for row in rows} - self._consulted:
            return
        self._consulted = {row.id for row in rows}
        since = min(row.accepted_at for row in rows)
        found = reached(in_journals([self._settings.data / "journal"], since), self._contract)
        try:
            kept = in_store(self._settings, since, understudy__purpose=["replay"])
            found |= {key: real for key, real in reached(kept, self._contract).items() if found.get(key, "-") == "-"}
        except StoreUnavailable as error:
            log.warning("what was replayed cannot be asked of the event store: %s", error)
        self._replayer.settle_recorded(found)

    def _ask_store(self, stop: threading.Event) -> None:
        """What the event store knows of the mark: other nodes may have raised it, and ours may be lost."""
        while not self._told.is_set():
            try:
                self._mark = high_water.in_store(self._settings).above(self._mark)
                self._told.set()
            except StoreUnavailable as error:  # a new one is made this very moment
                late = time.monotonic() - self._began > STORE_PATIENCE / 2
                log.log(
                    logging.WARNING if late else logging.DEBUG,
                    "how far the outbox had come cannot be asked of the event store: %s",
                    error,
                )
                if stop.wait(0.5):
                    return

    def _may_begin(self) -> bool:
        """Whether anything may be sent: not before it is known how far the outbox had come. A node's own mark will do
        where the event store says nothing for STORE_PATIENCE."""
        if self._told.is_set():
            return True
        return bool(self._known) and time.monotonic() - self._began > STORE_PATIENCE

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > PRUNE_EVERY:
            self._pruned = time.monotonic()
            with self._engine.begin() as connection:
                prune(connection, time.time_ns())
            self._replayer.park_orphans()

    def _probe(self) -> None:
        """Half-open reads are tried by us too, so that an endpoint comes back though nobody asks for it."""
        if self._settings.backfill_credentials is None:
            return
        for name in self._switchboard.probes_due():
            endpoint = self._contract.endpoints[name]
            if endpoint.safe and "{" not in endpoint.template and endpoint.action in (Action.LIST, Action.CALL):
                call = Call("GET", endpoint.template, own_fields(self._settings), repeatable=True)
                self._start(self._probing, name, lambda e=endpoint, c=call: self._try(e, c))  # type: ignore[misc]
