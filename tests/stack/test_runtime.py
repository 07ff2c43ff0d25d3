"""What is changed while a real HAProxy runs: an endpoint's share, and a sidecar that says that it is about to end."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.haproxy.runtime import Runtime, RuntimeFailed, divided, renew
from sidecar.server.agent_check import answer
from tests.stack.front import Front
from tests.support.stack import Sidecar, ask, free_port, until
from tests.support.upstream import HOLT, Upstream


@pytest.mark.parametrize(
    ("percent", "sidecars", "weights"),
    [(100, 1, (100, 0)), (0, 1, (0, 100)), (25, 1, (25, 75)), (25, 2, (25, 150)), (0.1, 1, (1, 256)), (1, 3, (1, 256))],
)
def test_weights_divide_as_whole_numbers_allow(percent: float, sidecars: int, weights: tuple[int, int]) -> None:
    assert divided(percent, sidecars) == weights


@pytest.mark.parametrize(
    ("asked", "draining", "said"),
    [
        ("\n", False, "ready up"),
        ("\n", True, "drain"),
        ("notes.list\n", False, "down #not all notes are known"),
        ("notes.read\n", False, "ready up"),
        ("notes.read\n", True, "drain"),
        ("nonsense\n", False, None),
    ],
)
def test_the_agents_words(asked: str, draining: bool, said: str | None) -> None:
    known = {"notes.list": (False, "not all notes are known"), "notes.read": (True, "ready")}
    assert answer(asked, known.__getitem__, draining) == said


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        server.state.notes[5] = {"id": 5, "title": "Round", "patient_id": 17, "staff_id": 2}
        yield server


def answerers(front: Front, path: str, requests: int = 40) -> Counter[str]:
    """Who answered: sidecar or upstream, by the field that only a sidecar sets."""
    seen: Counter[str] = Counter()
    for _ in range(requests):
        got = ask(front.port, "GET", path, HOLT)
        assert got.status == 200
        seen["sidecar" if "understudy" in got["Cache-Status"] else "upstream"] += 1
    return seen


@pytest.mark.haproxy
def test_a_share_of_one_endpoint_goes_past_the_sidecars_and_one_that_ends_is_emptied(
    upstream: Upstream, tmp_path: Path
) -> None:
    agent = f"127.0.0.1:{free_port()}"
    given = {"trusted_proxies": "127.0.0.1", "bypass_after": "0s", "agent_listen": agent, "workers": "1", "drain": "3s"}
    with (
        Sidecar(upstream.url, tmp_path / "data", **given) as sidecar,
        Front("haproxy", "inline", sidecar, tmp_path) as front,
    ):
        at = f"haproxy:{front.socket}"
        assert answerers(front, "/notes/5", 8) == {"sidecar": 8}
        done = sidecar.cli("route", "notes.read", "--to", "25%", "--at", at)
        assert (done.returncode, done.stdout) == (0, "notes.read: 25% of requests go through the sidecars\n")
        assert answerers(front, "/notes/5") == {"sidecar": 10, "upstream": 30}
        assert answerers(front, "/patients/17", 8) == {"sidecar": 8}  # of that endpoint alone
        assert sidecar.cli("route", "notes.read", "0", "--at", at).returncode == 0
        assert answerers(front, "/notes/5", 8) == {"upstream": 8}
        assert sidecar.cli("route", "notes.read", "100", "--at", at).returncode == 0
        assert answerers(front, "/notes/5", 8) == {"sidecar": 8}
        for words in (
            ("nonsense", "--to", "5", "--at", at),
            ("notes.read", "--to", "5", "--at", f"haproxy:{tmp_path}/no"),
        ):
            refused = sidecar.cli("route", *words)
            assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert sidecar.cli("route", "notes.read", "--to", "5", "--at", "nothing").returncode != 0

        until(lambda: asked(agent) == "ready up", 20)
        sidecar.process.terminate()
        until(lambda: admin_state(front) != "0", 20, "HAProxy heard the agent's drain")
        assert answerers(front, "/notes/5", 4) == {"upstream": 4}
        sidecar.process.wait(20)
        assert answerers(front, "/notes/5", 4) == {"upstream": 4}


def asked(agent: str) -> str:
    host, port = agent.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"\n")
        return connection.makefile().readline().strip()


def admin_state(front: Front) -> str:
    """HAProxy's own word for drained or in maintenance; 0: neither."""
    lines = Runtime(str(front.socket)).ask("show servers state api").splitlines()
    column = lines[1][2:].split().index("srv_admin_state")
    return next(line.split()[column] for line in lines[2:] if " sidecar1 " in line)


def test_a_runtime_api_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailed, match="runtime API at .*No such file"):
        renew(str(tmp_path / "none"), tmp_path / "x.pem", b"")
