"""The event loop that a worker runs on: uvloop where it can be imported, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio

try:
    from uvloop import new_event_loop as new_loop
except ImportError:  # no wheel for this platform
    new_loop = asyncio.new_event_loop

__all__ = ["new_loop"]
