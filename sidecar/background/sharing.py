"""A node's share of the upstream's places, where several nodes share one database: one budget for the deployment.

Once a second the node says how many places it could use, hears the others, and comes to its share
(`upstream/shares.py`). What it has too many it leaves alone first, and gives up with the next word, when no call is in
them any more; what it lacks it takes when others have given it up. While the database is away the node's own limit
holds alone.
"""

from __future__ import annotations

import logging
import threading
import time
from math import inf
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from sidecar.storage.place_leases import Told, take, tell
from sidecar.timeunits import SECOND
from sidecar.upstream.concurrency import TOLD
from sidecar.upstream.scheduler import open_slots
from sidecar.upstream.shares import shares

EVERY: Final = 1.0
"""Seconds."""
PATIENCE: Final = 1.0
"""Seconds for a statement."""
log = logging.getLogger(__name__)


class Sharing:
    """One per node that has a DATABASE."""

    def __init__(self, settings: Settings) -> None:
        self._node, self._slots = settings.node_name, open_slots(settings)
        self._engine = open_engine(settings, PATIENCE)
        self._granted, self._told = 0, -inf
        """What the database granted us, and when it last heard of us, by the machine's monotonic clock."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        while not stop.is_set():
            try:
                self.step()
            except SQLAlchemyError as error:
                log.debug("the places cannot be shared: %s", type(error).__name__)
            stop.wait(EVERY)
        self.close()

    def step(self) -> None:
        """Says what this node wants, and comes to its share. Raises SQLAlchemyError."""
        wanted, total, now = self._slots.wanted(), self._slots.limit, time.monotonic()
        if now - self._told >= TOLD / SECOND:  # others may have them by now
            self._granted = take(self._engine, self._node, Told(total, wanted), total)
        kept = min(self._granted, max(self._slots.share, self._slots.taken()))
        others = tell(self._engine, self._node, Told(kept, wanted))
        self._granted, self._told = kept, now
        share = shares(total, {self._node: wanted, **{name: told.wanted for name, told in others.items()}})[self._node]
        if share > kept:
            share = self._granted = take(self._engine, self._node, Told(share, wanted), total)
        self._slots.tell_share(share)

    def close(self) -> None:
        self._slots.close()
        self._engine.dispose()
