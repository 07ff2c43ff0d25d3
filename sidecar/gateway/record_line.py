"""Lines of those who write to the same record: first come, first served, within one process.

Between processes the database decides; the first of each process's line asks it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class RecordLines:
    """One per worker; on its loop."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[asyncio.Event]] = {}

    @asynccontextmanager
    async def first(self, key: Hashable, until: float) -> AsyncIterator[bool]:
        """Inside, this request is the record's line's first; False: it was not by `until`, of time.monotonic()."""
        mine = asyncio.Event()
        line = self._lines.setdefault(key, deque())
        line.append(mine)
        try:
            yield line[0] is mine or await set_by(mine, until)
        finally:
            was_first = line[0] is mine
            line.remove(mine)
            if was_first and line:
                line[0].set()
            if not line:
                del self._lines[key]


async def set_by(event: asyncio.Event, until: float) -> bool:
    """Whether the event came by `until`, of time.monotonic()."""
    try:
        async with asyncio.timeout(until - time.monotonic()):
            return await event.wait()
    except TimeoutError:
        return False
