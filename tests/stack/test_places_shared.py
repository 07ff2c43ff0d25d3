"""Two sidecars on one PostgreSQL put no more calls in flight than one would, and who is asked more may use more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Server, running
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Fault, Upstream

pytestmark = pytest.mark.postgresql
LIMIT = 8
CLIENTS = 16
"""Of each sidecar: more than there are places."""
TARGETS = (
    "/notes/1",
    "/notes",
    "/patients/1",
    "/patients",
    "/staffs/1",
    "/staffs",
    "/staffs/me",
    "/hospitals/1",
    "/hospitals",
)
"""Of so many endpoints that one leaves the last place to another."""


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


class Crowd:
    """Clients that ask a sidecar again and again for what only the upstream can answer, until they are told to stop."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._stop = threading.Event()
        self._clients = [threading.Thread(target=self._ask, args=(sidecar, number)) for number in range(CLIENTS)]
        for client in self._clients:
            client.start()

    def _ask(self, sidecar: Sidecar, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            sidecar.ask("GET", TARGETS[number % len(TARGETS)], HOLT)

    def stop(self) -> None:
        self._stop.set()
        for client in self._clients:
            client.join(20)


def test_one_budget_over_the_nodes_that_follows_what_each_needs(server: Server, tmp_path: Path) -> None:
    shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "upstream_concurrency": str(LIMIT)}
    with Upstream() as upstream:
        upstream.state.faults.append(Fault("slow", times=10**6, seconds=0.15))

        def most(seconds: float) -> int:
            with upstream.state.lock:
                upstream.state.most_in_flight = upstream.state.in_flight
            time.sleep(seconds)
            return upstream.state.most_in_flight

        with Sidecar(upstream.url, tmp_path / "one", node="one", **shared) as one:
            busy = Crowd(one)
            until(lambda: most(1) == LIMIT, 10, "one alone has all")
            with Sidecar(upstream.url, tmp_path / "two", node="two", **shared) as two:
                until(lambda: two.ask("GET", "/notes", HOLT).status == 200, 10, "the new one has some")
                too = Crowd(two)
                until(lambda: most(1) <= LIMIT, 10, "one has given up what is the other's")
                assert most(5) == LIMIT, "both are busy: all places, and no more"
                too.stop()
                until(lambda: 5 <= most(1) <= LIMIT, 10, "the idle one leaves most to the busy one")
                two.kill()
            until(lambda: most(1) == LIMIT, 15, "what a dead node had is free")
            busy.stop()
        assert [name for (name,) in server.ask("SELECT node FROM place_leases")] == ["one"]
