"""What the control plane says is fresh: a thread looks at the shared state again and again."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Final

from sidecar.access.break_glass import BreakGlass
from sidecar.access.policy_store import Rulebook
from sidecar.control.break_glass import recorded
from sidecar.settings import Settings
from sidecar.standby.standby import Standby
from sidecar.storage.changes import Changes
from sidecar.storage.heartbeat import Heartbeat
from sidecar.storage.looks import TICK, Looks
from sidecar.takeover.coordinator import Switchboard
from sidecar.telemetry.logging import lines_dropped
from sidecar.telemetry.metrics import Metrics

EXPIRED: Final = 5.0
"""Seconds between two looks for what ends by itself."""


def keep_fresh(
    settings: Settings, metrics: Metrics, heartbeat: Heartbeat, changes: Changes, standby: Standby,
    switchboard: Switchboard, rulebook: Rulebook, break_glass: BreakGlass,
) -> None:  # fmt: skip
    """Begins to look."""
    ended = -EXPIRED

    def tick() -> None:
        nonlocal ended
        metrics.log(lines_dropped())
        with changes.looking() as look:
            switchboard.tick(look)
            standby.refresh(look)
            if heartbeat.why_away() is not None:
                return
            if look:
                rulebook.refresh()
            if time.monotonic() - ended >= EXPIRED:
                ended = time.monotonic()
                break_glass.end_expired(partial(recorded, settings))

    def look() -> None:
        looks = Looks()
        while True:
            looks.at(tick)
            time.sleep(TICK)

    threading.Thread(target=look, name="tick", daemon=True).start()
