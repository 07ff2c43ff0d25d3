"""Background work, in one process beside the workers: shipping the journal, retention, replay, and backfill when due.

It never stands in users' way: its calls upstream take the places that users leave (see `slots`), and when it dies,
users notice nothing. What it is doing is told in two small files under DATA, which the control plane reads.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from typing import Final

from sidecar import clock
from sidecar.app import new_upstream
from sidecar.contract import Contract
from sidecar.database import open_engine
from sidecar.errands import Errands, own_fields
from sidecar.gateway.exchange import Outcome, Purpose, Response
from sidecar.gateway.wire import Call
from sidecar.metrics import Metrics
from sidecar.proof_commands import statements_of
from sidecar.record.erasure import erase
from sidecar.record.journal import Journal
from sidecar.record.offsets import started
from sidecar.record.recorder import Recorder
from sidecar.record.segment import node_prefix
from sidecar.record.shipper import Report, Shipper
from sidecar.record.signer import Signer
from sidecar.record.signing import SigningKey
from sidecar.record.statements import MARK
from sidecar.record.stores import EventStore, StoreUnavailable
from sidecar.record.stores.opening import open_store
from sidecar.replaying import Replaying
from sidecar.settings import Settings
from sidecar.standby.backfill import Backfill
from sidecar.standby.standby import Standby
from sidecar.status import backfill_asked, tell
from sidecar.telemetry import setup_sentry
from sidecar.vault import open_vault

log = logging.getLogger(__name__)
IDLE: Final = 0.5
AGAIN: Final = 5.0
"""Seconds between rounds of backfill: what could not be had now is asked for again, gently."""


def known_checkpoints(settings: Settings) -> Mapping[str, tuple[int, str]]:
    """How far each segment had come when it was last shipped: what a journal that was cut cannot show."""
    store = open_store(settings)
    try:
        # Other nodes' segments are in other nodes' journals.
        node = re.compile(re.escape(node_prefix(settings.node_name)) + r"(-\w+-\d+|@\w+)")
        kept_in_store = store.checkpoints()
        points = {at.segment: (at.sequence, at.hash) for at in kept_in_store if node.fullmatch(at.segment)}
        oldest = time.time_ns() - int(settings.journal_retention * 1e9)
        kept = {path.stem for path in (settings.data / "journal").glob("*.jsonl")}
        # What retention removed is not a cut: such a segment is gone as a whole, and began that long ago.
        return {
            name: point for name, point in points.items() if name in kept or MARK in name or started(name)[0] > oldest
        }
    except StoreUnavailable as error:
        log.warning("the event store does not answer: a cut tail would not be noticed (%s)", error)
        return {}
    finally:
        store.close()


class Background:
    """The process's threads: one ships, one backfills."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._contract = Contract.load(settings.contract)
        self._metrics = Metrics()
        self._buried = 0
        journal = Journal(
            settings.data / "journal",
            settings.node_name,
            str(os.getpid()),
            durable=settings.record == "durable",
            segment_bytes=settings.journal_segment,
        )
        self._signer = Signer(
            settings.data / "journal",
            statements_of(settings),
            SigningKey(settings.sign_key_file),
            self._checkpoint,
        )
        self._recorder = Recorder(journal, self._contract, settings.node_name, settings.body_cap, open_vault(settings))

    def run(self) -> None:
        """Works until SIGTERM."""
        setup_sentry(self._settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        threads = [
            threading.Thread(target=work, name=work.__name__.strip("_"))
            for work in (self._ship, self._sign, self._fill, self._replay)
        ]
        for thread in threads:
            thread.start()
        while not self._stop.wait(0.5):
            if not all(thread.is_alive() for thread in threads):
                log.error(
                    "a thread of the background work ended", extra={"fields": {"event.action": "background_broke"}}
                )
                break
        self._stop.set()
        for thread in threads:
            thread.join(5)
        self._recorder.close()

    def _ship(self) -> None:
        data, statements = self._settings.data, statements_of(self._settings)
        key = SigningKey(self._settings.sign_key_file)
        store = open_store(self._settings)
        shipper = Shipper(
            data / "journal",
            store,
            data / "shipped.json",
            data / "dead-letter",
            journal_retention=self._settings.journal_retention,
            on_progress=self._progress,
            dropping=self._signer.dropping,
            body_retention=self._settings.body_retention,
            erase=lambda places: erase(places, statements, key, "understudy", "retention"),
        )
        keeper = threading.Thread(target=self._keep, args=(store,), name="retention", daemon=True)
        keeper.start()
        shipper.run(self._stop)
        store.close()

    def _sign(self) -> None:
        self._signer.run(self._stop, self._settings.sign_every)

    def _checkpoint(self, name: str, sequence: int, hash: str) -> None:
        store = open_store(self._settings)
        try:
            store.checkpoint(name, sequence, hash)
        finally:
            store.close()

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
        }
        tell(self._settings, "shipper", state)

    def _keep(self, store: EventStore) -> None:
        """Drops whole days that are older than the settings keep, once an hour."""
        while not self._stop.wait(5):
            now = time.time_ns()
            try:
                dropped = list(
                    store.drop_before(
                        now - int(self._settings.retention * 1e9), now - int(self._settings.body_retention * 1e9)
                    )
                )
            except StoreUnavailable:
                continue
            if dropped:
                log.info("old days dropped: %s", ", ".join(dropped), extra={"fields": {"event.action": "retention"}})
            self._stop.wait(3600)

    def _replay(self) -> None:
        Replaying(self._settings, self._contract, self._recorder).run(self._stop)

    def _fill(self) -> None:
        engine = open_engine(self._settings)
        standby = Standby(self._contract, engine, self._settings)
        upstream = new_upstream(self._settings, 1, "backfill")
        errands = Errands(self._settings.max_answer, self._contract, upstream, self._recorder, Purpose.BACKFILL)
        asker = _Asker(self._settings, self._contract, errands)
        filled, pause = 0, IDLE
        while not self._stop.wait(pause):
            pause = IDLE
            if not asker.ready:
                continue
            standby.refresh()
            everything = backfill_asked(self._settings) or standby.verified_since() > filled
            doubts = None if everything else standby.doubtful()
            if not everything and not doubts:
                continue
            started = clock.stamp()
            whole = self._fill_once(standby, asker, doubts)
            if whole and everything:
                filled = started
            pause = AGAIN
        upstream.close()
        standby.close()
        engine.dispose()

    def _fill_once(self, standby: Standby, asker: _Asker, only: set[str] | None) -> bool:
        """One round; True when it went through."""

        def progress(resource: str | None, done: int, total: int, running: bool = True) -> None:
            state = {"running": running, "resource": resource, "done": done, "total": total}
            tell(self._settings, "backfill", state)

        progress(None, 0, 0)
        filling = Backfill(self._contract, asker.ask, asker.user, standby, self._settings.backfill_rate)
        try:
            done = filling.run(self._stop, progress, only)
            standby.flush()
            return done
        except Exception:
            log.exception("backfill broke", extra={"fields": {"event.action": "backfill_broke"}})
            return False
        finally:
            progress(None, 0, 0, running=False)


class _Asker:
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

    def ask(self, method: str, target: str) -> tuple[Response, int, int] | None:
        """The answer with the stamps around it; None when the upstream failed."""
        match = self._contract.match(method, target.partition("?")[0])
        call = Call(method, target, own_fields(self._settings), repeatable=True)
        result = self._errands.send(match.endpoint, call)
        self._metrics.backfill_request(result.attempt.outcome)
        if result.attempt.outcome is not Outcome.SUCCESS or result.response is None:
            return None
        return result.response, result.began, result.ended
