"""`audit verify`, by itself, every VERIFY_EVERY: nobody looks at a trail before it is needed, and then it is too late.

What was found is told to the control plane and the dashboard, with when the journal last held. Where it could not be
looked at, that is told, and not that it holds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from sidecar.events.store.factory import kept_checkpoints
from sidecar.journal.verify import Verdict, verify_node
from sidecar.settings import Settings
from sidecar.storage.status_files import tell, told

NAME: Final = "verified"
SOON: Final = 60.0
"""Seconds until the first look of a process, and before a bad one is believed: retention may have been at work, and
what is new is signed only after SIGN_EVERY."""
log = logging.getLogger(__name__)


def look(settings: Settings) -> Verdict:
    """At all that this node has recorded. Raises OSError, SigningError."""
    return verify_node(settings, kept_checkpoints(settings))


class Verifying:
    """One thread's work."""

    def __init__(
        self, settings: Settings, look: Callable[[Settings], Verdict] = look, wall: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._look, self._wall = settings, look, wall

    def run(self, stop: threading.Event, soon: float | None = None) -> None:
        """Works until `stop`. `soon`: instead of SOON and SIGN_EVERY."""
        again = max(SOON, 2 * self._settings.sign_every) if soon is None else soon
        while not stop.wait(again):
            at = told(self._settings, NAME).get("at")
            if not isinstance(at, int | float) or not 0 <= self._wall() - at < self._settings.verify_every:
                self._verify(stop, again)

    def _verify(self, stop: threading.Event, again: float) -> None:
        state = self._found()
        if state["ok"] is False and not stop.wait(again):
            state = self._found()
        if state["ok"] is not True:
            fields = {"event.action": "journal_not_verified"}
            log.error("the journal is not verified: %s", state["why"], extra={"fields": fields})
        try:
            tell(self._settings, NAME, state)
        except OSError as error:
            log.error("what became of the journal's verification could not be told: %s", error.strerror)

    def _found(self) -> dict[str, Any]:
        """`ok` is None where nobody can say; `held`: when the journal last held (seconds), or None."""
        held = told(self._settings, NAME).get("held")
        try:
            verdict = self._look(self._settings)
        except Exception as error:
            return {"at": self._wall(), "ok": None, "why": f"it could not be looked at: {error}", "held": held}
        bad = verdict.first_bad or {}
        why = None if verdict.ok else f"{bad.get('file')}, line {bad.get('line')}: {bad.get('why')}"
        now = self._wall()
        return {"at": now, "ok": verdict.ok, "why": why, "held": now if verdict.ok else held, "events": verdict.events}
