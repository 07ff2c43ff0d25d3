"""A reload says what became of it; alerts and dashboard take SIGHUP; a database away at the start is waited for."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Server, programs
from tests.support.stack import Sidecar, ask, free_port, until
from tests.support.upstream import HOLT, Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def test_reload_has_an_exit_status_and_a_refusal_is_seen(tmp_path: Path, upstream: Upstream) -> None:
    config = tmp_path / "understudy.toml"
    config.write_text('log_level = "info"\n')
    with Sidecar(upstream.url, tmp_path / "data", arguments=["--config", str(config)]) as side:
        done = side.cli("reload")
        assert (done.returncode, done.stdout) == (0, "reloaded\n"), done.stderr
        assert ask(side.control, "GET", "/healthz").json() == {"status": "alive"}
        config.write_text('log_level = "loud"\n')
        done = side.cli("reload")
        assert done.returncode == 1
        assert "LOG_LEVEL" in done.stderr
        assert "LOG_LEVEL" in ask(side.control, "GET", "/healthz").json()["reload_refused"]
        assert "understudy_reload_refused 1.0" in ask(side.control, "GET", "/metrics").body.decode()
        config.write_text("")
        assert side.cli("reload").returncode == 0
        assert "reload_refused" not in ask(side.control, "GET", "/healthz").json()
    assert "no sidecar runs" in side.cli("reload").stderr


def test_after_a_reload_the_standby_knows_what_it_knew_and_after_a_restart_nothing_is_certain(
    tmp_path: Path, upstream: Upstream
) -> None:
    """BYPASS_AFTER=0s is what a balancer asks for that turns to the upstream at once: no absence is too short."""
    upstream.state.patients[17] = {"id": 17, "name": "Rex"}
    with Sidecar(upstream.url, tmp_path / "data", bypass_after="0s", unverified="refuse") as side:

        def gaps() -> int:
            return side.log.read_text().count('"gap"')

        def in_an_outage() -> int:
            return side.ask("GET", "/patients/17", HOLT).status

        assert side.ask("GET", "/patients/17", HOLT).status == 200
        assert side.plane("POST", "/endpoints/patients.read/takeover", {}).status == 200
        until(lambda: in_an_outage() == 200, 20)
        before = gaps()
        assert side.cli("reload").returncode == 0
        assert {in_an_outage() for _ in range(20)} == {200}
        assert gaps() == before
        side.stop()
        side.start()
        assert gaps() == before + 1
        assert in_an_outage() == 503


@pytest.mark.parametrize("command", ["alerts", "dashboard"])
def test_alerts_and_dashboard_live_through_sighup(tmp_path: Path, command: str) -> None:
    config = tmp_path / "understudy.toml"
    config.write_text(
        f'data = "{tmp_path / "data"}"\ndashboard_listen = "127.0.0.1:{free_port()}"\nalert_every = "1s"\n'
    )
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "--config", str(config), command], stdout=out, stderr=out
        )
    try:
        until(lambda: '"evaluating"' in log.read_text() or "Booting worker" in log.read_text(), 30, log.read_text())
        process.send_signal(signal.SIGHUP)
        until(lambda: '"reload"' in log.read_text() or log.read_text().count("Booting worker") >= 4, 30)
        assert process.poll() is None
        config.write_text('alert_every = "soon"\n')
        process.send_signal(signal.SIGHUP)
        until(lambda: '"reload_refused"' in log.read_text(), 30)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.postgresql
def test_a_database_that_is_away_at_the_start_is_waited_for(tmp_path: Path, upstream: Upstream) -> None:
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    server = Server(where)
    server.make()
    started: list[Sidecar] = []
    side = Sidecar.__new__(Sidecar)

    def start() -> None:
        side.__init__(upstream.url, tmp_path / "data", evidence=None, database=server.url)  # type: ignore[misc]
        started.append(side)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        until(lambda: hasattr(side, "process"), 20)
        until(lambda: ask(side.control, "GET", "/healthz", timeout=2).status == 503, 20)
        assert "database" in ask(side.control, "GET", "/readyz").json()["detail"]
        refused = ask(side.port, "POST", "/notes", HOLT, {"title": "x"})
        assert (refused.status, refused["content-type"]) == (503, "application/problem+json")
        time.sleep(1)
        assert side.process.poll() is None
        server.start()
        thread.join(30)
        assert started, side.log.read_text()
        assert ask(side.control, "GET", "/readyz").status == 200
        assert ask(side.port, "GET", "/patients", HOLT).status == 200
    finally:
        thread.join(30)
        if hasattr(side, "process"):
            side.stop()
        if started:
            server.stop()
        shutil.rmtree(server.home, ignore_errors=True)
