"""The shipped windows over incidents of a known length after a clean month: what they make, and when."""

from fractions import Fraction

import pytest

from alerts import windows
from alerts.model import Counts, Objective
from alerts.policy import Measure, Rule, findings

MONTH = 30 * 86400
LEVELS = windows.load(windows.SHIPPED, MONTH)
SPANS = {s for level in LEVELS for s in (level.long, level.short)} | {MONTH, Rule().silence}


def severities(seconds: int, share: str, target: str = "0.99", per_second: str = "50") -> set[str]:
    """What holds ``seconds`` into an incident in which ``share`` of the requests fail."""
    pace = Fraction(per_second)
    spans: dict[int, Counts | None] = {}
    for span in SPANS:
        total, bad = int(span * pace), int(min(span, seconds) * pace * Fraction(share))
        spans[span] = Counts(total - bad, total)
    objective = Objective("hosp", "answered", Fraction(target), MONTH, "users")
    return {each.severity for each in findings([Measure(objective, spans)], LEVELS, Rule(), 0, lambda _: False)}


@pytest.mark.parametrize(
    ("seconds", "share", "target", "per_second", "expected"),
    [
        pytest.param(60, "1", "0.99", "50", set(), id="a one-minute blip"),
        pytest.param(120, "1", "0.9999", "50", {"page", "ticket"}, id="total outage, 99.99%, within 2 minutes"),
        pytest.param(518, "1", "0.99", "50", set(), id="total outage, 99%, just before 8 min 38.4 s"),
        pytest.param(540, "1", "0.99", "50", {"page"}, id="total outage, 99%, at 9 minutes"),
        pytest.param(
            525,
            "1",
            "0.99",
            "50",
            {"page"},
            id="total outage, 99%, no later than Sloth",
            marks=pytest.mark.xfail(strict=True, reason="99% confidence comes some seconds after the bare rate"),
        ),
        pytest.param(51_000, "0.05", "0.99", "50", set(), id="5 times, before 14.4 h"),
        pytest.param(52_500, "0.05", "0.99", "50", {"ticket"}, id="5 times, after 14.4 h"),
        pytest.param(7_200, "0.2", "0.99", "0.4", {"page"}, id="20% for two hours at 0.4 a second"),
        pytest.param(3, "1", "0.99", "0.4", set(), id="one failure at 0.4 a second"),
        pytest.param(3, "1", "0.9999", "0.4", set(), id="one failure at 0.4 a second, 99.99%"),
    ],
)
def test_an_incident(seconds: int, share: str, target: str, per_second: str, expected: set[str]) -> None:
    assert severities(seconds, share, target, per_second) == expected
