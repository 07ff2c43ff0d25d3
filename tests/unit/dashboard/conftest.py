"""What tests of this folder stand on: the tables, and the parts of a dashboard beside a control plane."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dashboard.app import wire
from dashboard.context import Parts
from dashboard.data import tables
from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from tests.support.dashboard.plane import Plane


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(data=tmp_path))
    tables.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def plane() -> Iterator[Plane]:
    made = Plane()
    yield made
    made.close()


@pytest.fixture
def parts(tmp_path: Path, plane: Plane) -> Iterator[Parts]:
    made = wire(Settings(data=tmp_path, control_listen=plane.place, control_token="a token of sixteen"), time.time_ns)
    yield made
    made.store.close()
    made.engine.dispose()
    made.alerts_engine.dispose()
