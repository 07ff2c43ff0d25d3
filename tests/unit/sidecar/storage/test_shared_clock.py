"""What is known of the shared clock fits every answer, is moved no further than it must be, and is wide enough."""

from __future__ import annotations

import random

import pytest

from sidecar.storage.shared_clock import Sample, fit

MS = 1_000_000


def sample(offset: int, before: int, there: int, back: int, bias: int = 0) -> Sample:
    """Of a database that is `offset` ahead, and read its clock `there` ns after it was asked."""
    return Sample(before, before + there + back, before + there + offset - bias, bias)


@pytest.mark.parametrize("seed", range(20))
def test_the_true_offset_is_always_within_the_error(seed: int) -> None:
    dice, offset, now = random.Random(seed), 7 * 10**9, 0
    first = sample(offset, now, MS, MS)
    known = first.middle, first.high - first.middle
    for _ in range(200):
        now += dice.randrange(MS, 1000 * MS)
        answer = sample(offset, now, dice.randrange(50 * MS), dice.randrange(50 * MS), bias=5)
        found = fit(known, answer)
        assert found is not None
        known = found
        assert abs(known[0] - offset) <= known[1]
    assert known[1] <= MS + 1_000


def test_it_is_not_moved_while_it_fits() -> None:
    assert fit((100 * MS, 5 * MS), sample(101 * MS, 0, 2 * MS, 2 * MS)) == (100 * MS, 3 * MS + 1_000)


def test_a_clock_that_was_set_fits_nothing() -> None:
    assert fit((100 * MS, 5 * MS), sample(600 * MS, 0, 2 * MS, 2 * MS)) is None
