"""The thread that keeps the index of what refers to what in line with the records (standby/by_reference.py)."""

from __future__ import annotations

import logging
import threading
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.contract import Contract
from sidecar.settings import Settings
from sidecar.standby import by_reference
from sidecar.storage.database import open_engine

log = logging.getLogger(__name__)
IDLE: Final = 1.0
LONGEST: Final = 10.0
"""Seconds between looks at whether a row is out of line: twice as many after each in vain, up to the longest."""
PAUSE: Final = 0.05
"""Seconds between two batches, in which others write."""


class Indexing:
    """One per node; two at once do the same work twice, and no harm."""

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._contract = contract
        self._engine = open_engine(settings)

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        pause = IDLE
        while not stop.wait(pause):
            pause = PAUSE if self._some() else min(max(IDLE, 2 * pause), LONGEST)
        self._engine.dispose()

    def _some(self) -> bool:
        """Whether there was anything to do, and may be more."""
        try:
            with self._engine.execution_options(writes=False).connect() as connection, connection.begin():
                if not by_reference.is_behind(connection, self._contract):
                    return False
            with self._engine.begin() as connection:
                return by_reference.index_some(connection, self._contract) > 0
        except SQLAlchemyError:
            log.warning("records could not be indexed", extra={"fields": {"event.action": "database_failed"}})
            return False
