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
from tests.support.tables import lay


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(data=tmp_path))
    lay(engine, tables.SCHEMA)
    yield engine
    engine.dispose()


@pytest.fixture
def plane() -> Iterator[Plane]:
    made = Plane()
    yield made
    made.close()


@pytest.fixture
def parts(tmp_path: Path, plane: Plane) -> Iterator[Parts]:
    settings = Settings(data=tmp_path, control_listen=plane.place, control_token="a token of sixteen")
    engine = open_engine(settings)
    lay(engine, tables.SCHEMA)
    engine.dispose()
    made = wire(settings, time.time_ns)
    yield made
    made.store.close()
    made.engine.dispose()
    made.alerts_engine.dispose()
