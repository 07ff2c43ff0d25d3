"""Who is one too many at an endpoint, when they should come again, and which endpoint says nothing at all."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from sidecar.gateway.crowd import Crowd

DEADLINE, LONGEST = 0.05, 0.2


@pytest.mark.parametrize("endpoints", [1, 2, 3])
def test_whoever_hangs_leaves_threads_to_others(endpoints: int) -> None:
    crowd, admitted = Crowd(64, DEADLINE, LONGEST), 0
    with ExitStack() as stack:
        for name in range(endpoints):
            while stack.enter_context(crowd.waiting(str(name))) is None and admitted < 64:
                admitted += 1
        assert 64 / 2 < admitted < 64
        assert stack.enter_context(crowd.waiting("another")) is None
    with crowd.waiting("0") as again:
        assert again is None


def test_a_line_that_moves_is_as_long_as_can_be_served_in_time() -> None:
    """At most so many wait that the last of them is answered in time, whatever threads there are."""
    crowd = Crowd(10_000, DEADLINE, LONGEST)
    with ExitStack() as stack:
        assert stack.enter_context(crowd.waiting("notes")) is None
        time.sleep(0.02)
        crowd.answered("notes", 0.02)
        pace = crowd._lines["notes"].pace
        assert pace >= 0.02
        while (again := stack.enter_context(crowd.waiting("notes"))) is None:
            pass
        refused = crowd._lines["notes"].waiting - 1
        assert (refused - 1) * pace <= LONGEST < refused * pace
        assert again >= 1


def test_an_endpoint_is_silent_once_nothing_has_come_back_for_longer_than_its_answers_take() -> None:
    crowd = Crowd(64, DEADLINE, 60)
    crowd.answered("notes", 0.01)
    with crowd.waiting("notes"), crowd.waiting("slow"):
        assert not crowd.is_silent("notes")
        time.sleep(DEADLINE + 0.01)
        crowd.answered("patients", 0.01)
        assert crowd.is_silent("notes")
        assert not crowd.is_silent("slow"), "nobody knows yet how long its answers take"
        crowd.answered("notes", 10.0)
        time.sleep(DEADLINE + 0.01)
        assert not crowd.is_silent("notes"), "its answers take that long"
    assert not crowd.is_silent("notes"), "nobody waits"
