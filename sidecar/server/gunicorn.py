"""gunicorn as we run it: configured by us and by nothing else, and a worker's process made ready for requests."""

from __future__ import annotations

import math
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from sidecar.server.framing import Limits
from sidecar.server.http1 import Application, Serving
from sidecar.server.loop_worker import LAST, LoopWorker, settle_memory
from sidecar.server.processes import die_with_parent, say_ready
from sidecar.settings import Settings
from sidecar.telemetry import metrics

CONNECTIONS: Final = 10_000
"""Connections that a worker holds, at most."""
RESERVED: Final = 512
"""Open files that are not clients' connections: databases, journals, calls upstream, large bodies."""
AT_ONCE: Final = 0.3
"""Seconds in which idle workers end."""
BASE: Final[dict[str, Any]] = {
    "keepalive": 75,
    "timeout": 60,
    "limit_request_line": 8190,
    "forwarder_headers": "",
    "forwarded_allow_ips": "",
    "control_socket_disable": True,
    "accesslog": None,
    "logger_class": "sidecar.telemetry.logging.GunicornLogger",
    "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
    "post_fork": lambda _arbiter, _worker: die_with_parent(),
}
"""What every server of ours has in common."""


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's, which looks only ten times a second whether its workers have ended: idle ones end much sooner, and
    each restart waits for them. A signal that comes meanwhile is heard when AT_ONCE is over."""

    def kill_workers(self, sig: int) -> None:
        super().kill_workers(sig)
        until = time.monotonic() + AT_ONCE
        while sig == signal.SIGTERM and self.WORKERS and time.monotonic() < until:
            time.sleep(0.005)
            self.reap_workers()


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

    def run(self) -> None:
        Master(self).run()


def _descriptors() -> int:
    """How many files a process may have open, once it has asked for all it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else CONNECTIONS + RESERVED


async def _nothing() -> None:
    return


def new_serving(
    settings: Settings, application: Application, at_end: Callable[[], Awaitable[None]] = _nothing
) -> Serving:
    """What a worker's connections have in common, by the settings."""
    limits = Limits(
        settings.max_target, settings.max_body, settings.max_head, settings.max_fields, settings.trusted_proxies
    )
    return Serving(application, limits, settings.data, settings.body_timeout, settings.write_timeout, at_end)


def worker_options(
    listener: socket.socket, settings: Settings, workers: int, grace: float, ready: int,
    at_end: Callable[[], Awaitable[None]] = _nothing,
) -> dict[str, Any]:  # fmt: skip
    def post_worker_init(_worker: Any) -> None:
        settle_memory()
        say_ready(ready)

    def child_exit(_arbiter: Any, worker: Any) -> None:
        metrics.forget(worker.pid)

    return BASE | {
        "bind": f"fd://{listener.detach()}",
        "workers": workers,
        "worker_class": type("Worker", (LoopWorker,), {"new_serving": partial(new_serving, settings, at_end=at_end)}),
        "worker_connections": max(64, min(CONNECTIONS, _descriptors() - RESERVED)),
        "graceful_timeout": math.ceil(grace + LAST),
        "post_worker_init": post_worker_init,
        "child_exit": child_exit,
        "proc_name": "understudy",
    }
