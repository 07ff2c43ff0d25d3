"""The short mix for CI, with its seed printed: `python -m tests.consistency.torture --seed N` repeats it."""

from __future__ import annotations

import random

import pytest

from tests.consistency.torture import run


@pytest.mark.parametrize("postgresql", [False, pytest.param(True, marks=pytest.mark.postgresql)])
def test_no_promise_is_broken(postgresql: bool) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}, postgresql {postgresql}")
    verdict = run(11, seed, strike_every=4, postgresql=postgresql)
    assert not verdict.violations, "\n".join(verdict.lines())
    assert not verdict.parked, "\n".join(verdict.lines())
    assert sum(verdict.counts.values()) > 100
    assert verdict.most_in_flight <= 8
