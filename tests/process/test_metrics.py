"""Metrics of several real processes add up, satisfy promtool, and say nothing of what is unknown."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.telemetry.metrics import SharedState
from tests.support.load import Load
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import HOLT, Upstream

PROGRAM = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from sidecar.telemetry.metrics import Metrics, SharedState, forget, prepare, serve_metrics
from sidecar.exchange import AnsweredBy, Client, Exchange, Outcome, Purpose
from sidecar.http.messages import Request, Response
prepare(Path(sys.argv[1]))

def work():
    metrics = Metrics()
    made = Exchange("i", 0, Request("GET", "/notes?secret=1", []), "r", "t", endpoint="GET /notes",
                    response=Response(200), outcome=Outcome.SUCCESS, answered_by=AnsweredBy.UPSTREAM,
                    ended=2_900_000_000)
    metrics.request(made)
    made.request.method = "BREW"
    metrics.request(made)
    made.purpose = Purpose.BACKFILL
    metrics.request(made)
    metrics.attempt("GET /notes", Outcome.FAILURE, Client.USER)
    metrics.flush()
    metrics.takeover("notes.list")
    metrics.journal(SimpleNamespace(syncs=2, failures=1))
    metrics.log(4)
    metrics.log(5)
    metrics.dead_letter_events()
    metrics.backfill_request(Outcome.SUCCESS)

for _ in range(2):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    forget(pid)
from flask import Flask
app = Flask("x")
serve_metrics(app, SharedState({"circuit_state": lambda: {"GET /notes": 2},
                                "parity_ratio": lambda: {"GET /notes": None},
                                "outbox_pending": lambda: 0, "journal_unshipped_events": lambda: None}))
sys.stdout.buffer.write(app.test_client().get("/metrics").data)
"""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("data") / "metrics"
    directory.mkdir()
    (directory / "counter_1.db").write_bytes(b"left over")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory)], capture_output=True, text=True, timeout=30, check=False,
        env=environ,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_processes_add_up(scraped: str) -> None:
    lines = scraped.splitlines()
    labels = 'answered_by="upstream",client="user",code="200",endpoint="GET /notes",method="GET",outcome="success"'
    assert f"understudy_requests_total{{{labels}}} 2.0" in lines
    brewed = labels.replace('method="GET"', 'method="other"')
    assert f"understudy_requests_total{{{brewed}}} 2.0" in lines
    duration = (
        "understudy_request_duration_seconds_bucket"
        '{client="user",endpoint="GET /notes",le="%s",outcome="success",upstream="not_asked"}'
    )
    assert duration % "2.5" + " 0.0" in lines
    assert duration % "3.0" + " 4.0" in lines
    assert "understudy_journal_syncs_total 4.0" in lines
    assert "understudy_log_lines_dropped_total 10.0" in lines
    assert 'understudy_takeovers_total{endpoint="notes.list"} 2.0' in lines


def test_the_unknown_is_absent(scraped: str) -> None:
    assert 'understudy_circuit_state{endpoint="GET /notes"} 2.0' in scraped
    assert "understudy_outbox_pending 0.0" in scraped
    assert "parity_ratio" not in scraped
    assert "unshipped" not in scraped


@pytest.mark.prometheus
def test_promtool_has_no_complaint(scraped: str) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None
    ran = subprocess.run([promtool, "check", "metrics"], input=scraped, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_gauge_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="no such gauge: mood"):
        SharedState({"mood": lambda: 1})


def test_importing_does_not_choose_how_prometheus_counts() -> None:
    code = "import sys, sidecar.telemetry.metrics, sidecar.control.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path.cwd()).returncode == 0


@pytest.mark.prometheus
def test_the_real_sidecars_metrics_under_traffic(tmp_path: Path) -> None:
    """Several gunicorn workers and the background process in one scrape: promtool is content, and the sums right."""
    promtool = shutil.which("promtool")
    assert promtool is not None
    with Upstream() as upstream, Sidecar(upstream.url, tmp_path / "data", workers="3") as sidecar:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        with Load(sidecar.port, users=6, pause=0.005) as load:
            load.more(150)
            upstream.fault("500", "/patients", times=10)
            assert sidecar.ask("GET", "/wp-login.php", HOLT).status == 500
            assert sidecar.ask("POST", "/notes", HOLT, {"title": "x"}).status == 201
            busy = ask(sidecar.control, "GET", "/metrics")
            load.more(150)
        calm = until(
            lambda: _counts(sidecar, len(load.answered) + 2), what=f"{len(load.answered) + 2} requests counted"
        )
    for scraped in (busy.body.decode(), calm):
        ran = subprocess.run([promtool, "check", "metrics"], input=scraped, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert f'\nunderstudy_build_info{{version="{__version__}"}} 1.0\n' in calm
    for name in ("upstream_attempts_total", "request_duration_seconds_bucket", "circuit_state", "journal_syncs_total"):
        assert f"\nunderstudy_{name}" in calm


def _counts(sidecar: Sidecar, total: int) -> str | None:
    """The metrics, once they count so many requests."""
    scraped = ask(sidecar.control, "GET", "/metrics").body.decode()
    counted = [
        line.rpartition(" ")[2] for line in scraped.splitlines() if line.startswith("understudy_requests_total{")
    ]
    return scraped if sum(map(float, counted)) == total else None
