"""gunicorn as we run it: configured by us and by nothing else, and a worker's process made ready for requests."""

from __future__ import annotations

import gc
import math
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from sidecar.server.processes import die_with_parent, say_ready
from sidecar.server.worker import Worker
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


def worker_options(
    listener: socket.socket, settings: Settings, workers: int, threads: int, grace: float, ready: int
) -> dict[str, Any]:
    def post_worker_init(worker: Any) -> None:
        # Each look at a setting by its name would be a search of gunicorn's; there are some per request.
        vars(worker.cfg).update({name: setting.get() for name, setting in worker.cfg.settings.items()})
        gc.collect()
        gc.set_threshold(10_000, 10, 10)  # a request leaves few cycles
        gc.freeze()  # what is here now stays, and is not looked through again
        say_ready(ready)

    def child_exit(_arbiter: Any, worker: Any) -> None:
        metrics.forget(worker.pid)

    return BASE | {
        "bind": f"fd://{listener.detach()}",
        "workers": workers,
        "worker_class": type(
            "Worker",
            (Worker,),
            {
                "body_timeout": settings.body_timeout,
                "write_timeout": settings.write_timeout,
                "largest_head": settings.max_head,
            },
        ),
        "limit_request_line": 0,  # the head as a whole is limited, and the gateway looks at the target
        "limit_request_fields": settings.max_fields,
        "limit_request_field_size": settings.max_head,
        "http_parser": "python",  # the one that the framing was tested with, whatever else is installed
        "threads": threads,
        "worker_connections": max(64, min(CONNECTIONS, _descriptors() - RESERVED)),
        "graceful_timeout": math.ceil(grace),
        "pre_request": lambda _worker, _request: None,  # gunicorn's own logs each request, or looks whether it should
        "post_worker_init": post_worker_init,
        "child_exit": child_exit,
        "proc_name": "understudy",
    }
