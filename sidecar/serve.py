"""The sidecar's processes: a supervisor with three children, the gateway, the control plane and the background work.

The supervisor starts them, starts one again that ends, and passes on the order to stop. All share one process group; a
child whose parent dies is killed by the kernel, so that nothing outlives the supervisor. Starting again is always safe.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from sidecar import metrics
from sidecar.settings import SettingError, Settings

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG: Final = 1
GRACE: Final = 10.0
"""Seconds that children get to end by themselves."""
RESTART_AFTER: Final = (0.1, 0.5, 2.0, 5.0)
"""Seconds before a child that ended is started again: the longer, the more often it ended within a minute."""

HANDFUL: Final = 4
BREATH: Final = 0.0005
"""Seconds."""
NICE: Final = 10
"""By how much background work stands back when the processor is short."""


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies (Linux; elsewhere gunicorn's own check remains)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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


class Worker(ThreadWorker):  # type: ignore[misc]
    """A worker that has its hands full takes a breath after each new connection, so that its siblings get the next.

    Who opens many at once would else have them all at the worker that woke first, and keep them there.
    """

    def accept(self, listener: Any) -> None:
        super().accept(listener)
        if self.nr_conns > HANDFUL:
            time.sleep(BREATH)


def run(settings: Settings) -> int:
    """Runs the sidecar until it is told to stop. Returns the exit status."""
    settings.require_upstream()
    settings.data.mkdir(parents=True, exist_ok=True)
    lock = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingError(f"UNDERSTUDY_DATA: {settings.data} is in use by another sidecar") from None
    metrics.prepare(settings.data / "metrics")
    return _Supervisor(settings).run()


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roles: dict[str, Callable[[Settings], None]] = {
            "gateway": _gateway, "control": _control, "background": _background,
        }  # fmt: skip
        self._pids: dict[int, str] = {}
        self._ended: dict[str, list[float]] = {role: [] for role in self._roles}
        self._stop = False

    def run(self) -> int:
        from sidecar import app
        from sidecar.telemetry import setup_logging

        setup_logging(self._settings.log_level)
        app.prepare(self._settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        for role in self._roles:
            self._start(role)
        while not self._stop:
            self._reap()
            time.sleep(0.1)
        self._end()
        return 0

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._stop = True

    def _start(self, role: str) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                die_with_parent()
                if os.getppid() == parent:
                    self._roles[role](self._settings)
                    code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                log.exception(
                    "a process of the sidecar broke", extra={"fields": {"event.action": "process_broke", "role": role}}
                )
            finally:
                logging.shutdown()
                os._exit(code)
        self._pids[pid] = role

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            role = self._pids.pop(pid, None)
            if role is not None and not self._stop:
                self._restart(role, os.waitstatus_to_exitcode(status))

    def _restart(self, role: str, status: int) -> None:
        now = time.monotonic()
        self._ended[role] = [t for t in self._ended[role] if now - t < 60] + [now]
        pause = RESTART_AFTER[min(len(self._ended[role]), len(RESTART_AFTER)) - 1]
        fields = {"event.action": "process_ended", "role": role, "status": status, "restart_in": pause}
        log.error("a process of the sidecar ended and is started again", extra={"fields": fields})
        time.sleep(pause)
        self._start(role)

    def _end(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while self._pids and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.02)
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)


def _options(settings: Settings, listen: tuple[str, int], workers: int, threads: int) -> dict[str, Any]:
    def post_fork(_arbiter: Any, _worker: Any) -> None:
        die_with_parent()

    def post_worker_init(_worker: Any) -> None:
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again would hold up requests

    def child_exit(_arbiter: Any, worker: Any) -> None:
        metrics.forget(worker.pid)

    host, port = listen
    return {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": workers,
        "worker_class": Worker,
        "http_parser": "python",  # the one that the framing was tested with, whatever else is installed
        "threads": threads,
        "worker_connections": 10_000,
        "keepalive": 75,
        "timeout": 60,
        "graceful_timeout": int(GRACE) - 2,
        "limit_request_line": 8190,
        "forwarder_headers": "",
        "forwarded_allow_ips": "",
        "control_socket_disable": True,
        "accesslog": None,
        "logger_class": "sidecar.telemetry.GunicornLogger",
        "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
        "post_fork": post_fork,
        "post_worker_init": post_worker_init,
        "child_exit": child_exit,
        "proc_name": "understudy",
    }


def _gateway(settings: Settings) -> None:
    from sidecar import app

    options = _options(settings, settings.listen, settings.workers, settings.threads)
    options["worker_exit"] = lambda _arbiter, _worker: app.close()
    app.note_absence(settings)
    Server(options, lambda: app.create_app(settings)).run()


def _control(settings: Settings) -> None:
    from sidecar import app

    Server(_options(settings, settings.control_listen, 1, 8), lambda: app.create_control_app(settings)).run()


def _background(settings: Settings) -> None:
    from sidecar.background import Background

    os.nice(NICE)
    Background(settings).run()
