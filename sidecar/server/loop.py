"""The event loop that a worker runs on: uvloop where it can be imported, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio

try:
    import uvloop
except ImportError:  # no wheel for this platform
    uvloop = None  # type: ignore[assignment]


def new_loop() -> asyncio.AbstractEventLoop:
    """A new one."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()
