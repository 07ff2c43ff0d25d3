"""Who is one too many at an endpoint, when they should come again, and which endpoint says nothing at all."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from sidecar.upstream.pace import Pace

DEADLINE, LONGEST = 0.05, 0.2


def served(at_once: int) -> Pace:
    """Of an upstream that serves so many of each endpoint's calls at once."""
    return Pace(DEADLINE, LONGEST, lambda endpoint: at_once)


def test_nobody_is_one_too_many_where_nobody_knows_how_long_it_takes() -> None:
    pace = served(1)
    with ExitStack() as stack:
        assert [stack.enter_context(pace.waiting("hangs")) for _ in range(5000)] == [None] * 5000
        assert stack.enter_context(pace.waiting("another")) is None


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("each", [0.01, 0.07])
def test_a_line_is_as_long_as_can_be_served_in_time(each: float, at_once: int) -> None:
    """At most so many wait that the last of them is answered in time."""
    pace = served(at_once)
    pace.answered("notes", each)
    with ExitStack() as stack:
        admitted = 0
        while (again := stack.enter_context(pace.waiting("notes"))) is None:
            admitted += 1
        assert (admitted - 1) * each / at_once <= LONGEST < admitted * each / at_once
        assert again >= 1


def test_nobody_is_one_too_many_where_nobody_must_wait_for_a_place() -> None:
    """They are served beside one another, however long each takes: in one's time all are answered."""
    pace = served(0)
    pace.answered("screenings", LONGEST * 0.9)
    with ExitStack() as stack:
        assert [stack.enter_context(pace.waiting("screenings")) for _ in range(50)] == [None] * 50


def test_an_endpoint_is_silent_once_nothing_has_come_back_for_longer_than_its_answers_take() -> None:
    pace = Pace(DEADLINE, 60, lambda endpoint: 0)
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


def test_an_endpoint_is_prompt_where_it_has_answered_since_and_takes_less_than_the_deadline() -> None:
    pace = Pace(DEADLINE, LONGEST, lambda endpoint: 1)
    began = time.monotonic()
    assert not pace.is_prompt("notes", began), "nothing was ever heard"
    pace.answered("patients", 0.01)
    assert not pace.is_prompt("notes", began), "another's answers tell nothing of it"
    pace.answered("notes", 0.01)
    assert pace.is_prompt("notes", began)
    assert not pace.is_prompt("notes", time.monotonic()), "nothing since"
    for _ in range(20):
        pace.answered("notes", 2 * DEADLINE)
    assert not pace.is_prompt("notes", began), "its calls take too long themselves"
