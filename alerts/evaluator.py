"""`understudy alerts`: evaluates, keeps, tells. One of any number does it at a time, by lease; another takes over
within seconds of its death, from what the database holds.

Threads: one renews the lease, one for each channel delivers (alerts/deliver.py), the main one evaluates.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from alerts.channels import Channel
from alerts.channels.deliverer import Deliverer
from alerts.channels.http import beat
from alerts.delivery.grouping import Grouping
from alerts.delivery.queue import STUCK, Queue, Route
from alerts.lifecycle.lifecycle import BURNING, Alert, Condition, Notice
from alerts.lifecycle.steps import Steps
from alerts.lifecycle.store import Alerts, Superseded
from alerts.rules.outlook import Outlook
from alerts.telemetry import Measured
from sidecar.signals import ends
from sidecar.storage.lease import Lease
from sidecar.telemetry.logging import event
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)
LEASE: Final = "alerts"
RENEW: Final = 1.5
"""Seconds between renewals; the lease holds for 5."""
TAKEN: Final = 300 * SECOND
"""ns for which a channel may not take what it is told before that is an alert of its own, by the others."""
KEPT: Final = 90 * 86400 * SECOND
"""ns for which it is kept what was told to whom."""
MISSED: Final = 120 * SECOND
"""ns for which the heartbeat may fail before that is an alert."""
PATIENCE: Final = 15.0
"""Seconds that threads are waited for at the end."""

Look = Callable[[int], Outlook]
"""At Unix seconds: what holds, and of what nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`every`, seconds between evaluations. `repeat`, ns until what fires is told again. `keep`: ns that an alert goes
    on after it was last seen. `grouping`: what is told in one message."""

    every: float
    repeat: int
    keep: Callable[[Alert], int]
    grouping: Grouping
    listen: tuple[str, int] | None = None
    """Where its own metrics are served."""
    runbooks: str = ""
    """The URL under which runbooks are; empty: the dashboard shows them."""


class Evaluator:
    """`heartbeat`: a URL, asked after each evaluation in which every source answered, while somebody can be told.
    `wall` and `steady`, in ns: the time of day, and a clock that never steps."""

    def __init__(
        self, engine: Engine, look: Look, channels: Sequence[Channel], routes: dict[str, Route], pace: Pace,
        heartbeat: str | None, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._look = look
        self._pace = pace
        self._heartbeat = heartbeat
        self._wall, self._steady = wall, steady
        self._state = Alerts(engine, wall)
        self._queue = Queue(engine, routes, wall)
        self._channels = len(routes)
        self.lease = Lease(engine, LEASE, f"{socket.gethostname()}-{os.getpid()}")
        self._tidied = 0
        self.measured = Measured(self._firing)
        self._missed = ""
        self._steps = Steps()
        self._mine = threading.Event()
        self._stop = threading.Event()
        self._deliverer = Deliverer(
            self._queue, self._state, channels, lambda: self._mine.is_set() and not self._stop.is_set(),
            lambda channel, told: self.measured.deliveries.labels(channel, told.name.lower()).inc(),
        )  # fmt: skip

    def stop(self) -> None:
        """Ends `run`, from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Until SIGTERM or SIGINT, or `stop`."""
        ends(self._stop)
        renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        threads = [renewing, *self._deliverer.threads(self._stop)]
        for thread in threads:
            thread.start()
        unserve = self._serve()
        while not self._stop.is_set():
            if self._mine.wait(RENEW):
                self.evaluate()
                self._stop.wait(self._pace.every)
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.lease.release()
        unserve()

    def _serve(self) -> Callable[[], None]:
        """/metrics; an address that is taken stops no alerts."""
        if self._pace.listen is None:
            return lambda: None
        try:
            return self.measured.serve(self._pace.listen)
        except OSError as error:
            event(log, logging.ERROR, "metrics_failed", f"ALERT_METRICS_LISTEN: {error.strerror}")
            return lambda: None

    def _renew(self) -> None:
        while not self._stop.is_set():
            try:
                held = self.lease.hold()
            except SQLAlchemyError:
                log.exception("the lease cannot be renewed", extra={"fields": {"event.action": "lease_failed"}})
                held = False
            if held != self._mine.is_set():
                event(log, logging.INFO, "evaluator_changed", "evaluating" if held else "another evaluator evaluates")
            (self._mine.set if held else self._mine.clear)()
            self._stop.wait(RENEW)

    def evaluate(self) -> None:
        """Once, where this process has the lease."""
        began = time.monotonic()
        try:
            if by := self._steps.seen(self._wall(), self._steady()):
                event(log, logging.WARNING, "clock_stepped", f"the clock stepped by {by / SECOND:.0f} s")
                self._state.shift(by)
                self._queue.shift(by)
            seen = self._look(self._wall() // SECOND)
            silent = stuck(self._queue.waiting(), self._queue.refused(), self._wall())
            notices = self._state.apply(
                self._linked(seen.holding + silent + self._heart()), unknown=seen.unknown,
                repeat=self._pace.repeat, enqueue=self._queue.enqueue,
                fence=self.lease.still_mine, keep=self._pace.keep, group=self._pace.grouping.key,
            )  # fmt: skip
        except Superseded:
            self.measured.evaluations.labels("superseded").inc()
            event(log, logging.WARNING, "evaluation_superseded", "another evaluator has the lease: nothing changed")
            return
        except Exception:
            self.measured.evaluations.labels("failed").inc()
            log.exception("an evaluation failed", extra={"fields": {"event.action": "evaluation_failed"}})
            return
        self.measured.evaluations.labels("done").inc()
        self.measured.evaluated.set_to_current_time()
        for notice in notices:
            _log(notice)
        event(log, logging.DEBUG, "evaluated", "evaluated", seconds=round(time.monotonic() - began, 3))
        self._tidy()
        if not seen.unasked and (not silent or len(silent) < self._channels):
            self._beat()

    def _firing(self) -> dict[tuple[str, str], int]:
        burning = (alert for alert in self._state.all() if alert.state in BURNING)
        return dict(Counter((alert.name, alert.severity) for alert in burning))

    def _linked(self, holding: list[Condition]) -> list[Condition]:
        """With the addresses of their runbooks, where RUNBOOK_URL says where those are."""
        if not self._pace.runbooks:
            return holding
        return [
            replace(each, notes={"runbook": f"{self._pace.runbooks}/{each.name}.md", **each.notes}) for each in holding
        ]

    def _tidy(self) -> None:
        """Once a day."""
        now = self._wall()
        if now - self._tidied < 86400 * SECOND:
            return
        self._tidied = now
        try:
            self._queue.forget(now - KEPT)
        except SQLAlchemyError:
            log.exception("old deliveries cannot be dropped", extra={"fields": {"event.action": "tidying_failed"}})

    def _beat(self) -> None:
        """Tells the dead man's switch that we live and see; its silence is somebody else's page."""
        if self._heartbeat is None:
            return
        taken, said = beat(self._heartbeat)
        self._missed = "" if taken else said
        if taken:
            self.measured.beaten.set_to_current_time()
        if not taken:
            event(log, logging.WARNING, "heartbeat_failed", f"the heartbeat was not taken: {said}")

    def _heart(self) -> list[Condition]:
        """That the dead man's switch does not take the beat is told while we can."""
        if not self._missed:
            return []
        reason = f"the dead man's switch does not take our heartbeat: {self._missed}"
        return [
            Condition(
                name="HeartbeatFailing", severity="ticket", source="heart", notes={"reason": reason}, hold=MISSED
            )
        ]  # fmt: skip


def stuck(waiting: Mapping[str, int], refused: Mapping[str, str], now: int) -> list[Condition]:
    """An alert for each channel that takes nothing any more, at once where it refuses for good; the others tell of it.

    `waiting`: since when its oldest message was tried in vain (ns); `refused`: what it said."""
    said = {
        channel: f"{channel} has not taken an alert for {(now - since) // SECOND} s"
        for channel, since in waiting.items() if now - since > TAKEN
    } | {
        channel: f"{channel} refuses what it is told ({answer}): was its key, its URL or its room changed?"
        for channel, answer in refused.items()
    }  # fmt: skip
    return [
        Condition(name=STUCK, severity="page", source="queue", labels={"channel": channel}, notes={"reason": reason})
        for channel, reason in sorted(said.items())
    ]


def _log(notice: Notice) -> None:
    alert = notice.alert
    event(
        log, logging.WARNING, f"alert_{notice.kind}", f"{alert.severity} {alert.name}: {notice.kind}",
        alert__key=alert.key, alert__labels=dict(alert.labels), alert__reason=alert.notes.get("reason", ""),
    )  # fmt: skip
