"""How work grows with what it is given: by the ratio of two sizes, never by a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
TIMES: Final = 16
ROOM: Final = 5.0
"""What is linear takes 16 times as long for 16 times as much, and what is quadratic 256 times."""


def is_linear(work: Callable[[T], object], given: Callable[[int], T], size: int) -> bool:
    """Whether 16 times `size` takes no more than 80 times as long; the best of several tries at each."""
    small, large = given(size), given(TIMES * size)
    return best(work, large, 5) <= best(work, small, 30) * TIMES * ROOM


def best(work: Callable[[T], object], given: T, tries: int) -> float:
    """Seconds that the quickest of several tries takes: to be held against another's."""

    def once() -> float:
        began = time.thread_time()  # whatever else runs on the machine
        work(given)
        return time.thread_time() - began

    return min(once() for _ in range(tries))
