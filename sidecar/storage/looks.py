"""Looks at the shared state, again and again, in a process that goes on when one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)
TICK: Final = 0.25
"""Seconds between looks at what other processes know."""


class Looks:
    """Looks at the shared state, again and again: that the database fails is said once, until it does not."""

    def __init__(self) -> None:
        self._failing = False

    def at(self, tick: Callable[[], None]) -> None:
        """Looks. Never raises."""
        fields = {"event.action": "tick_failed"}
        try:
            tick()
            self._failing = False
        except SQLAlchemyError as error:
            if not self._failing:
                log.error("a look at the shared state failed: %s", error, extra={"fields": fields})
            self._failing = True
        except Exception:
            log.exception("a look at the shared state failed", extra={"fields": fields})
