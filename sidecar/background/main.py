"""Background work, in one process beside the workers: shipping the journal, retention, replay, and backfill when due.

It never stands in users' way: its calls upstream take the places that users leave (see `upstream.concurrency`), and
when it dies, users notice nothing. What it is doing is told in small files under DATA, which the control plane reads;
one of them is its sign of life.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from sidecar.background.backfilling import Backfilling
from sidecar.background.indexing import Indexing
from sidecar.background.replaying import Replaying
from sidecar.background.sharing import Sharing
from sidecar.background.shipping import Shipping
from sidecar.background.verifying import Verifying
from sidecar.contract import Contract
from sidecar.events.recorder import Recorder
from sidecar.journal.writer import Journal
from sidecar.settings import Settings
from sidecar.storage.encryption import open_vault
from sidecar.storage.instance import named
from sidecar.storage.status_files import tell
from sidecar.telemetry.logging import lines_dropped
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.sentry import setup_sentry

log = logging.getLogger(__name__)
ALIVE_EVERY: Final = 2.0
"""Seconds between signs of life."""


class Background:
    """The process's threads: shipping, signing, backfill, replay, indexing, sharing, verifying."""

    def __init__(self, settings: Settings, is_last: Callable[[], bool], stop: threading.Event) -> None:
        """`is_last`: whether the sidecar ends, so that the gateway has before this does; else another goes on after."""
        self._settings = settings
        self._is_last = is_last
        self._stop = stop
        self._contract = Contract.load(settings.contract)
        journal = Journal(
            settings.data / "journal",
            settings.node_name,
            named(settings.data, str(os.getpid())),
            durable=settings.record == "durable",
            segment_bytes=settings.journal_segment,
        )
        self._shipping = Shipping(settings)
        self._metrics = Metrics()
        self._recorder = Recorder(journal, self._contract, settings.node_name, settings.body_cap, open_vault(settings))

    def run(self) -> None:
        """Works until it is told to stop."""
        setup_sentry(self._settings)
        works = {"ship": self._ship, "sign": self._sign, "fill": self._fill, "replay": self._replay}
        works["index"] = lambda: Indexing(self._settings, self._contract).run(self._stop)
        works["verify"] = lambda: Verifying(self._settings).run(self._stop)
        if self._settings.database:
            works["share"] = lambda: Sharing(self._settings).run(self._stop)
        threads = [threading.Thread(target=work, name=name) for name, work in works.items()]
        for thread in threads:
            thread.start()
        self._live()
        told = time.monotonic()
        while not self._stop.wait(0.5):
            self._metrics.log(lines_dropped())
            if time.monotonic() - told > ALIVE_EVERY:
                told = time.monotonic()
                self._live()
            if not all(thread.is_alive() for thread in threads):
                log.error(
                    "a thread of the background work ended", extra={"fields": {"event.action": "background_broke"}}
                )
                break
        self._stop.set()
        for thread in threads:
            thread.join(5)
        self._recorder.close()
        if self._is_last() and not any(thread.is_alive() for thread in threads):
            self._shipping.sign_last()

    def _live(self) -> None:
        """A sign of life. A disk that is full does not end what can go on without it."""
        try:
            tell(self._settings, "background", {"at": time.time(), "pid": os.getpid()})
        except OSError as error:
            log.error("no sign of life could be given: %s", error.strerror)

    def _ship(self) -> None:
        self._shipping.ship(self._stop)

    def _sign(self) -> None:
        self._shipping.sign(self._stop)

    def _fill(self) -> None:
        Backfilling(self._settings, self._contract, self._recorder).run(self._stop)

    def _replay(self) -> None:
        Replaying(self._settings, self._contract, self._recorder).run(self._stop)
