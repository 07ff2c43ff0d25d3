"""An upstream and a real sidecar: `sidecar` is shared by a file's tests that break nothing, `fresh` is one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Sidecar
from tests.support.upstream import Upstream


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Sidecar]]:
    with Upstream() as server, Sidecar(server.url, tmp_path_factory.mktemp("shared") / "data") as running:
        yield server, running


@pytest.fixture
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    """Two patients, two notes, and nothing seen yet."""
    if "sidecar" in request.fixturenames:
        server = request.getfixturevalue("_shared")[0]
        _fill(server)
        yield server
        server.heal()
    else:
        with Upstream() as server:
            _fill(server)
            yield server


@pytest.fixture
def sidecar(upstream: Upstream, _shared: tuple[Upstream, Sidecar]) -> Sidecar:
    return _shared[1]


@pytest.fixture
def fresh(upstream: Upstream, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(upstream.url, tmp_path / "data") as running:
        yield running


def _fill(server: Upstream) -> None:
    state = server.state
    state.patients.update({17: {"id": 17, "name": "Rex"}, 18: {"id": 18, "name": "Mia"}})
    state.notes.clear()
    state.notes[5] = {"id": 5, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}
    state.notes[6] = {"id": 6, "title": "Night", "body": "ill", "patient_id": 18, "staff_id": 2}
    state.seen.clear()
