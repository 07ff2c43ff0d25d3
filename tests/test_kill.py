"""kill -9 of every process of the sidecar at once, under traffic, 20 times: nothing answered is ever forgotten."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.record.stores import Filter
from sidecar.record.stores.embedded import EmbeddedStore
from tests.load import Load, journalled
from tests.stack import Sidecar, until
from tests.upstream import Upstream

ROUNDS = 20
"""mitmproxy -w lost one record in each round, asynchronous recorders 1 to 23."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        server.state.notes[5] = {"id": 5, "title": "Round", "patient_id": 17, "staff_id": 1}
        yield server


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_answered_request_is_recorded_exactly_once(upstream: Upstream, tmp_path: Path) -> None:
    """In the journal once, its chain whole, and in the embedded event store once, whatever the moment of the kill."""
    dice = random.Random(20)
    with Sidecar(upstream.url, tmp_path / "data", record="durable") as sidecar, Load(sidecar.port, users=6) as load:
        for round_ in range(ROUNDS):
            load.more(30)
            time.sleep(dice.random() * 0.2)
            sidecar.kill()
            recorded = {request for request, _ in journalled(sidecar.data)}
            assert set(load.answered) <= recorded, f"round {round_}"
            sidecar.start()
        load.more(30)
        load.stop()
        recorded = [request for request, _ in journalled(sidecar.data)]
        assert len(load.answered) == len(set(load.answered)) >= ROUNDS * 30
        assert len(recorded) == len(set(recorded))
        assert set(load.answered) <= set(recorded)
        until(lambda: sidecar.plane("GET", "/shipper").json()["unshipped"] == 0, 30, "all shipped")
        verified = sidecar.cli("audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert set(load.statuses) == {200}
    assert sorted(stored(sidecar.data / "events.db")) == sorted(event for _, event in journalled(sidecar.data))


def stored(path: Path) -> list[str]:
    """event.id of every document of the embedded store, repeats included."""
    store, found, cursor = EmbeddedStore(path), [], None
    while True:
        page = store.search(Filter(), 1000, cursor)
        found += [event["event"]["id"] for event in page.events]
        cursor = page.cursor
        if cursor is None:
            store.close()
            return found
