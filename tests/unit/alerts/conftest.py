"""What tests of this folder stand on: the alerts' tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alerts.lifecycle.tables import open_alerts
from sidecar.settings import Settings


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_alerts(Settings(data=tmp_path / "data"))
    yield engine
    engine.dispose()
