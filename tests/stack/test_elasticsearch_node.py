"""A node starts, answers, survives kill -9 with its data, dies with its parent, and what is missing is named."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from compose.elasticsearch import java, node
from compose.elasticsearch.java import Missing, java_home, maven, release
from compose.elasticsearch.node import VERSIONS, Node, NodeError, free_port, prepare
from tests.support.nodes import prepared


def wait_until_gone(pid: int, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while Path(f"/proc/{pid}/exe").exists():
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def fake_jdk(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "javac").touch()
    (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\n')
    return home


@pytest.fixture
def jvms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "JVMS", tmp_path / "jvm")
    return tmp_path / "jvm"


@pytest.mark.parametrize(("text", "major"), [("1.8.0_402", 8), ("17.0.15", 17), ("25", 25), ("21-ea", 21)])
def test_a_jdks_version(tmp_path: Path, text: str, major: int) -> None:
    assert release(fake_jdk(tmp_path / "jdk", text)) == major


def test_the_newest_java_is_taken(jvms: Path) -> None:
    fake_jdk(jvms / "java-17", "17.0.15")
    newest = fake_jdk(jvms / "temurin-25", "25.0.1")
    fake_jdk(jvms / "java-9", "9.0.4")
    assert java_home("9.5.3") == java_home("8.19.21") == newest


def test_a_java_that_is_too_old_is_named(jvms: Path) -> None:
    old = fake_jdk(jvms / "java-17", "17.0.15")
    assert java_home("8.19.21") == old
    with pytest.raises(Missing, match=r"Elasticsearch 9\.5\.3 needs a JDK 21 or later; found 17 in .*java-17"):
        java_home("9.5.3")


def test_no_java_at_all(jvms: Path) -> None:
    with pytest.raises(Missing, match="needs a JDK 17 or later; found none"):
        java_home("8.19.21")


def test_no_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="mvn is not on PATH"):
        maven()


@pytest.fixture
def ready() -> None:
    prepared()


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("ready")
class TestNode:
    def test_it_is_prepared_once(self) -> None:
        home = prepare(VERSIONS[0])
        before = home.stat().st_mtime_ns
        assert prepare(VERSIONS[0]) == home == node.cache(VERSIONS[0])
        assert home.stat().st_mtime_ns == before
        assert not [left for left in home.parent.iterdir() if left.name.startswith(f"{VERSIONS[0]}.")]

    def test_a_version_that_does_not_exist_leaves_nothing_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(NodeError, match=r"8\.0\.999"):
            prepare("8.0.999")
        assert list((tmp_path / "understudy" / "elasticsearch").iterdir()) == []

    def test_its_data_survives_kill_9_and_it_listens_on_loopback_only(self, tmp_path: Path) -> None:
        node = Node(VERSIONS[0], tmp_path)
        node.start()
        try:
            put(f"{node.url}/things/_doc/1?refresh=true", {"a": 1})
            assert listening(node.port)
            assert listening(node.port) <= {"0100007F", "0000000000000000FFFF00000100007F"}
            node.kill()
            assert not node.running
            node.start()
            with urllib.request.urlopen(f"{node.url}/things/_doc/1", timeout=10) as answer:
                assert json.load(answer)["_source"] == {"a": 1}
        finally:
            node.stop()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(node.url, timeout=2)

    def test_a_port_that_is_taken_is_said(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(NodeError, match=r"(?s)ended with 1: .*(Address already in use|BindHttpException)"):
                Node(VERSIONS[0], tmp_path, taken.getsockname()[1]).start()

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
    def test_it_ends_with_its_parent(self, tmp_path: Path, end: signal.Signals) -> None:
        command = [sys.executable, "-m", "compose.elasticsearch.node", "--port", str(free_port())]
        with subprocess.Popen([*command, "--home", str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            line = parent.stdout.readline()
            pid = int(line.rpartition("(pid ")[2].rstrip(")\n"))
            parent.send_signal(end)
            parent.wait(20)
        wait_until_gone(pid)


def put(url: str, document: object) -> None:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    request.method = "PUT"
    urllib.request.urlopen(request, timeout=10).close()


def listening(port: int) -> set[str]:
    """The addresses, in the kernel's notation, on which a port is listened on."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                found.add(address.rpartition(":")[0])
    return found
