"""Objectives against their traffic: what `understudy slo lint` says is what the alert rules do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerts.cli import slo
from alerts.objectives import windows
from alerts.objectives.model import Counts, Objective, Window
from alerts.reports.lint import fits, lines, told_after
from alerts.rules.burn_rules import Measure, Rule, burning
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings

MONTH = 30 * 86400
LEVELS = windows.load(windows.SHIPPED, MONTH)
SECONDLY = Fraction(50 * MONTH)


def objective(target: str) -> Objective:
    return Objective("answered", "success", Fraction(target), MONTH, "users")


def holds(of: Objective, window: Window, bad: int, total: int) -> bool:
    """Whether the level's rule alerts on so many failures."""
    spans = {window.long: Counts(total - bad, total), window.short: Counts(0, 1)}
    return burning(Measure(of, spans), window, Rule(), 0, lambda _: False) is not None


@pytest.mark.parametrize("requests", [300, 3_000, 90_000, 5_000_000, 129_600_000])
@pytest.mark.parametrize("target", ["0.9", "0.99", "0.9999"])
def test_what_is_told_first_is_what_the_rules_tell_first(target: str, requests: int) -> None:
    of = objective(target)
    for window in LEVELS:
        after = told_after(of, Fraction(requests), window, Rule())
        total = requests * window.long // MONTH
        fewest = next((bad for bad in range(3, min(total, 200) + 1) if holds(of, window, bad, total)), None)
        if fewest is not None:
            assert after == -(-fewest * MONTH // requests)
        elif total <= 200:
            assert after is None


def test_an_outage_at_50_a_second_pages_when_the_readme_says() -> None:
    (fit,) = fits([(objective("0.99"), SECONDLY)], {MONTH: LEVELS}, Rule())
    assert fit.page == 525
    assert not fit.tight


def test_a_budget_under_one_request_is_warned_of() -> None:
    asked = [("0.99", 3000), ("0.9999", 3000), ("0.99", 0)]
    volumes = [(objective(target), Fraction(requests)) for target, requests in asked]
    said = lines(fits(volumes, {MONTH: LEVELS}, Rule()))
    assert [line.split()[0] for line in said] == ["fits", "warning", "unused"]
    assert "3,000 requests in 30 d allow 0.3 failures; a single one misses it" in said[1]
    assert "a page after 43.2 min" in said[1]


def test_too_little_traffic_is_told_of_by_no_alert() -> None:
    (line,) = lines(fits([(objective("0.99"), Fraction(20))], {MONTH: LEVELS}, Rule()))
    assert line.endswith("a total outage is told by no alert: too little is asked to be sure")


def test_the_command_takes_the_traffic_that_was_seen_or_is_given(tmp_path: Path) -> None:
    EmbeddedStore(tmp_path / "events.db").install()
    settings = Settings(data=tmp_path)
    seen = CliRunner().invoke(slo, ["lint", "--since", "1h"], obj=settings)
    assert "0 of " in seen.output.splitlines()[-1]
    given = CliRunner().invoke(slo, ["lint", "--requests", "3000"], obj=settings)
    assert given.exit_code == 0
    assert "warning  in-time/within-3s, all endpoints, users" in given.output
