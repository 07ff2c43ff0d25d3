"""A worker of the gateway: what it keeps running besides its loop, and how that ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sqlalchemy import Engine

from sidecar.access.enforcement import Guard
from sidecar.events.recorder import Recorder
from sidecar.gateway.stored_results import Results
from sidecar.journal.writer import Journal
from sidecar.settings import Settings
from sidecar.standby.standby import Standby
from sidecar.storage.changes import Changes
from sidecar.storage.heartbeat import Heartbeat
from sidecar.storage.looks import TICK, Looks
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.coordinator import Switchboard
from sidecar.telemetry.logging import lines_dropped
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import Tracing
from sidecar.upstream.scheduler import Upstream


@dataclass
class Worker:
    """What one gateway worker keeps running besides its loop."""

    settings: Settings
    engine: Engine
    heartbeat: Heartbeat
    changes: Changes
    standby: Standby
    switchboard: Switchboard
    guard: Guard
    journal: Journal
    recorder: Recorder
    upstream: Upstream
    beside: OffLoop
    doubts: OffLoop
    metrics: Metrics
    results: Results | None
    traces: Tracing | None
    looks: Looks = field(default_factory=Looks)

    def start(self) -> None:
        self._stop = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        if self.results is not None:
            self.results.close()
        self.beside.close()
        self.doubts.close()
        self.standby.close()
        self.recorder.close()
        if self.traces is not None:
            self.traces.close()
        self.switchboard.tick()
        self.metrics.flush()
        self.changes.close()
        self.heartbeat.close()
        self.engine.dispose()

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            self._look()

    def _look(self) -> None:
        """A tick that fails, be it the first, stops nothing: a worker begins also when the disk is full."""
        self.looks.at(self._tick)

    def _tick(self) -> None:
        self.metrics.flush()
        self.metrics.log(lines_dropped())
        with self.changes.looking() as look:
            self.switchboard.tick(look)
            self.standby.refresh(look)
            self.metrics.journal(self.journal)
            (self.settings.data / "alive").touch()
            if self.heartbeat.why_away() is None:
                self.guard.refresh(look)
