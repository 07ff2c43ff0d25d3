"""Wires the parts together: the only place that knows them all.

`create_gateway_app` is what each gunicorn worker of the gateway runs, `create_control_app` the control plane's worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Final

import orjson
from flask import Flask, request
from flask import Response as FlaskResponse
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sidecar import __version__, clock
from sidecar.access.activity import Habits
from sidecar.access.break_glass import BreakGlass
from sidecar.access.enforcement import Guard
from sidecar.access.identities import People
from sidecar.access.policy_file import load as load_policies
from sidecar.access.policy_store import Rulebook
from sidecar.background.main import Background
from sidecar.background.sharing import Sharing
from sidecar.contract import Contract
from sidecar.contract.document import read, text_of
from sidecar.control.app import create_control
from sidecar.control.break_glass import recorded
from sidecar.control.services import ControlServices
from sidecar.events.recorder import Recorder
from sidecar.events.store.factory import open_store, refuse_other_products
from sidecar.exchange import Purpose
from sidecar.gateway.asking import Asking
from sidecar.gateway.gateway import ANSWER, Gateway
from sidecar.gateway.pipeline import Pipeline
from sidecar.gateway.stored_results import Results
from sidecar.http.headers import via
from sidecar.journal.head import public_half
from sidecar.journal.keys import SigningKey, refuse_lost, write_public
from sidecar.journal.paths import PUBLIC_KEY, STATEMENTS
from sidecar.journal.reserve import Reserve, remove_left
from sidecar.journal.writer import PATIENCE, Journal
from sidecar.server import agent_check
from sidecar.server.phase import Service
from sidecar.settings import Settings
from sidecar.standby import high_water
from sidecar.standby.knowledge import latest_stamp
from sidecar.standby.observations import digest_in
from sidecar.standby.outbox.orphans import refuse_orphans
from sidecar.standby.outbox.review import Desk
from sidecar.standby.outbox.seal_key import refuse_another, remember
from sidecar.standby.outbox.sealing import Seal
from sidecar.standby.promotion import Promotion
from sidecar.standby.rekey import lock_up
from sidecar.standby.standby import Standby
from sidecar.storage.changes import Changes, start_changes
from sidecar.storage.database import SCHEMA, create_all, in_request, open_engine, or_away
from sidecar.storage.encryption import open_vault
from sidecar.storage.heartbeat import Heartbeat, start_heartbeat
from sidecar.storage.instance import instance_of, named
from sidecar.storage.nodes import register
from sidecar.storage.off_loop import OffLoop
from sidecar.storage.shared_clock import synchronise
from sidecar.storage.status_files import ask_for_backfill, background_trouble, told
from sidecar.takeover.coordinator import Switchboard, counted
from sidecar.telemetry.logging import lines_dropped
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.sentry import setup_sentry
from sidecar.telemetry.tracing import Tracing, refuse_without_extra, setup_tracing, time_steps
from sidecar.upstream.internal_client import Errands
from sidecar.upstream.scheduler import FromThreads, Upstream, Wires, new_upstream

log = logging.getLogger(__name__)
EXPIRED: Final = 5.0
"""Seconds between two looks for what ends by itself."""
DOUBTS: Final = 8
"""Threads of a worker in which it is found out who somebody is."""
RESULTS: Final = 4
"""Threads in which what became of a stored result is written down."""
TICK: Final = 0.25
"""Seconds between looks at what other processes know."""


def check(settings: Settings) -> None:
    """Refuses, without changing anything, a contract, policies or a database that cannot be used, and a contract that
    has no place for writes that are pending."""
    contract = _usable(settings)
    if settings.database or (settings.data / "understudy.db").exists():
        engine = open_engine(settings)
        refuse_orphans(engine, contract)
        with engine.execution_options(writes=False).connect() as connection, connection.begin():
            refuse_another(connection, settings.seal_key_file, settings.node_name)
        engine.dispose()


def _usable(settings: Settings) -> Contract:
    """The contract, where the settings can be used at all. Raises."""
    contract = Contract.load(settings.contract)
    load_policies(contract, settings.contract)
    refuse_other_products(settings)
    refuse_without_extra(settings)
    refuse_lost(settings.sign_key_file, settings.data / STATEMENTS)
    if settings.database or (settings.data / "understudy.db").exists():
        engine = open_engine(settings)
        with or_away(settings), engine.execution_options(writes=False).connect():
            pass
        SCHEMA.refuse_later(engine)
        engine.dispose()
    return contract


def prepare(settings: Settings) -> None:
    """Once, before any process is forked: refuses a contract that cannot be used, and makes the tables. Raises
    DatabaseAway while the database's server cannot be reached."""
    _usable(settings)
    remove_left(settings.data)
    key = SigningKey(settings.sign_key_file)
    write_public(key, settings.data / PUBLIC_KEY)
    try:
        write_public(key, public_half(key.path))
    except OSError as error:  # a key that is mounted read-only: whoever verifies has to read the key itself
        fields = {"event.action": "no_public_key"}
        log.warning("%s: %s", public_half(key.path), error.strerror, extra={"fields": fields})
    mark = high_water.kept(settings).above(high_water.asked_of_store(settings))
    engine = open_engine(settings)
    with or_away(settings):
        create_all(engine)
        with engine.begin() as connection:
            refuse_another(connection, settings.seal_key_file, settings.node_name)
            Seal(settings.seal_key_file)
            remember(connection, settings.seal_key_file)
            went_back = high_water.bring_forward(connection, mark)
        if went_back is not None:
            high_water.say(settings, went_back)
        lock_up(engine, open_vault(settings))
        latest = latest_stamp(engine)
        clock.not_before(latest)
        if settings.database:
            clock.share(settings.data / "database.clock")
            synchronise(engine, latest)
            register(engine, settings.node_name, instance_of(settings.data), _about(settings))
            with closing(Sharing(settings)) as sharing, suppress(SQLAlchemyError):  # it is tried again each second
                sharing.step()
    engine.dispose()


def _about(settings: Settings) -> dict[str, str]:
    """What other nodes, and people, are told of this one."""
    host, port = settings.control_advertise or settings.control_listen
    contract = orjson.dumps(
        read(settings.contract, text_of(settings.contract)), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )
    control = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return {"version": __version__, "contract": sha256(contract).hexdigest(), "control": control}


def note_absence(settings: Settings) -> None:
    """Before the gateway starts: when it was away for longer than BYPASS_AFTER, traffic may have passed it by."""
    alive = settings.data / "alive"
    away = time.time() - alive.stat().st_mtime if alive.exists() else None
    if away is None or not -1 <= away <= settings.bypass_after:
        engine = open_engine(settings)
        standby = Standby(Contract.load(settings.contract), engine, settings)
        standby.mark_gap("first start" if away is None else f"away for {away:.0f} s")
        standby.close()
        engine.dispose()


def process_key(settings: Settings, role: str) -> str:
    return f"{settings.node_name}/{role}/{os.getpid()}"


def create_gateway_app(settings: Settings, service: Service, wires: Wires | None = None) -> Gateway:
    """The gateway of one worker, on whose loop this is called: a Flask application says what the upstream did not.

    `wires` are the connections to the upstream, where a test wants others than real ones.
    """
    setup_sentry(settings)
    traces = setup_tracing(settings)
    app, name = _Answers("sidecar", static_folder=None), via(settings.node_name)
    app.before_request(_answer)
    contract = Contract.load(settings.contract)
    engine = open_engine(settings, in_request(settings))
    heartbeat = start_heartbeat(settings, engine)
    metrics = Metrics()
    standby = Standby(contract, engine, settings, heartbeat)
    if traces is not None:
        time_steps(standby, STEPS)
    switchboard = Switchboard(
        engine,
        contract.endpoints,
        process_key(settings, "gateway"),
        on_transition=counted(contract, metrics),
    )
    held = settings.data / f"reserve-{os.getpid()}"
    reserve = Reserve(held) if settings.on_record_failure == "refuse" else None
    journal = Journal(
        settings.data / "journal",
        settings.node_name,
        named(settings.data, str(os.getpid())),
        durable=settings.record == "durable",
        segment_bytes=settings.journal_segment,
        reserve=reserve,
    )
    recorder = Recorder(journal, contract, settings.node_name, settings.body_cap, open_vault(settings))
    upstream = new_upstream(settings, wires)
    beside, doubts = OffLoop(settings.threads), OffLoop(DOUBTS)
    people = People(contract, engine)
    guard = Guard(
        contract,
        _rulebook(settings, contract, engine),
        people,
        Habits(engine),
        standby,
        switchboard,
        BreakGlass(engine),
    )
    asking = Asking(settings, contract, upstream, standby, switchboard, metrics, name, beside)
    pipeline = Pipeline(settings, contract, asking, standby, switchboard, name, guard, recorder, beside, doubts)
    results = None
    if settings.store_results == "on":
        calls = FromThreads(upstream, asyncio.get_event_loop(), RESULTS, "results")
        errands = Errands(settings.max_answer, contract, calls, recorder, Purpose.REPLAY, digest_in)
        results = Results(contract, people, standby, switchboard, errands, name)
    gateway = Gateway(
        app.wsgi_app,
        settings,
        pipeline,
        recorder,
        metrics,
        guard,
        service,
        beside,
        results,
    )
    worker = _Worker(
        settings,
        engine,
        heartbeat,
        start_changes(engine),
        standby,
        switchboard,
        guard,
        journal,
        recorder,
        upstream,
        beside,
        doubts,
        metrics,
        results,
        traces,
    )
    worker.start()
    beside.serve()
    _running.append(worker)
    return gateway


def _rulebook(settings: Settings, contract: Contract, engine: Engine) -> Rulebook:
    return Rulebook(load_policies(contract, settings.contract), engine, brake=settings.policy == "report")


class _Answers(Flask):
    """Flask that looks for no route: it has none, and the exception that says so would hold the exchange, body and all,
    until the next garbage collection."""

    def create_url_adapter(self, request: object) -> None:
        return None


def _answer() -> FlaskResponse:
    """The gateway's answer, as Flask sends it."""
    answer = request.environ[ANSWER]
    return FlaskResponse(answer.body, answer.status, answer.headers)


@dataclass
class _Worker:
    """What one gateway worker keeps running besides its loop."""

    settings: Settings
    engine: Engine
    heartbeat: Heartbeat
    changes: Changes
    standby: Standby
    switchboard: Switchboard
    guard: Guard
    journal: Journal
    recorder: Recorder
    upstream: Upstream
    beside: OffLoop
    doubts: OffLoop
    metrics: Metrics
    results: Results | None
    traces: Tracing | None
    looks: _Looks = field(default_factory=lambda: _Looks())

    def start(self) -> None:
        self._stop = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        if self.results is not None:
            self.results.close()
        self.beside.close()
        self.doubts.close()
        self.standby.close()
        self.recorder.close()
        if self.traces is not None:
            self.traces.close()
        self.switchboard.tick()
        self.metrics.flush()
        self.changes.close()
        self.heartbeat.close()
        self.engine.dispose()

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            self._look()

    def _look(self) -> None:
        """A tick that fails, be it the first, stops nothing: a worker begins also when the disk is full."""
        self.looks.at(self._tick)

    def _tick(self) -> None:
        self.metrics.flush()
        self.metrics.log(lines_dropped())
        with self.changes.looking() as look:
            self.switchboard.tick(look)
            self.standby.refresh(look)
            self.metrics.journal(self.journal)
            (self.settings.data / "alive").touch()
            if self.heartbeat.why_away() is None:
                self.guard.refresh(look)


class _Looks:
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


STEPS: Final = (
    ("check", "identify"),
    ("answer", "standby"),
    ("overlay", "standby"),
    ("refusal", "standby"),
    ("begin_write", "outbox"),
    ("accept", "outbox"),
    ("end_write", "outbox"),
)
"""What of the standby's work is a step of an exchange's trace."""
_running: list[_Worker] = []


async def end() -> None:
    """At the end of a worker, on its loop: calls that are under way come to their ends, if that is soon, and are
    learned from. What is not answered then is recorded as cut."""
    for worker in _running:
        await worker.upstream.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=1.0)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=PATIENCE)


def close() -> None:
    """After that: everything known is written down."""
    while _running:
        _running.pop().close()


def create_control_app(settings: Settings, service: Service) -> Flask:
    """The control plane."""
    setup_sentry(settings)
    contract = Contract.load(settings.contract)
    engine = open_engine(settings, in_request(settings))
    heartbeat = start_heartbeat(settings, engine)
    standby = Standby(contract, engine, settings, heartbeat)
    metrics = Metrics()
    switchboard = Switchboard(
        engine,
        contract.endpoints,
        process_key(settings, "control"),
        on_transition=counted(contract, metrics),
    )
    rulebook, break_glass = _rulebook(settings, contract, engine), BreakGlass(engine)
    app = create_control(
        ControlServices(
            settings=settings,
            contract=contract,
            engine=engine,
            standby=standby,
            switchboard=switchboard,
            parity=standby.parity,
            desk=Desk(engine, standby.outbox, standby.seal),
            promotion=Promotion(
                contract,
                engine,
                standby.outbox,
                standby.completeness,
                standby.parity.ratio,
                standby.unproven,
                least_parity=settings.promote_parity,
            ),
            policies=rulebook,
            break_glass=break_glass,
            open_store=lambda: open_store(settings),
            phase=lambda: service.phase,
            why_away=heartbeat.why_away,
            drained=heartbeat.draining,
            shipper=lambda: told(settings, "shipper"),
            background=lambda: background_trouble(settings),
            reload=lambda: told(settings, "reload"),
            restored=lambda: told(settings, "restored"),
            start_backfill=lambda: ask_for_backfill(settings),
            backfill=lambda: told(settings, "backfill"),
        )
    )
    parts = settings, metrics, heartbeat, start_changes(engine), standby, switchboard, rulebook, break_glass
    threading.Thread(target=_look, args=parts, name="tick", daemon=True).start()
    if settings.agent_listen is not None:
        agent_check.start(settings.agent_listen, standby.ready, lambda: service.draining)
    return app


def _look(
    settings: Settings, metrics: Metrics, heartbeat: Heartbeat, changes: Changes, standby: Standby,
    switchboard: Switchboard, rulebook: Rulebook, break_glass: BreakGlass,
) -> None:  # fmt: skip
    """Keeps the control plane's view of the shared state fresh."""

    ended = -EXPIRED

    def tick() -> None:
        nonlocal ended
        metrics.log(lines_dropped())
        with changes.looking() as look:
            switchboard.tick(look)
            standby.refresh(look)
            if heartbeat.why_away() is not None:
                return
            if look:
                rulebook.refresh()
            if time.monotonic() - ended >= EXPIRED:
                ended = time.monotonic()
                break_glass.end_expired(partial(recorded, settings))

    looks = _Looks()
    while True:
        looks.at(tick)
        time.sleep(TICK)


def create_background(settings: Settings, service: Service, stop: threading.Event) -> Background:
    """The background work: one process beside the workers."""
    return Background(settings, is_last=lambda: service.draining, stop=stop)
