"""`understudy dashboard`: gunicorn with two workers, so that one slow question keeps nobody else waiting.

Nothing is kept in a worker that another one needs: sessions, exports and the trail are in the database.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final

from flask import Flask

from alerts.lifecycle.tables import open_alerts
from dashboard.app import create_app
from dashboard.data import tables
from sidecar.server.gunicorn import BASE, Server
from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from sidecar.storage.private_folder import make_private
from sidecar.telemetry.logging import setup_logging

log = logging.getLogger(__name__)
WORKERS: Final = 2
THREADS: Final = 8
SWITCH: Final = 0.0001
"""Seconds after which a thread that computes lets another one go on. SQLite lets go of the interpreter at each row:
with Python's own 5 ms a patient's page took 6.6 s, in place of 0.9, while findings were prepared beside it."""


def run(settings: Settings, again: Callable[[], Settings] | None = None) -> int:
    """Serves the dashboard until it is told to stop. On SIGHUP its workers begin anew, with the settings that are read
    `again`; where they are no good with those that they had, and the log says why."""
    setup_logging(settings.log_level)
    make_private(settings.data)
    engine = open_engine(settings)
    tables.create_all(engine)  # once, before there are workers that would race
    engine.dispose()
    open_alerts(settings).dispose()
    current = settings

    def reload(_arbiter: Any) -> None:
        nonlocal current
        try:
            current = current if again is None else again()
        except Exception as error:
            said = getattr(error, "message", None) or str(error)
            fields = {"event.action": "reload_refused", "reason": said}
            log.error("not reloaded, all goes on as it was: %s", said, extra={"fields": fields})

    def create() -> Flask:
        sys.setswitchinterval(SWITCH)
        return create_app(current)

    Server(options(settings) | {"on_reload": reload}, create).run()
    return 0


def options(settings: Settings) -> dict[str, Any]:
    """gunicorn's, all of them: no file and no environment adds any."""
    host, port = settings.dashboard_listen
    return BASE | {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": WORKERS,
        "worker_class": "gthread",
        "threads": THREADS,
        "graceful_timeout": 8,
        "proc_name": "understudy-dashboard",
    }
