"""Budgets, confidence, windows and the policy over them, against the workbook's figures."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import burn, windows
from alerts.model import Counts, Finding, Objective, View
from alerts.policy import Measure, Rule, findings

MONTH = 30 * 86400
LEVELS = windows.load(windows.SHIPPED, MONTH)
NINES = Fraction(99, 100)


def judge(spans: dict[int, Counts | None], view: View = "users", covered: bool = False) -> list[Finding]:
    objective = Objective("hosp", "answered", NINES, MONTH, view)
    return findings([Measure(objective, spans)], LEVELS, Rule(), 1_000, lambda _: covered)


def steady(rate: Fraction, per_second: Fraction) -> dict[int, Counts | None]:
    spans = {s for level in LEVELS for s in (level.long, level.short)} | {MONTH, Rule().silence}
    totals = {span: int(span * per_second) for span in spans}
    return {span: Counts(total - round(total * rate), total) for span, total in totals.items()}


def test_no_request_is_unknown_and_not_good() -> None:
    assert burn.sli(None) is burn.sli(Counts(0, 0)) is burn.burn_rate(Counts(0, 0), NINES) is None


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 99))
def test_the_exact_chance_falls_with_each_failure_and_starts_at_one(total: int, bad: int, percent: int) -> None:
    share = Fraction(percent, 100)
    assert burn.chance_of(0, total, share) == 1
    assert burn.chance_of(bad + 1, total, share) <= burn.chance_of(bad, total, share)


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 99))
def test_the_bound_for_many_requests_never_says_yes_where_the_exact_one_says_no(t: int, b: int, percent: int) -> None:
    counts, share = Counts(t - min(b, t), t), Fraction(percent, 100)
    if burn.confident(counts, share, NINES, exact_below=0):
        assert burn.confident(counts, share, NINES, exact_below=10_000)


def test_the_workbooks_page_uses_two_percent_of_the_budget_in_an_hour() -> None:
    assert LEVELS[0].factor * LEVELS[0].long / MONTH == Fraction(2, 100)
    assert burn.exhausted_in(Fraction(1), Fraction(1000), MONTH) == 2592


@pytest.mark.parametrize(("times", "severities"), [("0.8", set()), ("5", {"ticket"}), ("8", {"page", "ticket"})])
def test_a_steady_burn_at_fifty_a_second(times: str, severities: set[str]) -> None:
    assert {each.severity for each in judge(steady(Fraction(times) / 100, Fraction(50)))} == severities


def test_one_failure_at_night_makes_nothing() -> None:
    spans = {span: Counts(9, 10) for span in steady(Fraction(0), Fraction(1))}
    assert judge(dict(spans)) == []


def test_hosp_burning_is_a_ticket_while_the_standby_covers_and_keeps_its_key() -> None:
    burning = steady(Fraction(1, 5), Fraction(2, 5))
    alone, carried = judge(burning, "hosp"), judge(burning, "hosp", covered=True)
    assert "page" in {each.severity for each in alone}
    assert {each.severity for each in carried} == {"ticket"}
    assert [each.key for each in alone] == [each.key for each in carried]
    assert "page" in {each.severity for each in judge(burning, "users", covered=True)}


def test_no_data_and_silence_are_findings_of_their_own() -> None:
    assert [each.window for each in judge({})] == ["no-data"]
    assert [each.window for each in judge(dict.fromkeys(steady(Fraction(0), Fraction(1)), Counts(0, 0)))] == ["silence"]


def test_an_error_names_the_file_the_level_and_the_value(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("period: 100\nwindows: [{severity: page, factor: fast, long: 10, short: 5}]")
    with pytest.raises(ValueError, match=r"w\.yaml: windows\[0\]\.factor .* 'fast'"):
        windows.load(path, 100)
