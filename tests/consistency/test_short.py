"""The short mix for CI, with its seed printed: `python -m tests.consistency.torture --seed N` repeats it."""

from __future__ import annotations

import random

import pytest

from tests.consistency.torture import run

STEPPED = 881815
"""A seed by which the clock is stepped an hour while writes take effect and say that they did not."""

STEPPED_AND_LISTED = 321298
"""One by which it is stepped while the standby lists what is pending."""


@pytest.mark.parametrize(
    ("seed", "postgresql", "only"),
    [
        (None, False, ""),
        (STEPPED, False, ""),
        (None, False, "full disk"),
        pytest.param(STEPPED_AND_LISTED, True, "", marks=pytest.mark.postgresql),
        pytest.param(None, True, "", marks=pytest.mark.postgresql),
    ],
)
def test_no_promise_is_broken(seed: int | None, postgresql: bool, only: str) -> None:
    seed = random.randrange(10**6) if seed is None else seed
    print(f"seed {seed}, postgresql {postgresql}")
    verdict = run(11, seed, strike_every=4, postgresql=postgresql, only=only)
    assert not verdict.violations, "\n".join(verdict.lines())
    assert not verdict.parked, "\n".join(verdict.lines())
    assert sum(verdict.counts.values()) > 50
    # a killed process's calls hold their places for as long as such calls usually take, which these need not keep to
    assert verdict.most_awaited <= 8
