# pure
"""What is worked out of a client's text again and again, remembered; but of short texts only.

How many are kept is ours to say. How long they are is the client's, and so would be how much memory we need.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

S = TypeVar("S", str, bytes)
P = ParamSpec("P")
T = TypeVar("T")
LONGEST: Final = 2048
"""Characters, or bytes."""


def remembered(most: int) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """Of a function of a client's text, and of what is ours beside it, the `most` answers that were asked for last."""

    def wrap(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        again = lru_cache(most)(function)

        @wraps(function)
        def call(text: S, /, *ours: P.args, **named: P.kwargs) -> T:
            if len(text) > LONGEST:
                return function(text, *ours, **named)
            return again(text, *ours, **named)  # type: ignore[arg-type]  # what is ours is hashable

        return call

    return wrap
