"""What may be in memory at once of large bodies, in one worker: who comes later waits, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sidecar.gateway.record_line import set_by


class MemoryShare:
    """One per worker; on its loop. `most`: bytes. A body larger than that has all of it to itself."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._line: deque[tuple[asyncio.Event, int]] = deque()

    @asynccontextmanager
    async def of(self, size: int, until: float) -> AsyncIterator[bool]:
        """Inside, so many bytes may be in memory; False: there was no room for them by `until`, of time.monotonic()."""
        size = min(size, self._most)
        has_room = await self._take(size, until)
        try:
            yield has_room
        finally:
            if has_room:
                self._taken -= size
                self._hand_out()

    async def _take(self, size: int, until: float) -> bool:
        turn = asyncio.Event(), size
        self._line.append(turn)
        self._hand_out()
        has_room = False
        try:
            has_room = await set_by(turn[0], until)
        finally:
            if not has_room:
                self._leave(turn)
        return has_room

    def _hand_out(self) -> None:
        while self._line and self._taken + self._line[0][1] <= self._most:
            event, size = self._line.popleft()
            self._taken += size
            event.set()

    def _leave(self, turn: tuple[asyncio.Event, int]) -> None:
        """Who waits no longer holds up nobody, and gives back what they have been given meanwhile."""
        if turn[0].is_set():
            self._taken -= turn[1]
        else:
            self._line.remove(turn)
        self._hand_out()
