"""The replayer's thread: holds the lease, and works through each resource's entries side by side."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.contract import Action, Contract, Endpoint
from sidecar.events.recorder import Recorder
from sidecar.exchange import Outcome, Purpose
from sidecar.settings import Settings
from sidecar.standby.observations import digest_in
from sidecar.standby.outbox.entries import prune
from sidecar.standby.outbox.replay import Replayer
from sidecar.standby.standby import Standby
from sidecar.storage.database import open_engine
from sidecar.storage.lease import Lease
from sidecar.takeover.circuit import State
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Mode
from sidecar.upstream.connection import Call
from sidecar.upstream.internal_client import Errands, own_fields
from sidecar.upstream.scheduler import Result, new_upstream

log = logging.getLogger(__name__)
TICK: Final = 0.1
LANES: Final = 4
PRUNE_EVERY: Final = 60.0
"""Seconds."""
REFUSED: Final = frozenset(("refused", "unresolved", "connect_timeout"))


class Replaying:
    """One per deployment works; the others wait for its lease to end."""

    def __init__(self, settings: Settings, contract: Contract, recorder: Recorder) -> None:
        self._settings = settings
        self._contract = contract
        self._engine = open_engine(settings)
        self._standby = Standby(contract, self._engine, settings)
        key = f"{settings.node_name}/replay/{os.getpid()}"
        self._switchboard = Switchboard(self._engine, contract.endpoints, key)
        self._upstream = new_upstream(settings, LANES + 1, "replay")
        self._errands = Errands(settings.max_answer, contract, self._upstream, recorder, Purpose.REPLAY, digest_in)
        self._lease = Lease(self._engine, "replay", key)
        self._replayer = Replayer(
            contract, self._engine, self._standby.intents, self._standby.outbox, self._standby.seal(), self._lease,
            self._send, self._may_send, settings.replay_credentials,
        )  # fmt: skip
        self._pruned = time.monotonic()
        self._busy: dict[str, threading.Thread] = {}
        self._probing: dict[str, threading.Thread] = {}

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        self._standby.outbox.touch()  # whoever died before us may not have told what it did
        while not stop.wait(TICK):
            try:
                self._switchboard.tick()
                self._standby.refresh()
                if not self._lease.hold():
                    continue
                for kind in self._replayer.due():
                    self._start(self._busy, kind, lambda kind=kind: self._lane(kind, stop))  # type: ignore[misc]
                self._probe()
                self._prune()
            except SQLAlchemyError:
                log.exception("replay has no database", extra={"fields": {"event.action": "replay_failed"}})
                stop.wait(1)
        for thread in (*self._busy.values(), *self._probing.values()):
            thread.join(1)
        self._lease.release()
        self._upstream.close()
        self._standby.close()
        self._engine.dispose()

    def _start(self, where: dict[str, threading.Thread], name: str, work: Callable[[], object]) -> None:
        thread = where.get(name)
        if thread is None or not thread.is_alive():
            where[name] = threading.Thread(target=work, name=f"replay-{name}", daemon=True)
            where[name].start()

    def _lane(self, kind: str, stop: threading.Event) -> None:
        try:
            while not stop.is_set() and self._replayer.step(kind):
                pass
        except Exception:
            log.exception("replay of %s broke", kind, extra={"fields": {"event.action": "replay_failed"}})

    def _may_send(self, endpoint: str) -> bool:
        state = self._switchboard.state(endpoint)
        if self._standby.owns(self._contract.endpoints[endpoint].resource) or state.mode is Mode.STANDBY:
            return False
        return state.circuit.state is not State.OPEN

    def _send(self, endpoint: Endpoint, call: Call, request_id: str) -> Result:
        result = self._errands.send(endpoint, call, request_id)
        attempt = result.attempt
        self._switchboard.observe(endpoint.id, attempt.outcome is Outcome.SUCCESS, attempt.error in REFUSED)
        return result

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > PRUNE_EVERY:
            self._pruned = time.monotonic()
            with self._engine.begin() as connection:
                prune(connection, time.time_ns())

    def _probe(self) -> None:
        """Half-open reads are tried by us too, so that an endpoint comes back though nobody asks for it."""
        if self._settings.backfill_credentials is None:
            return
        for name in self._switchboard.probes_due():
            endpoint = self._contract.endpoints[name]
            if endpoint.safe and "{" not in endpoint.template and endpoint.action in (Action.LIST, Action.CALL):
                call = Call("GET", endpoint.template, own_fields(self._settings), repeatable=True)
                self._start(self._probing, name, lambda e=endpoint, c=call: self._send(e, c, ""))  # type: ignore[misc]
