"""Who is one too many at an endpoint, when they should come again, and which endpoint says nothing at all."""

from __future__ import annotations

import time
from contextlib import ExitStack

from sidecar.upstream.pace import Pace

DEADLINE, LONGEST = 0.05, 0.2


def test_nobody_is_one_too_many_where_nobody_knows_how_long_it_takes() -> None:
    pace = Pace(DEADLINE, LONGEST)
    with ExitStack() as stack:
        assert [stack.enter_context(pace.waiting("hangs")) for _ in range(5000)] == [None] * 5000
        assert stack.enter_context(pace.waiting("another")) is None


def test_a_line_that_moves_is_as_long_as_can_be_served_in_time() -> None:
    """At most so many wait that the last of them is answered in time."""
    pace = Pace(DEADLINE, LONGEST)
    with ExitStack() as stack:
        assert stack.enter_context(pace.waiting("notes")) is None
        time.sleep(0.02)
        pace.answered("notes", 0.02)
        each = pace._lines["notes"].pace
        assert each >= 0.02
        while (again := stack.enter_context(pace.waiting("notes"))) is None:
            pass
        refused = pace._lines["notes"].waiting - 1
        assert (refused - 1) * each <= LONGEST < refused * each
        assert again >= 1


def test_an_endpoint_is_silent_once_nothing_has_come_back_for_longer_than_its_answers_take() -> None:
    pace = Pace(DEADLINE, 60)
    pace.answered("notes", 0.01)
    with pace.waiting("notes"), pace.waiting("slow"):
        assert not pace.is_silent("notes")
        time.sleep(DEADLINE + 0.01)
        pace.answered("patients", 0.01)
        assert pace.is_silent("notes")
        assert not pace.is_silent("slow"), "nobody knows yet how long its answers take"
        pace.answered("notes", 10.0)
        time.sleep(DEADLINE + 0.01)
        assert not pace.is_silent("notes"), "its answers take that long"
    assert not pace.is_silent("notes"), "nobody waits"
