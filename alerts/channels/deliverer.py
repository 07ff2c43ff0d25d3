"""Tells each channel what waits for it, in a thread of its own: one that is dead or slow delays no other.

What was taken and cannot be marked so, because the database cannot be written, is not told again for that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from alerts.channels import Alertmanager, Channel
from alerts.channels.standing import Reflecting, Standing
from alerts.delivery.queue import BACK_OFF, Answer, Delivery, Queue, Told
from alerts.lifecycle.store import Alerts
from sidecar.telemetry.logging import event
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)
LOOK: Final = 0.5
"""Seconds between looks at the queue."""
BETWEEN: Final = 10 * SECOND
"""ns after which silences and acknowledgements are told again where they were not taken."""


class Deliverer:
    """`mine`: whether this process is the one that delivers; asked before each message. `counted`: told of each
    attempt. `steady`: a clock (ns) that never steps."""

    def __init__(
        self, queue: Queue, state: Alerts, channels: Sequence[Channel], mine: Callable[[], bool],
        counted: Callable[[str, Told], None] = lambda _channel, _told: None,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._state = state
        self._channels = tuple(channels)
        self._mine = mine
        self._counted = counted
        self._steady = steady
        self._patient: dict[str, int] = {}
        self._unmarked: dict[str, tuple[Answer, int]] = {}
        """What became of messages, and when, as long as that is not written down."""

    def threads(self, stop: threading.Event) -> list[threading.Thread]:
        return [
            threading.Thread(target=self._run, args=(channel, stop), name=f"deliver-{channel.name}", daemon=True)
            for channel in self._channels
        ]

    def step(self, channel: Channel) -> int:
        """Tries what is due, one message after another; how many were tried."""
        tried = 0
        for delivery in self._queue.due(channel.name):
            if not self._mine():
                break
            told, said, wait = self._attempt(channel, delivery)
            self._queue.mark(delivery, told, said, wait)
            self._unmarked.pop(delivery.key, None)
            self._counted(channel.name, told)
            tried += 1
            fields = {"delivery__key": delivery.key, "delivery__tries": delivery.tries + 1}
            level = logging.INFO if told.name == "DONE" else logging.WARNING
            event(log, level, f"delivery_{told.name.lower()}", f"{delivery.channel}: {said}", **fields)
        if isinstance(channel, Reflecting) and self._mine():
            self._reflect(channel)
        if isinstance(channel, Alertmanager) and self._mine():
            channel.refresh(self._state.all())
        return tried

    def _attempt(self, channel: Channel, delivery: Delivery) -> Answer:
        """What became of it. Where that could not be written down it is not told again; what may pass is tried again
        after the longest pause."""
        answer, at = self._unmarked.get(delivery.key, (None, 0))
        if answer is None or (answer.told is Told.RETRY and self._steady() - at >= BACK_OFF[-1] * SECOND):
            answer = channel.send(delivery)
            self._unmarked[delivery.key] = answer, self._steady()
        return answer

    def _reflect(self, channel: Reflecting) -> None:
        """What people silenced and acknowledged; after an answer that is no good it waits."""
        name = getattr(channel, "name", "")
        if self._steady() < self._patient.get(name, 0):
            return
        lines = self._queue.told(name)
        trouble = channel.reflect(Standing(self._state.all(), self._state.silences(), lines))
        if trouble is not None:
            self._patient[name] = self._steady() + BETWEEN
            event(log, logging.WARNING, "reflection_failed", f"{name}: silences are not known there: {trouble}")

    def _run(self, channel: Channel, stop: threading.Event) -> None:
        while not stop.wait(LOOK):
            self.look(channel)

    def look(self, channel: Channel) -> None:
        """A step, where it is ours. It does not raise."""
        try:
            if self._mine():
                self.step(channel)
        except Exception:
            log.exception("the queue cannot be worked off", extra={"fields": {"event.action": "delivery_failed"}})
