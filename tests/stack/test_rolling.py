"""Nobody notices a restart, a reload or an upgrade; the long version is `python -m tests.stack.rolling`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.rolling import play
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import HOLT, Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


@pytest.mark.parametrize(
    "way", ["single", pytest.param("pair", marks=[pytest.mark.haproxy, pytest.mark.postgresql, pytest.mark.slow])]
)
def test_no_request_fails_over_restarts(way: str, tmp_path: Path) -> None:
    played = play(way, tmp_path, 240, 2)
    assert played.tally.failures == [], str(played)
    assert (played.lost, played.twice) == ([], []), str(played)
    assert len(played.tally.titles) > 30


def test_a_request_under_way_is_finished_by_those_who_began_it(upstream: Upstream, tmp_path: Path) -> None:
    with Sidecar(upstream.url, tmp_path / "data") as sidecar:
        upstream.fault("slow", "/patients/17", seconds=2)
        got: list[int] = []
        slow = threading.Thread(target=lambda: got.append(sidecar.ask("GET", "/patients/17", HOLT).status))
        slow.start()
        until(lambda: upstream.seen("/patients/17"), what="the upstream has it")
        sidecar.reload()
        slow.join(20)
        assert got == [200]
        assert sidecar.process.poll() is None


def test_a_kept_connection_is_told_to_close_and_loses_nothing(upstream: Upstream, tmp_path: Path) -> None:
    """The next request on it is answered, with `Connection: close`; a pipelined one behind that is not executed."""
    post = b'POST /notes HTTP/1.1\r\nHost: x\r\n%sContent-Length: 13\r\n\r\n{"title":"%s"}'
    with Sidecar(upstream.url, tmp_path / "data", workers="1", drain="2s") as sidecar:
        with socket.create_connection(("127.0.0.1", sidecar.port), 20) as kept:
            fields = f"Authorization: {HOLT['Authorization']}\r\n".encode()
            kept.sendall(post % (fields, b"a"))
            assert b"keep-alive" in kept.recv(65536)
            sidecar.process.terminate()
            until(lambda: not sidecar.healthy(), what="health checks fail first")
            assert sidecar.ask("GET", "/patients/17", HOLT)["Connection"] == "close"  # others are served until then
            kept.sendall(post % (fields, b"b") + post % (fields, b"c"))
            told = b""
            while chunk := kept.recv(65536):
                told += chunk
        assert told.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in told
        assert sidecar.process.wait(20) == 0
    assert [row["title"] for row in upstream.state.notes.values()] == ["a", "b"]


def test_what_cannot_start_does_not_replace_what_runs(upstream: Upstream, tmp_path: Path) -> None:
    """Settings are read anew at SIGHUP; bad ones are refused with the reason, in one line of the log."""
    config = tmp_path / "understudy.toml"
    config.write_text('log_level = "info"\n')
    with Sidecar(upstream.url, tmp_path / "data", arguments=("--config", str(config))) as sidecar:
        before = sidecar.processes()
        for wrong, why in (
            ('deadline = "soon"', "UNDERSTUDY_DEADLINE: expected a duration"),
            ('contract = "nil"', "nil"),
        ):
            config.write_text(wrong + "\n")
            sidecar.process.send_signal(signal.SIGHUP)
            until(lambda why=why: _refusals(sidecar, why), 30, f"{why}: refused")  # type: ignore[misc]
        assert sidecar.processes() == before
        assert sidecar.ask("GET", "/patients/17", HOLT).status == 200
        config.write_text('max_body = "1KiB"\n')
        sidecar.reload()
        assert sidecar.ask("POST", "/notes", HOLT, {"title": "x" * 2000}).status == 413


def _refusals(sidecar: Sidecar, why: str) -> list[str]:
    lines = sidecar.log.read_text().splitlines()
    return [line for line in lines if "reload_refused" in line and why in line]


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None and os.environ.get("UNDERSTUDY_TESTS") != "all",
    reason="systemd-socket-activate is not on PATH",
)
def test_sockets_may_come_from_systemd(upstream: Upstream, tmp_path: Path) -> None:
    """The balancer's connections wait in systemd's socket while the sidecar is started again."""
    from tests.support.stack import free_port

    users, control = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
    environ |= {
        "UNDERSTUDY_UPSTREAM": upstream.url, "UNDERSTUDY_DATA": str(tmp_path / "data"), "UNDERSTUDY_LISTEN": users,
        "UNDERSTUDY_CONTROL_LISTEN": control, "UNDERSTUDY_WORKERS": "1", "UNDERSTUDY_DRAIN": "0s",
    }  # fmt: skip
    command = ["systemd-socket-activate", "-l", users, "-l", control, *_passed(environ)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "sidecar", "sidecar"], env=environ, stdout=log, stderr=log
        )
    try:
        port = int(users.rpartition(":")[2])
        until(lambda: ask(port, "GET", "/patients/17", HOLT).status == 200, 20, "answered")
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _passed(environ: dict[str, str]) -> list[str]:
    """systemd-socket-activate passes on only what it is told to."""
    wanted = [key for key in environ if key.startswith("UNDERSTUDY_") or key in ("PATH", "PYTHONPATH")]
    return [f"--setenv={key}={environ[key]}" for key in wanted]
