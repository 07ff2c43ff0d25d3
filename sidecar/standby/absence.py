"""What may have passed us by while the shared database was away: the balancer turns to the upstream then.

What the standby knows stays verified where nobody can have changed anything: the upstream refused everybody, from
before users were sent elsewhere until they are back; or the absence ended before the balancer turns (BYPASS_AFTER).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from sidecar.settings import Settings
from sidecar.storage.heartbeat import Heartbeat
from sidecar.timeunits import SECOND
from sidecar.upstream.refusals import Refusals

LOOK: Final = 0.1
"""Seconds between looks."""
TURN: Final = 3.0
"""Seconds, at the most, that the balancer takes to turn away from us, or back to us."""
BLINK: Final = 0.5
"""Seconds in which it has hardly turned away, and nobody has been served elsewhere."""


def under_way_for(settings: Settings) -> int:
    """ns for which users' writes may still pass us by once we are back, and take effect: the balancer has to turn, and
    the upstream may work on what it was sent for as long as we would wait for it, and a while longer."""
    return int((TURN + settings.upstream_timeout + settings.late_effect) * SECOND)


class Absence:
    """One per process; looks in a thread, which waits for no database."""

    def __init__(
        self, heartbeat: Heartbeat, refusals: Refusals, bypass_after: float, passed_by: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`passed_by` is called when writes may have passed by; `bypass_after` in seconds."""
        self._heartbeat, self._refusals, self._bypass_after = heartbeat, refusals, bypass_after
        self._passed_by, self._clock = passed_by, clock
        self._well = clock()
        """When it was last seen that users were sent here."""
        self._back: float | None = None
        """When it was seen that they are again, in an absence that is not over."""
        self._under_way = False
        self._since = clock()
        """From when on the upstream must have refused everybody, in an absence that is under way."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="absence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(1)

    def why_away(self) -> str | None:
        """As the heartbeat has it; and the database is away until it was seen what its absence means."""
        away = self._heartbeat.why_away()
        if away is None and self._under_way and self._back is None:
            return "nobody has looked yet whether writes have passed by"
        return away

    def look(self) -> None:
        """Sees whether an absence begins, or is over, and what it means."""
        now, away = self._clock(), self._heartbeat.why_away() is not None
        if away or self._under_way or self._heartbeat.is_late():
            self._refusals.look()
        if away:
            if not self._under_way:
                self._since = now if now - self._well <= BLINK else self._well
            self._under_way, self._back = True, None
        elif self._under_way:
            self._see_end(now)
        else:
            self._well = now

    def _see_end(self, now: float) -> None:
        back = now if self._back is None else self._back
        refused = self._refusals.last_since(self._since)
        if refused and now - back < TURN:
            self._back = back
            return
        if not refused and back - self._well + TURN > self._bypass_after:
            self._passed_by()
        self._under_way, self._back, self._well = False, None, now

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            self.look()
