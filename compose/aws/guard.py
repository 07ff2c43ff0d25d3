"""Deals with an Application Load Balancer's failing open: while no sidecar is healthy, the upstream gets everything.

Two looks in a row that agree move it, either way: one lost look moves nothing, and neither does a look that fails, for
what AWS does not say is unknown. Any number of guards may run; they do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from compose.aws.apply import ApplyFailed

AGREE: Final = 2


class Guarded(Protocol):
    def healthy(self) -> int: ...
    def open(self, *, past: bool) -> None: ...


@dataclass
class Guard:
    """`past`: whether everything goes past the sidecars; None until the first two looks."""

    balancer: Guarded
    said: Callable[[str], None] = lambda _: None
    past: bool | None = None
    _seen: int = 0
    _down: bool | None = None

    def look(self) -> None:
        """One look, and what follows from it."""
        try:
            down = self.balancer.healthy() == 0
        except ApplyFailed as error:
            self.said(f"unknown: {error}")
            self._seen, self._down = 0, None
            return
        self._seen = self._seen + 1 if down is self._down else 1
        self._down = down
        if self._seen >= AGREE and down is not self.past:
            self._move(down)

    def _move(self, down: bool) -> None:
        try:
            self.balancer.open(past=down)
        except ApplyFailed as error:
            self.said(f"weights could not be changed: {error}")
            return
        self.past = down
        self.said("no sidecar is healthy: the upstream gets all" if down else "the sidecars have their shares")
