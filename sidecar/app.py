"""Wires the parts together: the only place that knows them all.

`create_gateway_app` is what each gunicorn worker of the gateway runs, `create_control_app` the control plane's worker.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Final

from flask import Flask
from sqlalchemy import Engine

from sidecar.access.activity import Habits
from sidecar.access.break_glass import BreakGlass
from sidecar.access.enforcement import Guard
from sidecar.access.identities import People
from sidecar.access.policy_file import load as load_policies
from sidecar.access.policy_store import Rulebook
from sidecar.background.main import Background
from sidecar.contract import Contract
from sidecar.control.app import create_control
from sidecar.control.looking import keep_fresh
from sidecar.control.services import ControlServices
from sidecar.events.recorder import Recorder
from sidecar.events.store.factory import open_store
from sidecar.exchange import Purpose
from sidecar.gateway.asking import Asking
from sidecar.gateway.gateway import Gateway
from sidecar.gateway.own_answers import own_answers
from sidecar.gateway.pipeline import Pipeline
from sidecar.gateway.stored_results import Results
from sidecar.gateway.worker import Worker
from sidecar.http.headers import via
from sidecar.journal.reserve import Reserve
from sidecar.journal.writer import PATIENCE, Journal
from sidecar.server import agent_check
from sidecar.server.phase import Service
from sidecar.settings import Settings
from sidecar.standby.observations import digest_in
from sidecar.standby.outbox.review import Desk
from sidecar.standby.promotion import Promotion
from sidecar.standby.standby import Standby
from sidecar.storage.changes import start_changes
from sidecar.storage.database import in_request, open_engine
from sidecar.storage.encryption import open_vault
from sidecar.storage.heartbeat import start_heartbeat
from sidecar.storage.instance import named
from sidecar.storage.off_loop import OffLoop
from sidecar.storage.status_files import ask_for_backfill, background_trouble, told
from sidecar.takeover.coordinator import Switchboard, counted
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.sentry import setup_sentry
from sidecar.telemetry.tracing import setup_tracing, time_steps
from sidecar.upstream.internal_client import Errands
from sidecar.upstream.scheduler import FromThreads, Wires, new_upstream

DOUBTS: Final = 8
"""Threads of a worker in which it is found out who somebody is."""
RESULTS: Final = 4
"""Threads in which what became of a stored result is written down."""
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
_running: list[Worker] = []


def process_key(settings: Settings, role: str) -> str:
    return f"{settings.node_name}/{role}/{os.getpid()}"


def create_gateway_app(settings: Settings, service: Service, wires: Wires | None = None) -> Gateway:
    """The gateway of one worker, on whose loop this is called: a Flask application says what the upstream did not.

    `wires` are the connections to the upstream, where a test wants others than real ones.
    """
    setup_sentry(settings)
    traces = setup_tracing(settings)
    contract, name = Contract.load(settings.contract), via(settings.node_name)
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
    journal = _journal(settings)
    recorder = Recorder(journal, contract, settings.node_name, settings.body_cap, open_vault(settings))
    upstream = new_upstream(settings, wires)
    beside, doubts = OffLoop(settings.threads), OffLoop(DOUBTS)
    people, rulebook = People(contract, engine), _rulebook(settings, contract, engine)
    guard = Guard(contract, rulebook, people, Habits(engine), standby, switchboard, BreakGlass(engine))
    asking = Asking(settings, contract, upstream, standby, switchboard, metrics, name, beside)
    pipeline = Pipeline(settings, contract, asking, standby, switchboard, name, guard, recorder, beside, doubts)
    results = None
    if settings.store_results == "on":
        calls = FromThreads(upstream, asyncio.get_event_loop(), RESULTS, "results")
        errands = Errands(settings.max_answer, contract, calls, recorder, Purpose.REPLAY, digest_in)
        results = Results(contract, people, standby, switchboard, errands, name)
    answers = own_answers().wsgi_app
    gateway = Gateway(answers, settings, pipeline, recorder, metrics, guard, service, beside, results)
    worker = Worker(
        settings, engine, heartbeat, start_changes(engine), standby, switchboard, guard, journal, recorder, upstream,
        beside, doubts, metrics, results, traces,
    )  # fmt: skip
    worker.start()
    beside.serve()
    _running.append(worker)
    return gateway


def _journal(settings: Settings) -> Journal:
    """This process's own."""
    held = settings.data / f"reserve-{os.getpid()}"
    return Journal(
        settings.data / "journal",
        settings.node_name,
        named(settings.data, str(os.getpid())),
        durable=settings.record == "durable",
        segment_bytes=settings.journal_segment,
        reserve=Reserve(held) if settings.on_record_failure == "refuse" else None,
    )


def _rulebook(settings: Settings, contract: Contract, engine: Engine) -> Rulebook:
    return Rulebook(load_policies(contract, settings.contract), engine, brake=settings.policy == "report")


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
    keep_fresh(settings, metrics, heartbeat, start_changes(engine), standby, switchboard, rulebook, break_glass)
    if settings.agent_listen is not None:
        agent_check.start(settings.agent_listen, standby.ready, lambda: service.draining)
    return app


def create_background(settings: Settings, service: Service, stop: threading.Event) -> Background:
    """The background work: one process beside the workers."""
    return Background(settings, is_last=lambda: service.draining, stop=stop)
