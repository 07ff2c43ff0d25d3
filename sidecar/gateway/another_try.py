"""A request that fails at the database tries again, while nobody knows that it is away: a restart, or another primary,
takes a second or two, and to be refused is worse than to wait for that."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from sidecar.standby.standby import Standby

PAUSE: Final = 0.1
"""Seconds between two tries."""
PATIENCE: Final = 2.0
"""Seconds for which what must be written down of a write is tried, whatever is left of its user's time."""


def is_worth_it(standby: Standby, began: float, until: float) -> bool:
    """Whether what has failed, begun at `began`, may go well when it is done again, and as long a try again has time
    enough; both of time.monotonic()."""
    now = time.monotonic()
    return now + (now - began) < until and standby.may_be_back()


async def another_try(standby: Standby, began: float, until: float) -> bool:
    """Waits a moment where that is worth it; False, at once, where it is not."""
    worth_it = is_worth_it(standby, began, until)
    if worth_it:
        await asyncio.sleep(PAUSE)
    return worth_it
