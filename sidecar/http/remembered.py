# pure
"""What is worked out of a client's text again and again, remembered; but of short texts only.

How many are kept is ours to say. How long they are is the client's, and so would be how much memory we need.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

T = TypeVar("T")
LONGEST: Final = 2048
"""Characters."""


def remembered(most: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Of a function of one text, the `most` answers that were asked for last."""

    def wrap(function: Callable[[str], T]) -> Callable[[str], T]:
        again = lru_cache(most)(function)

        @wraps(function)
        def call(text: str) -> T:
            return again(text) if len(text) <= LONGEST else function(text)

        return call

    return wrap
