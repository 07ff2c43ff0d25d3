"""The thread that fills the copy: at the start, after a gap, when somebody asks, and where something is in doubt."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar import clock
from sidecar.contract import Contract
from sidecar.events.recorder import Recorder
from sidecar.exchange import Outcome, Purpose
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.standby.backfill import Backfill
from sidecar.standby.standby import Standby
from sidecar.storage.changes import start_changes
from sidecar.storage.database import open_engine
from sidecar.storage.heartbeat import start_heartbeat
from sidecar.storage.status_files import backfill_asked, tell
from sidecar.telemetry.metrics import Metrics
from sidecar.upstream.connection import Call
from sidecar.upstream.internal_client import Errands, own_fields
from sidecar.upstream.scheduler import BackgroundCalls, new_upstream

log = logging.getLogger(__name__)
IDLE: Final = 0.5
"""Seconds between looks at whether there is something to fill."""
ASK_AGAIN: Final = 30.0
"""Seconds before the same question is asked once more for proof."""
QUESTIONS: Final = 20
"""Questions asked for proof before we look whether something is missing."""
AGAIN: Final = 5.0
"""Seconds between rounds of backfill: what could not be had now is asked for again, gently."""
LEARNED_WITHIN: Final = 60.0
"""Seconds within which answers to backfill are learned, however busy the machine."""


class Backfilling:
    """One per process; its database and its calls are its own."""

    def __init__(self, settings: Settings, contract: Contract, recorder: Recorder) -> None:
        self._settings = settings
        self._contract = contract
        self._engine = open_engine(settings)
        self._heartbeat = start_heartbeat(settings, self._engine)
        self._changes = start_changes(self._engine)
        self._standby = Standby(contract, self._engine, settings, self._heartbeat)
        self._upstream = BackgroundCalls(lambda: new_upstream(settings), 1, "backfill")
        errands = Errands(settings.max_answer, contract, self._upstream, recorder, Purpose.BACKFILL)
        self._client = _BackfillClient(settings, contract, errands)
        self._asked: dict[str, float] = {}
        self._next_proof = 0.0
        self._filled = 0
        """The stamp at which the last whole round began."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        pause = IDLE
        while not stop.wait(pause):
            try:
                with self._changes.looking() as look:
                    pause = self._round(stop, look or pause == AGAIN)
            except SQLAlchemyError as error:  # the heartbeat says so where it is away
                log.debug("nothing can be filled: the database failed (%s)", type(error).__name__)
                pause = AGAIN
        self._upstream.close()
        self._standby.close()
        self._changes.close()
        self._heartbeat.close()
        self._engine.dispose()

    def _round(self, stop: threading.Event, look: bool) -> float:
        """Fills what is to be filled now; gives the seconds until the next look. Raises SQLAlchemyError."""
        if not self._client.ready:
            return IDLE
        self._standby.refresh(look)
        asked = backfill_asked(self._settings)
        if not look and not asked:
            return IDLE
        if not asked and not self._standby.may_verify():
            return AGAIN
        everything = asked or self._standby.verified_since() > self._filled
        doubts = None if everything else self._standby.doubtful()
        if not everything and not doubts:
            self._prove(stop)
            return IDLE
        started = clock.earliest()
        whole = self._fill(doubts, stop)
        if whole and everything:
            self._filled = started
        return AGAIN

    def _prove(self, stop: threading.Event) -> None:
        """A few questions that tell rivals apart; the same one again only after a while."""
        now = time.monotonic()
        if now < self._next_proof:
            return
        self._next_proof = now + AGAIN
        self._asked = {target: at for target, at in self._asked.items() if now - at < ASK_AGAIN}
        targets = [target for target in self._standby.questions() if target not in self._asked][:QUESTIONS]
        if targets:
            self._asked |= dict.fromkeys(targets, now)
            self._filler().prove(stop, targets)
            if self._is_learned():
                self._next_proof = time.monotonic()

    def _is_learned(self) -> bool:
        """Whether what was asked is known now. On a machine without a core to spare that may take longer: it is asked
        again then."""
        try:
            self._standby.flush(LEARNED_WITHIN)
        except TimeoutError as error:
            fields = {"event.action": "backfill_slow"}
            log.warning("backfill goes on later: %s after %.0f s", error, LEARNED_WITHIN, extra={"fields": fields})
            return False
        return True

    def _filler(self) -> Backfill:
        return Backfill(
            self._contract, self._client.ask, self._client.user, self._standby, self._settings.backfill_rate
        )

    def _fill(self, only: set[str] | None, stop: threading.Event) -> bool:
        """One round; True when it went through."""

        def progress(resource: str | None, done: int, total: int, running: bool = True) -> None:
            state = {"running": running, "resource": resource, "done": done, "total": total}
            tell(self._settings, "backfill", state)

        progress(None, 0, 0)
        filling = self._filler()
        try:
            return filling.run(stop, progress, only) and self._is_learned()
        except Exception:
            log.exception("backfill broke", extra={"fields": {"event.action": "backfill_broke"}})
            return False
        finally:
            progress(None, 0, 0, running=False)


class _BackfillClient:
    """Asks the upstream as nobody in particular: with BACKFILL_CREDENTIALS and the least priority."""

    def __init__(self, settings: Settings, contract: Contract, errands: Errands) -> None:
        self._settings = settings
        self._contract = contract
        self._errands = errands
        self._metrics = Metrics()

    @property
    def ready(self) -> bool:
        return self._settings.backfill_credentials is not None

    @property
    def user(self) -> str:
        return (self._settings.backfill_credentials or ("", ""))[0]

    def ask(self, method: str, target: str) -> tuple[Response, int] | None:
        """The answer with the stamp before it; None when the upstream failed."""
        match = self._contract.match(method, target.partition("?")[0])
        call = Call(method, target, own_fields(self._settings), repeatable=True)
        result = self._errands.send(match.endpoint, call)
        self._metrics.backfill_request(result.attempt.outcome)
        if result.attempt.outcome is not Outcome.SUCCESS or result.response is None:
            return None
        return result.response, result.began
