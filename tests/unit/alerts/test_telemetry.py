"""The evaluator's own metrics: what it did, what it told, what burns; what is unknown is absent."""

from __future__ import annotations

import urllib.request

from prometheus_client import generate_latest

from alerts.telemetry import Measured
from tests.support.stack import free_port


def test_what_is_counted_is_served() -> None:
    measured = Measured(lambda: {("ErrorBudgetBurn", "page"): 2})
    measured.evaluations.labels("done").inc()
    measured.deliveries.labels("slack", "refused").inc()
    port = free_port()
    stop = measured.serve(("127.0.0.1", port))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        stop()
    for line in (
        'understudy_alerts_evaluations_total{outcome="done"} 1.0',
        'understudy_alerts_evaluations_total{outcome="failed"} 0.0',
        'understudy_alerts_deliveries_total{channel="slack",outcome="refused"} 1.0',
        'understudy_alerts_firing{alert="ErrorBudgetBurn",severity="page"} 2.0',
    ):
        assert line in text
    assert "understudy_build_info{version=" in text


def test_what_cannot_be_read_is_absent() -> None:
    def away() -> dict[tuple[str, str], int]:
        raise OSError("away")

    assert b"understudy_alerts_firing" not in generate_latest(Measured(away).registry)
