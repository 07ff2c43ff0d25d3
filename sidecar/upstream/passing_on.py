"""An answer's body, passed on as it comes: what is at hand is bounded, and the upstream waits for whoever takes it.

It ends at its end, when the upstream cuts it or sends nothing for too long, or when nobody takes it. For how long a
client may take nothing is its connection's word (WRITE_TIMEOUT): the upstream, which waits for it, is not to blame.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from sidecar.http.messages import Cut

AT_HAND: Final = 1024 * 1024
"""Bytes beyond which the upstream waits."""
LEFT: Final = "left"
"""How it ends when nobody takes it."""


class PassingOn:
    """Of one answer, on one loop. `pause` and `resume` the upstream's sending; `cut` it off."""

    def __init__(
        self, size: int | None, idle: float, *, pause: Callable[[], None], resume: Callable[[], None],
        cut: Callable[[], None],
    ) -> None:  # fmt: skip
        """`idle`: seconds in which something must come, while all that came is taken."""
        self.size = size
        self._idle, self._pause, self._resume, self._cut = idle, pause, resume, cut
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = self._over = self._moved = False
        self._why: str | None = None
        self._tell: list[Callable[[str | None], None]] = []
        self._waiter: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(idle, self._look)

    # Of the upstream -------------------------------------------------------------------------------------------------

    def add(self, pieces: Iterable[bytes]) -> None:
        """More has come."""
        self._moved = True
        for piece in pieces:
            self._pieces.append(piece)
            self._held += len(piece)
        if self._held > AT_HAND and not self._paused and not self._over:
            self._paused = True
            self._pause()
        self._wake()

    def end(self, why: str | None) -> None:
        """No more comes: None, it is whole; else how it ended, in one word."""
        if self._over:
            return
        self._over, self._why = True, why
        self._timer.cancel()
        self._wake()
        told, self._tell = self._tell, []
        for tell in told:
            tell(why)

    # Of whoever takes it ---------------------------------------------------------------------------------------------

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, in order, once. Raises Cut."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._held -= len(piece)
                self._moved = True
                if self._paused and self._held <= AT_HAND // 2 and not self._over:
                    self._paused = False
                    self._resume()
                yield piece
            if self._over:
                break
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._why is not None:
            raise Cut(self._why)

    def close(self) -> None:
        """Nobody takes any more of it."""
        self._pieces.clear()
        self._give_up(LEFT)

    def when_over(self, tell: Callable[[str | None], None]) -> None:
        """Tells when no more of it comes."""
        if self._over:
            tell(self._why)
        else:
            self._tell.append(tell)

    def _give_up(self, why: str) -> None:
        if not self._over:
            self.end(why)
            self._cut()

    def _look(self) -> None:
        if not self._moved and not self._pieces:
            self._give_up("timeout")
            return
        self._moved = False
        self._timer = asyncio.get_running_loop().call_later(self._idle, self._look)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def was_cut(why: str | None) -> bool:
    """Whether a body ended because the upstream, or the way to it, cut it."""
    return why is not None and why != LEFT
