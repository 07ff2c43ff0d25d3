"""Whether the wall clock may be gone by: one that has jumped drops no day before a person has said that it is right.

Beside it runs a clock that nobody sets. Within a run the two must go on alike; between runs the wall clock may not have
gone back, nor further than a machine is likely to have been off. What was found stays in DATA until a person trusts it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from sidecar.clock import uptime
from sidecar.settings import Settings
from sidecar.storage.status_files import tell, told
from sidecar.timeunits import SECOND

LEAP: Final = 3600.0
"""Seconds by which the two clocks may come to differ."""
OFF: Final = 14 * 86400.0
"""Seconds for which a machine may have been off."""
NAME: Final = "clock"
log = logging.getLogger(__name__)


def unhurried() -> float:
    """Seconds of the clock that nobody sets, and that goes on while the machine sleeps."""
    return uptime() / SECOND


class TrustedClock:
    """One per process that destroys by age."""

    def __init__(
        self, settings: Settings, wall: Callable[[], float] = time.time, steady: Callable[[], float] = unhurried
    ) -> None:
        self._settings = settings
        self._wall, self._steady = wall, steady
        self._began = self._anew()
        self._trusted: float | None = None
        """When a person last trusted it; None: this process has not looked yet."""

    def jumped(self) -> float | None:
        """By how many seconds the wall clock has jumped, which no person has called right since; None: it has not."""
        state = told(self._settings, NAME)
        trusted, at = _number(state.get("trusted")), _number(state.get("at"))
        if self._trusted is None:
            leap = self._wall() - at if at else 0.0
            wrong = leap < -LEAP or leap > OFF
        else:
            self._began = self._anew() if trusted != self._trusted else self._began
            leap = self._anew() - self._began
            wrong = abs(leap) > LEAP
        self._trusted = trusted
        known = _number(state.get("jumped"))
        if known:
            return known
        if wrong:
            fields = {"event.action": "clock_jumped", "seconds": round(leap)}
            log.error(
                "the wall clock has jumped: nothing goes by age until a person trusts it", extra={"fields": fields}
            )
        tell(self._settings, NAME, {"at": self._wall(), "jumped": leap if wrong else None, "trusted": trusted})
        return leap if wrong else None

    def is_right(self) -> bool:
        """Whether what is old by it may be destroyed. Raises OSError when that cannot be kept."""
        return self.jumped() is None

    def _anew(self) -> float:
        return self._wall() - self._steady()


def jump(settings: Settings) -> float:
    """What the process that looks has found, for a metric: seconds; 0: none."""
    return _number(told(settings, NAME).get("jumped"))


def trust(settings: Settings, now: float) -> None:
    """A person says that the wall clock is right."""
    tell(settings, NAME, {"at": now, "jumped": None, "trusted": now})


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
