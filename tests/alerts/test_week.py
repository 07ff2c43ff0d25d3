"""An ordinary week, by `slo backtest`: it takes as long as fifty other tests of the replay."""

from __future__ import annotations

from pathlib import Path

from tests.support.alerts.replayed import backtest
from tests.support.alerts.simulated import DAY, NOON, ordinary


def test_an_ordinary_week_never_pages(tmp_path: Path) -> None:
    """HOSP at its usual, one day at its worst: tickets about HOSP, which uses up its budget, and no page at all."""
    found = backtest(tmp_path, ordinary(NOON - 3 * DAY, 10, 2026), NOON, NOON + 7 * DAY)
    alerts = [(incident["view"], alert) for incident in found for alert in incident["alerts"]]
    assert [each for each in alerts if each[1]["severity"] == "page"] == []
    assert "hosp" in {view for view, _ in alerts}, "HOSP's own burning is told"
