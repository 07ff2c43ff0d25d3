"""The thread that drops whole days of events that are older than the settings keep."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from sidecar.events import trail
from sidecar.events.retention import horizons
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.settings import Settings

log = logging.getLogger(__name__)
EVERY: Final = 3600.0
"""Seconds between looks."""
SOON: Final = 5.0
"""Seconds until the first one, and after one that came to nothing."""


def drop_old_days(
    settings: Settings, store: EventStore, stop: threading.Event, is_right: Callable[[], bool], soon: float = SOON,
    every: float = EVERY,
) -> None:  # fmt: skip
    """Works until `stop`; a store that does not answer is asked again soon, and so is one that gives an answer that
    nobody foresaw. `is_right`: whether the wall clock may be gone by; until it may, nothing is dropped."""
    while not stop.wait(soon):
        try:
            if not is_right():
                continue
            dropped = list(store.drop_before(*horizons(settings, time.time_ns())))
            oldest = time.time() - settings.audit_retention
            dropped += trail.drop_before(settings.data / trail.FOLDER, oldest, store.holds())
        except (StoreUnavailable, OSError):
            continue
        except Exception:
            log.exception("old days could not be dropped", extra={"fields": {"event.action": "retention_failed"}})
            stop.wait(every)
            continue
        if dropped:
            log.info("old days dropped: %s", ", ".join(dropped), extra={"fields": {"event.action": "retention"}})
        stop.wait(every)
