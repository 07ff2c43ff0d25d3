"""The sidecars that share a database know of each other: one name each, and one that is gone is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.support.postgres import Server, running
from tests.support.stack import Sidecar, free_port, until
from tests.support.upstream import HOLT, Upstream

pytestmark = pytest.mark.postgresql


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def told(sidecar: Sidecar) -> dict[str, dict[str, object]]:
    got = sidecar.cli("node", "list", "--format", "json")
    assert got.returncode == 0, got.stderr
    return {row["node"]: row for row in json.loads(got.stdout)}


def gauge(sidecar: Sidecar, name: str) -> dict[str, float]:
    lines = sidecar.plane("GET", "/metrics").body.decode().splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
    return {words[0].removeprefix(name): float(words[2]) for words in found}


def test_a_node_that_is_gone_is_told_and_what_it_has_not_shipped_is_late_until_it_is_adopted(
    server: Server, tmp_path: Path
) -> None:
    with FakeElasticsearch() as store, Upstream() as upstream:
        shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "1"}
        shared |= {"elasticsearch": store.url}
        with (
            Sidecar(upstream.url, tmp_path / "one", node="one", **shared) as one,
            Sidecar(upstream.url, tmp_path / "two", node="two", **shared) as two,
        ):
            until(lambda: {row["unshipped"] for row in told(one).values()} == {0}, what="both have told")
            rows = told(one)
            assert {(row["state"], row["version"]) for row in rows.values()} == {("live", rows["one"]["version"])}
            assert rows["one"]["contract"] == rows["two"]["contract"] != ""
            assert rows["two"]["control"] == f"127.0.0.1:{two.control}"
            store.refusing = True
            assert two.ask("GET", "/notes", HOLT).status == 200
            until(lambda: told(one)["two"]["unshipped"] == 1, what="it says what is not shipped")
            two.kill()
            store.refusing = False
            until(lambda: told(one)["two"]["state"] == "silent", 20, "it is gone")
            assert gauge(one, "understudy_node_silent_seconds")['{node="two"}'] > 9
            assert gauge(one, "understudy_journal_behind_seconds")[""] > 9
            refused = one.cli("node", "remove", "two")
            assert refused.returncode == 1
            assert "1 events" in refused.stderr
            adopted = one.cli("node", "adopt", str(two.data))
            assert (adopted.returncode, adopted.stdout) == (0, "1 events shipped\ntwo: removed\n"), adopted.stderr
            assert list(told(one)) == ["one"]
            assert gauge(one, "understudy_journal_behind_seconds")[""] < 9
            assert one.cli("node", "adopt", str(one.data)).returncode == 1  # it ships by itself


def test_a_drained_node_sends_users_elsewhere_and_is_no_alert_when_it_stops(server: Server, tmp_path: Path) -> None:
    shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "1"}
    with (
        Upstream() as upstream,
        Sidecar(upstream.url, tmp_path / "one", node="one", **shared) as one,
        Sidecar(upstream.url, tmp_path / "two", node="two", **shared) as two,
    ):
        assert one.cli("node", "drain", "two").returncode == 0
        until(lambda: not two.healthy(), 5, "it turns away")
        assert one.healthy()
        assert two.ask("GET", "/notes", HOLT).status == 200  # who is there is served
        assert one.cli("node", "remove", "two").returncode == 1  # it is alive
        two.stop()
        assert set(gauge(one, "understudy_node_silent_seconds")) == {'{node="one"}'}
        two.start()
        assert two.healthy()


def test_two_that_are_alive_cannot_have_one_name_and_the_next_after_a_death_can(server: Server, tmp_path: Path) -> None:
    with FakeElasticsearch() as store, Upstream() as upstream:
        shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "1", "node": "one"}
        shared |= {"elasticsearch": store.url}
        with Sidecar(upstream.url, tmp_path / "first", **shared) as first:
            environ = {**first.environ, "UNDERSTUDY_DATA": str(tmp_path / "second")}
            environ |= {f"UNDERSTUDY_{name}": f"127.0.0.1:{free_port()}" for name in ("LISTEN", "CONTROL_LISTEN")}
            command = [sys.executable, "-m", "sidecar", "sidecar"]
            ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode == 1
            assert "another sidecar that runs is called 'one'" in ended.stdout + ended.stderr
            assert first.ask("GET", "/notes", HOLT).status == 200
            until(lambda: first.cli("audit", "verify").returncode == 0, 20, "its journal is whole")
            until(lambda: told(first)["one"]["unshipped"] == 0, what="shipped")
            first.kill()
            with Sidecar(upstream.url, tmp_path / "second", **shared) as second:
                assert second.ask("GET", "/notes", HOLT).status == 200
                until(lambda: second.cli("audit", "verify").returncode == 0, 20, "nothing is missed in its journal")


def test_one_that_was_paused_while_another_took_its_name_serves_nobody(server: Server, tmp_path: Path) -> None:
    with Upstream() as upstream:
        shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "1", "node": "one"}
        with Sidecar(upstream.url, tmp_path / "first", **shared) as first:
            os.killpg(first.process.pid, signal.SIGSTOP)
            try:
                with Sidecar(upstream.url, tmp_path / "second", **shared) as second:
                    os.killpg(first.process.pid, signal.SIGCONT)
                    until(lambda: first.plane("GET", "/healthz").status == 503, 10, "it gives way")
                    assert second.healthy()
            finally:
                os.killpg(first.process.pid, signal.SIGCONT)
