"""Tells each channel what waits for it, in a thread of its own: one that is dead or slow delays no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from alerts.channels import Alertmanager, Channel
from alerts.channels.standing import Reflecting, Standing
from alerts.delivery.queue import Queue, Told
from alerts.lifecycle.store import Alerts
from sidecar.telemetry.logging import event

log = logging.getLogger(__name__)
LOOK: Final = 0.5
"""Seconds between looks at the queue."""
BETWEEN: Final = 10.0
"""Seconds after which silences and acknowledgements are told again where they were not taken."""


class Deliverer:
    """`mine`: whether this process is the one that delivers; asked before each message.
    `counted`: told of each attempt."""

    def __init__(
        self, queue: Queue, state: Alerts, channels: Sequence[Channel], mine: Callable[[], bool],
        counted: Callable[[str, Told], None] = lambda _channel, _told: None,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._state = state
        self._channels = tuple(channels)
        self._mine = mine
        self._counted = counted
        self._patient: dict[str, float] = {}

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
            told, said, wait = channel.send(delivery)
            self._queue.mark(delivery, told, said, wait)
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

    def _reflect(self, channel: Reflecting) -> None:
        """What people silenced and acknowledged; after an answer that is no good it waits."""
        name = getattr(channel, "name", "")
        if time.monotonic() < self._patient.get(name, 0.0):
            return
        lines = self._queue.told(name)
        trouble = channel.reflect(Standing(self._state.all(), self._state.silences(), lines))
        if trouble is not None:
            self._patient[name] = time.monotonic() + BETWEEN
            event(log, logging.WARNING, "reflection_failed", f"{name}: silences are not known there: {trouble}")

    def _run(self, channel: Channel, stop: threading.Event) -> None:
        while not stop.wait(LOOK):
            try:
                if self._mine():
                    self.step(channel)
            except Exception:
                log.exception("the queue cannot be worked off", extra={"fields": {"event.action": "delivery_failed"}})
