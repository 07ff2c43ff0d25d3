"""The threads that bring the journal to the event store, and sign it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sidecar.background.retention import drop_old_days
from sidecar.events import trail
from sidecar.events.shipper import Report, Shipper
from sidecar.events.store import StoreUnavailable
from sidecar.events.store.factory import open_store
from sidecar.journal.checkpoints import CheckpointNotKept
from sidecar.journal.erasure import erase
from sidecar.journal.head import read_head
from sidecar.journal.keys import SigningError, SigningKey
from sidecar.journal.signer import Signer
from sidecar.journal.statements import statements_of
from sidecar.settings import Settings
from sidecar.standby import high_water
from sidecar.standby.outbox.watermark import Mark
from sidecar.storage.status_files import tell
from sidecar.storage.trusted_clock import TrustedClock
from sidecar.telemetry.metrics import Metrics


class Shipping:
    """One per process: `ship` and `sign` are each a thread's work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._buried = 0
        self._statements = statements_of(settings)
        self._key = SigningKey(settings.sign_key_file)
        self._clock = TrustedClock(settings)
        self._signer = Signer(settings.data / "journal", self._statements, self._key, self._checkpoint, self._beside)

    def ship(self, stop: threading.Event) -> None:
        """Works until `stop`, retention beside it."""
        data = self._settings.data
        store = open_store(self._settings)
        shipper = Shipper(
            data / "journal",
            store,
            data / "shipped.json",
            data / "dead-letter",
            journal_retention=self._settings.journal_retention,
            on_progress=self._progress,
            may_drop=self._clock.is_right,
            dropping=self._signer.dropping,
            body_retention=self._settings.body_retention,
            erase=lambda places: erase(places, self._statements, self._key, "understudy", "retention"),
            keep=lambda segment: trail.keep(segment, data / trail.FOLDER),
        )
        keeper = threading.Thread(
            target=drop_old_days,
            args=(self._settings, store, stop, self._clock.is_right),
            name="retention",
            daemon=True,
        )
        keeper.start()
        shipper.run(stop)
        store.close()

    def sign(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        self._signer.run(stop, self._settings.sign_every)

    def sign_last(self) -> None:
        """After all that writes to the journal has ended in order."""
        self._signer.finish()

    def _beside(self) -> Mapping[str, Any]:
        """The outbox's mark, which is signed with the heads."""
        mark = high_water.kept(self._settings)
        return {} if mark == Mark() else {"outbox": asdict(mark)}

    def _checkpoint(self, name: str, sequence: int, hash: str) -> None:
        store = open_store(self._settings)
        try:
            store.checkpoint(name, sequence, hash)
            high_water.keep_in_store(store, high_water.kept(self._settings))
        except StoreUnavailable as error:
            raise CheckpointNotKept(str(error)) from None
        finally:
            store.close()

    def _head(self) -> str | None:
        """How far the journal is signed, for those who keep it beside it."""
        try:
            head = read_head(self._settings.sign_head_file)
        except SigningError:
            return None
        return None if head is None else f"{head.name} {head.sequence} {head.hash}"

    def _progress(self, report: Report) -> None:
        if report.dead_letters > self._buried:
            self._metrics.dead_letter_events(report.dead_letters - self._buried)
            self._buried = report.dead_letters
        state = {
            "at": time.time(),
            "unshipped": report.lag.events,
            "oldest_seconds": report.lag.oldest_seconds,
            "shipped": report.shipped,
            "dead_letters": report.dead_letters,
            "trouble": report.trouble,
            "not_signed": self._signer.trouble,
            "head": self._head(),
        }
        tell(self._settings, "shipper", state)
