"""The sidecar's processes: a supervisor with three children, the gateway, the control plane and the background work.

Here is what each of them runs; how they are started, changed and ended is the supervisor's. Starting is always safe.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping
from threading import Event
from typing import Any, Final, Protocol

from sidecar import clock
from sidecar.server.gunicorn import Server, worker_options
from sidecar.server.handover import Handover, found
from sidecar.server.http1 import Application
from sidecar.server.listeners import Address, from_systemd, open_listeners
from sidecar.server.loop_worker import settle_memory
from sidecar.server.phase import Service
from sidecar.server.processes import listen, notify, say_ready
from sidecar.server.supervisor import BEHIND, Role, Supervisor
from sidecar.server.waiting_room import WaitingRoom
from sidecar.server.wsgi import Wsgi, WsgiApplication
from sidecar.settings import SettingError, Settings
from sidecar.signals import ends
from sidecar.storage.migrate import DatabaseAway
from sidecar.storage.private_folder import make_private
from sidecar.storage.status_files import tell
from sidecar.telemetry import metrics
from sidecar.telemetry.logging import setup_logging

log = logging.getLogger(__name__)
LISTENING: Final = "_UNDERSTUDY_LISTENING"
"""Where this process tells a rehearsal of its successor which addresses are taken, and handed on."""
ASK_AGAIN: Final = 1.0
"""Seconds between looks at a database that is waited for."""
NICE: Final = 10
"""By how much background work stands back when the processor is short."""


class Start(Protocol):
    """What is done before anything serves: the module `sidecar.start` is one."""

    def check(self, settings: Settings) -> None:
        """Refuses, without changing anything, settings that cannot be used. Raises."""

    def prepare(self, settings: Settings) -> None:
        """Once, before any process is forked: migrates, makes keys. Raises."""

    def note_absence(self, settings: Settings) -> None:
        """In the gateway's process, before it serves, where no other does meanwhile."""


class Program(Protocol):
    """What the processes run: the module `sidecar.app` is one."""

    def create_gateway_app(self, settings: Settings, service: Service) -> Application:
        """What one of the gateway's workers serves."""

    def create_control_app(self, settings: Settings, service: Service) -> Wsgi:
        """The control plane's."""

    def create_background(self, settings: Settings, service: Service, stop: Event) -> Any:
        """The background work; its `run()` works until `stop`."""

    async def end(self) -> None:
        """At the end of a gateway's worker, on its loop."""

    def close(self) -> None:
        """After that."""


def run(settings: Settings, start: Start, program: Program) -> int:
    """Runs the sidecar until it is told to stop. Returns the exit status."""
    left = found(os.environ)
    if left is None:
        settings.require_upstream()
        make_private(settings.data)
        lock = _lock(settings)
    else:
        lock = left.lock
        clock.adopt(left.clock)
    addresses = _addresses(settings)
    os.environ[LISTENING] = json.dumps(list(addresses.values()))
    inherited = from_systemd(os.environ, os.getpid()) if left is None else left.listeners
    listeners = open_listeners(addresses, inherited)
    service = Service(None if left is None else left.service)
    metrics.prepare(settings.data / "metrics", fresh=left is None)
    setup_logging(settings.log_level)
    _prepare(settings, start, listeners.values() if left is None else ())
    roles = _roles(settings, start, program, listeners, service)
    supervisor = Supervisor(roles, service, settings.drain, [] if left is None else left.children)
    supervisor.on_reload = lambda refused: _tell_reload(settings, refused)
    supervisor.renewed = left is not None
    supervisor.run(
        listeners["listen"].close,
        lambda children: Handover(
            lock,
            service.file,
            clock.offset(),
            {addresses[n]: found.fileno() for n, found in listeners.items()},
            children,
        ),
    )
    return 0


def check(settings: Settings, start: Start) -> None:
    """Whether the sidecar could start with these settings, as far as can be told without starting. Raises."""
    settings.require_upstream()
    start.check(settings)


def rehearse(settings: Settings, start: Start) -> None:
    """All of a start that may fail, in a process of its own: migrates, and listens for a moment where its predecessor
    does not (its addresses are in the environment). Raises."""
    check(settings, start)
    start.prepare(settings)
    taken = {tuple(address) for address in json.loads(os.environ.get(LISTENING, "[]"))}
    addresses = {name: address for name, address in _addresses(settings).items() if address not in taken}
    for listener in open_listeners(addresses, {}).values():
        listener.close()


def _prepare(settings: Settings, start: Start, listeners: Iterable[socket.socket]) -> None:
    """Prepares; waits for a database that is away, and says so to those who come meanwhile and to systemd.

    `listeners`: those that no process of a predecessor serves.
    """
    room = None
    try:
        while True:
            try:
                start.prepare(settings)
                return
            except DatabaseAway as error:
                if room is None:
                    log.warning("%s: waiting for it", error, extra={"fields": {"event.action": "database_awaited"}})
                    why = "the database is away, and is waited for: send nobody here"
                    room = WaitingRoom(listeners, why, settings)
            notify(f"STATUS=waiting for the database\nEXTEND_TIMEOUT_USEC={int(60e6)}")
            time.sleep(ASK_AGAIN)
    finally:
        if room is not None:
            room.close()


def _tell_reload(settings: Settings, refused: str | None) -> None:
    """What became of a reload, for the control plane and for `understudy reload`."""
    try:
        tell(settings, "reload", {"at": time.time(), "refused": refused})
    except OSError as error:
        log.error("what became of a reload cannot be told: %s", error.strerror)


def _addresses(settings: Settings) -> dict[str, Address]:
    return {"listen": settings.listen, "control_listen": settings.control_listen}


def _lock(settings: Settings) -> int:
    lock = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingError(f"UNDERSTUDY_DATA: {settings.data} is in use by another sidecar") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _roles(
    settings: Settings, start: Start, program: Program, listeners: Mapping[str, socket.socket], service: Service
) -> list[Role]:
    def only(name: str) -> socket.socket:
        """In a child: the listener that is its own; a copy of another's would keep it open for nobody."""
        for other in listeners.keys() - {name}:
            listeners[other].close()
        return listeners[name]

    def background(ready: int, _relieves: bool) -> None:
        for listener in listeners.values():
            listener.close()
        _background(settings, program, service, ready)

    return [
        Role(
            "gateway",
            lambda ready, relieves: _gateway(settings, start, program, only("listen"), service, ready, relieves),
            settings.workers, settings.grace + BEHIND,
        ),
        Role(
            "control", lambda ready, _relieves: _control(settings, program, only("control_listen"), service, ready), 1,
            BEHIND,
        ),
        Role("background", background, 1, BEHIND, alone=True),
    ]  # fmt: skip


def _stand_back() -> None:
    """Lets users' work go first. Where that is not allowed, background work goes on as it is: it is needed more."""
    try:
        os.nice(NICE)
    except OSError as error:
        log.info("background work cannot stand back: %s", error.strerror)


def _gateway(
    settings: Settings, start: Start, program: Program, listener: socket.socket, service: Service, ready: int,
    relieves: bool,
) -> None:  # fmt: skip
    listen()
    options = worker_options(listener, settings, settings.workers, settings.grace, ready, program.end)
    options["worker_exit"] = lambda _arbiter, _worker: program.close()
    if not relieves:
        start.note_absence(settings)
    Server(options, lambda: program.create_gateway_app(settings, service)).run()


def _control(settings: Settings, program: Program, listener: socket.socket, service: Service, ready: int) -> None:
    listen()
    options = worker_options(listener, settings, 1, 2.0, ready)
    Server(options, lambda: WsgiApplication(program.create_control_app(settings, service))).run()


def _background(settings: Settings, program: Program, service: Service, ready: int) -> None:
    stop = Event()
    ends(stop)
    listen()
    _stand_back()
    background = program.create_background(settings, service, stop)
    settle_memory()
    say_ready(ready)
    background.run()
