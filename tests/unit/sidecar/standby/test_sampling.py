"""A share is compared, but never more than a score needs."""

from __future__ import annotations

import pytest

from sidecar.standby.sampling import MOST, SAVED, Sampler
from sidecar.timeunits import SECOND

START = 1_800_000_000 * SECOND


def picked(share: float, rate: int, seconds: int, sampler: Sampler | None = None, start: int = START) -> int:
    """Of so many a second, for so long."""
    sampler = sampler or Sampler(share)
    return sum(sampler.picks(start + n * SECOND // rate, f"/notes/{n % 97}") for n in range(rate * seconds))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_of_few_it_is_the_share(share: float) -> None:
    assert picked(share, 30, 200) == pytest.approx(share * 6000, rel=0.15)


def test_of_many_it_is_no_more_than_is_needed() -> None:
    assert picked(0.5, 2000, 30) == pytest.approx(MOST * (30 + SAVED), rel=0.02)


def test_who_asks_for_all_gets_all() -> None:
    assert picked(1.0, 2000, 3) == 6000


def test_a_pause_is_made_up_for_and_a_clock_that_goes_back_stops_nothing() -> None:
    sampler = Sampler(0.5)
    picked(0.5, 2000, 10, sampler)
    after = picked(0.5, 2000, 1, sampler, START + 60 * SECOND)
    assert after == pytest.approx(MOST * (SAVED + 1), rel=0.05)
    assert picked(0.5, 2000, 1, sampler, START) <= 1
    assert picked(0.5, 30, 10, sampler, START + 70 * SECOND) > 100
