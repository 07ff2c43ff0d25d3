"""The shipped objectives and windows over simulated histories, by `slo backtest`: what is told, and how soon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.alerts.replayed import backtest
from tests.support.alerts.simulated import DAY, NOON, History

HOUR, MINUTE = 3600, 60


def told(incidents: list[dict[str, Any]], slo: str, view: str = "users") -> dict[str, int]:
    """Seconds from NOON to the first alert of each severity, of one objective over all endpoints."""
    found: dict[str, int] = {}
    for incident in incidents:
        for alert in incident["alerts"]:
            if (incident["view"], alert["slo"], alert["endpoint"]) == (view, slo, None):
                at = incident["start"] + alert["after"] - NOON
                found[alert["severity"]] = min(at, found.get(alert["severity"], at))
    return found


def busy(seconds: int, failing: str, after: int = 2 * HOUR) -> History:
    """Fifty requests a second, for three days without a failure; then so long of them; then none again."""
    calm = History().steady(NOON - 3 * DAY, NOON, "50")
    return calm.steady(NOON, NOON + seconds, "50", failing).steady(NOON + seconds, NOON + seconds + after, "50")


def test_eight_tenths_of_the_budget_make_nothing(tmp_path: Path) -> None:
    found = backtest(tmp_path, busy(DAY, "0.008", 0), NOON, NOON + DAY)
    assert told(found, "answered") == told(found, "answered", "hosp") == {}


def test_a_one_minute_blip_makes_nothing_at_99_percent(tmp_path: Path) -> None:
    found = backtest(tmp_path, busy(MINUTE, "1"), NOON, NOON + 2 * HOUR)
    assert told(found, "answered") == {}
    assert {"page", "ticket"} == told(found, "in-time").keys(), "a minute is 23% of the budget of 99.99%"


def test_a_total_outage(tmp_path: Path) -> None:
    """The workbook's first level is passed after 14.4 * 1% * 3,600 s = 518.4 s (8 min 38 s), since all fail at once;
    evaluations are 15 s apart, and the one at 525 s is sure."""
    found = backtest(tmp_path, busy(HOUR, "1"), NOON - HOUR, NOON + 3 * HOUR)
    assert told(found, "in-time")["page"] <= 2 * MINUTE
    assert told(found, "answered")["page"] == 525
    (users,) = (incident for incident in found if incident["view"] == "users")
    assert (users["start"], users["stop"], users["paged_after"]) == (NOON, NOON + HOUR, 15)
    (page,) = (a for a in users["alerts"] if (a["slo"], a["endpoint"], a["severity"]) == ("answered", None, "page"))
    assert page["window"] == "3600s-300s"
    assert HOUR < 525 + page["held"] < 1.5 * HOUR, "it is over with the second level's short window of 30 minutes"


def test_eight_times_the_budget_pages(tmp_path: Path) -> None:
    """By the second level: 6/8 of 6 h."""
    found = told(backtest(tmp_path, busy(6 * HOUR, "0.08", 0), NOON, NOON + 6 * HOUR), "answered")
    assert 4.5 * HOUR < found["page"] < 4.6 * HOUR


def test_five_times_the_budget_is_a_ticket_after_14_hours_and_no_page(tmp_path: Path) -> None:
    """By the third level: 3/5 of a day; and by the fourth: 1/5 of three days."""
    found = told(backtest(tmp_path, busy(DAY, "0.05", 0), NOON, NOON + DAY), "answered")
    assert found.keys() == {"ticket"}
    assert 14.4 * HOUR <= found["ticket"] < 14.6 * HOUR


@pytest.mark.parametrize("pace", ["0.4", "0.002"], ids=["by day", "in a quiet night"])
@pytest.mark.parametrize("failures", [1, 2])
def test_a_failure_or_two_at_low_traffic_make_nothing(tmp_path: Path, pace: str, failures: int) -> None:
    history = History().steady(NOON - 3 * DAY, NOON + 2 * HOUR, pace)
    for n in range(failures):
        at = NOON + n * 10 * MINUTE
        history.steady(at, at + 15, "1/15", "1")
    assert backtest(tmp_path, history, NOON - HOUR, NOON + 2 * HOUR) == []


def test_a_fifth_failing_for_two_hours_at_low_traffic_pages(tmp_path: Path) -> None:
    history = History().steady(NOON - 3 * DAY, NOON, "0.4").steady(NOON, NOON + 2 * HOUR, "0.4", "0.2")
    found = told(backtest(tmp_path, history, NOON - HOUR, NOON + 2 * HOUR), "answered")
    assert found["page"] <= HOUR


def test_silence_is_a_ticket_of_its_own(tmp_path: Path) -> None:
    history = History().steady(NOON - 3 * DAY, NOON, "0.4").steady(NOON + 3 * HOUR, NOON + 4 * HOUR, "0.4")
    (silence,) = backtest(tmp_path, history, NOON - HOUR, NOON + 4 * HOUR)
    (alert,) = silence["alerts"]
    assert (silence["view"], alert["severity"], alert["held"]) == ("silence", "ticket", 2 * HOUR + 15)
    assert (silence["start"], silence["stop"]) == (NOON, NOON + 3 * HOUR)
