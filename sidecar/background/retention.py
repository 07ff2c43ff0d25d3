"""The thread that drops whole days of events that are older than the settings keep."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from sidecar.events.retention import horizons
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.settings import Settings

log = logging.getLogger(__name__)
EVERY: Final = 3600
"""Seconds between looks."""


def drop_old_days(settings: Settings, store: EventStore, stop: threading.Event) -> None:
    """Works until `stop`; a store that does not answer is asked again soon."""
    while not stop.wait(5):
        try:
            dropped = list(store.drop_before(*horizons(settings, time.time_ns())))
        except StoreUnavailable:
            continue
        if dropped:
            log.info("old days dropped: %s", ", ".join(dropped), extra={"fields": {"event.action": "retention"}})
        stop.wait(EVERY)
