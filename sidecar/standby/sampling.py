# pure
"""Which of the upstream's answers are compared with our own: a share of them, picked by chance.

A busy hour has more of them than a score needs, and to compare costs more than all else that is done for an answer: of
a share below 1 no more than MOST a second are.
"""

from __future__ import annotations

from typing import Final

from sidecar.timeunits import SECOND

MOST: Final = 20.0
"""A second, of each process, for a long time; a hundred after a pause of five."""
SAVED: Final = 5.0
"""Seconds of them that may be made up for at once."""


class Sampler:
    """Picks. One per process; threads that meet in it may pick one too many."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = MOST * SAVED
        self._at = 0

    def picks(self, at: int, target: str) -> bool:
        """Whether the answer to a question of the stamp `at` (ns) is one of them."""
        if hash((at, target)) % 1000 >= self._share * 1000:
            return False
        if self._share >= 1:
            return True
        self._left = min(MOST * SAVED, self._left + max(0, at - self._at) * MOST / SECOND)
        self._at = max(at, self._at)
        if self._left < 1:
            return False
        self._left -= 1
        return True
