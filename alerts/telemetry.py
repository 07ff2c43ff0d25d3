"""The evaluator's own metrics, for a Prometheus that scrapes ALERT_METRICS_LISTEN: what it evaluates, tells, and when.

Only what changes by itself is kept here; what is kept in the database is read there when it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar import __version__

log = logging.getLogger(__name__)
Firing = Callable[[], Mapping[tuple[str, str], int]]
"""How many alerts burn, by alert and severity. It may raise: then it is absent, never 0."""
OUTCOMES: Final = ("done", "failed", "superseded")


class Measured:
    """One per process."""

    def __init__(self, firing: Firing) -> None:
        self.registry = CollectorRegistry()
        self.evaluations = Counter(
            "understudy_alerts_evaluations_total", "Evaluations, by what came of them.", ("outcome",),
            registry=self.registry,
        )  # fmt: skip
        for outcome in OUTCOMES:
            self.evaluations.labels(outcome)
        self.evaluated = Gauge(
            "understudy_alerts_last_evaluation_timestamp_seconds", "When the last evaluation was done.",
            registry=self.registry,
        )  # fmt: skip
        self.deliveries = Counter(
            "understudy_alerts_deliveries_total", "Attempts to tell a message, by channel and by what came of them.",
            ("channel", "outcome"), registry=self.registry,
        )  # fmt: skip
        self.beaten = Gauge(
            "understudy_alerts_last_heartbeat_timestamp_seconds", "When the dead man's switch last took our beat.",
            registry=self.registry,
        )  # fmt: skip
        Info("understudy_build", "What runs here.", registry=self.registry).info({"version": __version__})
        self.registry.register(_Firing(firing))

    def serve(self, listen: tuple[str, int]) -> Callable[[], None]:
        """Answers /metrics there in a thread of its own, until what it returns is called. Raises OSError."""
        server, thread = start_http_server(listen[1], listen[0], self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class _Firing(Collector):
    def __init__(self, firing: Firing) -> None:
        self._firing = firing

    def describe(self) -> list[Metric]:
        """Nothing: so that registering asks no database."""
        return []

    def collect(self) -> list[Metric]:
        try:
            counted = self._firing()
        except Exception:
            log.exception("what fires cannot be read", extra={"fields": {"event.action": "metrics_failed"}})
            return []
        family = GaugeMetricFamily(
            "understudy_alerts_firing", "Alerts whose condition holds, told or not.", labels=["alert", "severity"]
        )
        for labels, count in counted.items():
            family.add_metric(labels, count)
        return [family]
