"""Steps of the wall clock, seen against one that never steps. Pure: the caller has the clocks."""

from __future__ import annotations

from typing import Final

from sidecar.timeunits import SECOND

LEAST: Final = 2 * SECOND
"""ns: less is slewing, and what a busy machine takes between two readings."""


class Steps:
    """Each reading says by how far (ns) the wall clock stepped since the last one; 0: it did not."""

    def __init__(self) -> None:
        self._ahead: int | None = None

    def seen(self, wall: int, steady: int) -> int:
        """Both in ns."""
        ahead = wall - steady
        by = 0 if self._ahead is None else ahead - self._ahead
        self._ahead = ahead
        return by if abs(by) >= LEAST else 0
