"""The full stack under traffic while its event store misbehaves in every way, or is not there from the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.support.load import Load, journalled
from tests.support.stack import Sidecar, until
from tests.support.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        server.state.notes[5] = {"id": 5, "title": "Round", "patient_id": 17, "staff_id": 1}
        yield server


def shipper(sidecar: Sidecar) -> dict[str, Any]:
    state: dict[str, Any] = sidecar.plane("GET", "/shipper").json()
    return state


def all_shipped(sidecar: Sidecar, seconds: float) -> None:
    until(lambda: shipper(sidecar) | {"oldest_seconds": 0} == settled(sidecar), seconds, "all shipped")


def settled(sidecar: Sidecar) -> dict[str, Any]:
    return {**shipper(sidecar), "unshipped": 0, "oldest_seconds": 0, "trouble": None, "dead_letters": 0}


def test_one_that_storms_fails_in_part_and_applies_without_an_answer(upstream: Upstream, tmp_path: Path) -> None:
    """A fake one: 429s, 503s, half-failed batches, connections dropped after the batch was applied; under traffic."""
    with FakeElasticsearch() as fake:
        with Sidecar(upstream.url, tmp_path / "data", elasticsearch=fake.url) as sidecar:
            with Load(sidecar.port, users=3, pause=0.01) as load:
                until(lambda: fake.created > 50, what="shipping")
                for status in (429, 503):
                    with fake.lock:
                        fake.drop_after_applying += 1
                    fake.storm(3, status)
                    load.more(50)
                    with fake.lock:
                        for request, event in journalled(sidecar.data)[-40:]:
                            if request.endswith("3"):
                                fake.item_failures[event] = [429, 503]
                    until(lambda: fake._storm[0] == 0 and fake.drop_after_applying == 0, 60, "the storm is over")
                load.more(50)
            all_shipped(sidecar, 60)
            recorded = journalled(sidecar.data)
            assert set(load.statuses) == {200}
        assert set(load.answered) <= {request for request, _ in recorded}
        assert sorted(fake.documents()) == sorted(event for _, event in recorded)
        assert [] in fake.item_failures.values()
        assert len(fake.sent) > fake.created  # what was applied without an answer was sent again, and changed nothing


def test_the_sidecar_starts_and_serves_without_it(upstream: Upstream, tmp_path: Path) -> None:
    """The event store is down from the beginning: users are served, and all arrives once it is there."""
    with FakeElasticsearch() as fake:
        fake.refusing = True
        with (
            Sidecar(upstream.url, tmp_path / "data", elasticsearch=fake.url) as sidecar,
            Load(sidecar.port, users=2, pause=0.02) as load,
        ):
            load.more(50)
            until(lambda: shipper(sidecar).get("trouble"), 20, "seen")
            assert fake.created == 0
            fake.refusing = False
            load.stop()
            all_shipped(sidecar, 60)
            assert set(load.statuses) == {200}
        assert sorted(fake.documents()) == sorted(event for _, event in journalled(sidecar.data))
