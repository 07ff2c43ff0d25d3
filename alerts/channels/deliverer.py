"""Tells each channel what waits for it, in a thread of its own: one that is dead or slow delays no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from alerts.channels import Alertmanager, Channel
from alerts.delivery.queue import Queue, Told
from alerts.lifecycle.store import Alerts
from sidecar.telemetry.logging import event

log = logging.getLogger(__name__)
LOOK: Final = 0.5
"""Seconds between looks at the queue."""


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
        if isinstance(channel, Alertmanager) and self._mine():
            channel.refresh(self._state.all())
        return tried

    def _run(self, channel: Channel, stop: threading.Event) -> None:
        while not stop.wait(LOOK):
            try:
                if self._mine():
                    self.step(channel)
            except Exception:
                log.exception("the queue cannot be worked off", extra={"fields": {"event.action": "delivery_failed"}})
