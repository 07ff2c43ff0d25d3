"""The sidecar's processes: a supervisor with three children, the gateway, the control plane and the background work.

Here is what each of them runs; how they are started, changed and ended is the supervisor's. Starting is always safe.
"""

from __future__ import annotations

import fcntl
import gc
import json
import math
import os
import resource
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication

from sidecar import clock, metrics
from sidecar.handover import Handover, found
from sidecar.listeners import Address, from_systemd, open_listeners
from sidecar.processes import die_with_parent, say_ready
from sidecar.service import Service
from sidecar.settings import SettingError, Settings
from sidecar.supervisor import BEHIND, Role, Supervisor
from sidecar.telemetry import setup_logging
from sidecar.worker import Worker

CONNECTIONS: Final = 10_000
"""Connections that a worker holds, at most."""
RESERVED: Final = 512
"""Open files that are not clients' connections: databases, journals, calls upstream, large bodies."""
LISTENING: Final = "_UNDERSTUDY_LISTENING"
"""Where this process tells a rehearsal of its successor which addresses are taken, and handed on."""
NICE: Final = 10
"""By how much background work stands back when the processor is short."""


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured by us and by nothing else: no file, no GUNICORN_CMD_ARGS, no command line."""

    def __init__(self, options: dict[str, Any], factory: Callable[[], Any]) -> None:
        self._options = options
        self._factory = factory
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._options.items():
            self.cfg.set(key, value)

    def load(self) -> Any:
        return self._factory()


def run(settings: Settings) -> int:
    """Runs the sidecar until it is told to stop. Returns the exit status."""
    from sidecar import app

    left = found(os.environ)
    if left is None:
        settings.require_upstream()
        settings.data.mkdir(parents=True, exist_ok=True)
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
    app.prepare(settings)
    roles = _roles(settings, listeners, service)
    supervisor = Supervisor(roles, service, settings.drain, [] if left is None else left.children)
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


def check(settings: Settings) -> None:
    """Whether the sidecar could start with these settings, as far as can be told without starting. Raises."""
    from sidecar import app

    settings.require_upstream()
    app.check(settings)


def rehearse(settings: Settings) -> None:
    """All of a start that may fail, in a process of its own: migrates, and listens for a moment where its predecessor
    does not (its addresses are in the environment). Raises."""
    from sidecar import app

    settings.require_upstream()
    app.prepare(settings)
    taken = {tuple(address) for address in json.loads(os.environ.get(LISTENING, "[]"))}
    addresses = {name: address for name, address in _addresses(settings).items() if address not in taken}
    for listener in open_listeners(addresses, {}).values():
        listener.close()


def _addresses(settings: Settings) -> dict[str, Address]:
    return {"listen": settings.listen, "control_listen": settings.control_listen}


def _lock(settings: Settings) -> int:
    lock = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingError(f"UNDERSTUDY_DATA: {settings.data} is in use by another sidecar") from None
    return lock


def _roles(settings: Settings, listeners: Mapping[str, socket.socket], service: Service) -> list[Role]:
    def only(name: str) -> socket.socket:
        """In a child: the listener that is its own; a copy of another's would keep it open for nobody."""
        for other in listeners.keys() - {name}:
            listeners[other].close()
        return listeners[name]

    def background(ready: int) -> None:
        for listener in listeners.values():
            listener.close()
        _background(settings, ready)

    return [
        Role(
            "gateway", lambda ready: _gateway(settings, only("listen"), service, ready), settings.workers,
            settings.grace + BEHIND,
        ),
        Role("control", lambda ready: _control(settings, only("control_listen"), service, ready), 1, BEHIND),
        Role("background", background, 1, BEHIND, alone=True),
    ]  # fmt: skip


def _descriptors() -> int:
    """How many files a process may have open, once it has asked for all it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else CONNECTIONS + RESERVED


def _options(
    listener: socket.socket, workers: int, threads: int, grace: float, ready: int, body_timeout: float
) -> dict[str, Any]:
    def post_fork(_arbiter: Any, _worker: Any) -> None:
        die_with_parent()

    def post_worker_init(worker: Any) -> None:
        # Each look at a setting by its name would be a search of gunicorn's; there are some per request.
        vars(worker.cfg).update({name: setting.get() for name, setting in worker.cfg.settings.items()})
        gc.collect()
        gc.set_threshold(10_000, 10, 10)  # a request leaves few cycles
        gc.freeze()  # what is here now stays, and is not looked through again
        say_ready(ready)

    def child_exit(_arbiter: Any, worker: Any) -> None:
        metrics.forget(worker.pid)

    return {
        "bind": f"fd://{listener.detach()}",
        "workers": workers,
        "worker_class": type("Worker", (Worker,), {"body_timeout": body_timeout}),
        "http_parser": "python",  # the one that the framing was tested with, whatever else is installed
        "threads": threads,
        "worker_connections": max(64, min(CONNECTIONS, _descriptors() - RESERVED)),
        "keepalive": 75,
        "timeout": 60,
        "graceful_timeout": math.ceil(grace),
        "limit_request_line": 8190,
        "forwarder_headers": "",
        "forwarded_allow_ips": "",
        "control_socket_disable": True,
        "accesslog": None,
        "logger_class": "sidecar.telemetry.GunicornLogger",
        "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
        "pre_request": lambda _worker, _request: None,  # gunicorn's own logs each request, or looks whether it should
        "post_fork": post_fork,
        "post_worker_init": post_worker_init,
        "child_exit": child_exit,
        "proc_name": "understudy",
    }


def _gateway(settings: Settings, listener: socket.socket, service: Service, ready: int) -> None:
    from sidecar import app

    options = _options(listener, settings.workers, settings.threads, settings.grace, ready, settings.body_timeout)
    options["worker_exit"] = lambda _arbiter, _worker: app.close()
    app.note_absence(settings)
    Server(options, lambda: app.create_app(settings, service)).run()


def _control(settings: Settings, listener: socket.socket, service: Service, ready: int) -> None:
    from sidecar import app

    options = _options(listener, 1, 8, 2.0, ready, settings.body_timeout)
    Server(options, lambda: app.create_control_app(settings, service)).run()


def _background(settings: Settings, ready: int) -> None:
    from sidecar.background import Background

    os.nice(NICE)
    background = Background(settings)
    say_ready(ready)
    background.run()
