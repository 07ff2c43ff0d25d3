"""`understudy alerts`: evaluates, keeps, tells. One of any number does it at a time, by lease; another takes over
within seconds of its death, from what the database holds.

Three threads: one renews the lease, one delivers (a slow receiver delays no evaluation), the main one evaluates.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import urllib3
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from alerts.evaluate import Covered, Evaluation
from alerts.lifecycle import SECOND
from alerts.notify import TIMEOUT, Channel
from alerts.queue import Queue
from alerts.state import Alerts, Superseded
from sidecar.client import Control, ControlError
from sidecar.contract import Action, Contract
from sidecar.standby.lease import Lease
from sidecar.telemetry import event

log = logging.getLogger(__name__)
LEASE: Final = "alerts"
RENEW: Final = 1.5
"""Seconds between renewals; the lease holds for 5."""
LOOK: Final = 0.5
"""Seconds between looks at the queue."""


class Evaluator:
    """`every` seconds an evaluation, `repeat` seconds until what fires is told again."""

    def __init__(
        self, engine: Engine, evaluation: Evaluation, cover: Callable[[], Covered], channels: Sequence[Channel],
        every: float, repeat: float, heartbeat: str | None,
    ) -> None:  # fmt: skip
        self._evaluation = evaluation
        self._cover = cover
        self._channels = {channel.name: channel for channel in channels}
        self._every = every
        self._repeat = int(repeat * SECOND)
        self._heartbeat = heartbeat
        self._state = Alerts(engine)
        self._queue = Queue(engine, list(self._channels))
        self._lease = Lease(engine, LEASE, f"{socket.gethostname()}-{os.getpid()}")
        self._mine = threading.Event()
        self._stop = threading.Event()

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        threads = [threading.Thread(target=work, daemon=True) for work in (self._renew, self._deliver)]
        for thread in threads:
            thread.start()
        while not self._stop.is_set():
            if self._mine.wait(RENEW):
                self._evaluate()
                self._stop.wait(self._every)
        for thread in threads:
            thread.join(15)
        self._lease.release()

    def _renew(self) -> None:
        while not self._stop.is_set():
            try:
                held = self._lease.hold()
            except SQLAlchemyError:
                log.exception("the lease cannot be renewed", extra={"fields": {"event.action": "lease_failed"}})
                held = False
            if held != self._mine.is_set():
                event(log, logging.INFO, "evaluator_changed", "evaluating" if held else "another evaluator evaluates")
            (self._mine.set if held else self._mine.clear)()
            self._stop.wait(RENEW)

    def _evaluate(self) -> None:
        began = time.monotonic()
        try:
            holding, unknown = self._evaluation.step(int(time.time()), self._cover())
            notices = self._state.apply(
                holding, unknown=unknown, repeat=self._repeat, enqueue=self._queue.enqueue, fence=self._lease.still_mine
            )
        except Superseded:
            event(log, logging.WARNING, "evaluation_superseded", "another evaluator has the lease: nothing changed")
            return
        except Exception:
            log.exception("an evaluation failed", extra={"fields": {"event.action": "evaluation_failed"}})
            return
        for notice in notices:
            alert = notice.alert
            event(
                log, logging.WARNING, f"alert_{notice.kind}", f"{alert.severity} {alert.name}: {notice.kind}",
                alert__key=alert.key, alert__labels=dict(alert.labels), alert__reason=alert.notes.get("reason", ""),
            )  # fmt: skip
        event(log, logging.DEBUG, "evaluated", "evaluated", seconds=round(time.monotonic() - began, 3))
        self._beat()

    def _beat(self) -> None:
        """Tells the dead man's switch that we live; its silence is somebody else's page."""
        if self._heartbeat is None:
            return
        try:
            urllib3.request("GET", self._heartbeat, retries=False, timeout=TIMEOUT)
        except urllib3.exceptions.HTTPError as error:
            event(log, logging.WARNING, "heartbeat_failed", f"the heartbeat was not taken: {type(error).__name__}")

    def _deliver(self) -> None:
        while not self._stop.wait(LOOK):
            if not self._mine.is_set():
                continue
            try:
                for delivery in self._queue.due():
                    if self._stop.is_set() or not self._mine.is_set():
                        break
                    told, said = self._channels[delivery.channel].send(delivery)
                    self._queue.mark(delivery, told, said)
                    fields = {"delivery__key": delivery.key, "delivery__tries": delivery.tries + 1}
                    event(log, logging.INFO, f"delivery_{told.name.lower()}", f"{delivery.channel}: {said}", **fields)
            except Exception:
                log.exception("the queue cannot be worked off", extra={"fields": {"event.action": "delivery_failed"}})


def cover(control: Control, contract: Contract) -> Covered:
    """Whether the standby answers users of an endpoint, as the sidecar says now; of all: of all that it ever could.

    False for all where the sidecar does not answer: unknown is not good.
    """
    try:
        ready = {row["name"]: bool(row["ready"]) for row in control.get("/endpoints")}
    except ControlError:
        return lambda _: False
    able = [endpoint.name for endpoint in contract.endpoints.values() if endpoint.action is not Action.CALL]
    everything = all(ready.get(name, False) for name in able)
    return lambda endpoint: everything if endpoint is None else ready.get(endpoint, False)
