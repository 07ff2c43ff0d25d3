"""One Rails application, generated once and copied for each test that changes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.hosp.data import generate
from tests.support.rails_app import RailsApp, generate_app, require_rails


@pytest.fixture(scope="session")
def scaffold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_rails()
    folder = tmp_path_factory.mktemp("rails") / "hosp"
    generate_app(folder, generate(7))
    return folder


@pytest.fixture
def rails(scaffold: Path, tmp_path: Path) -> Iterator[RailsApp]:
    folder = tmp_path / "hosp"
    shutil.copytree(scaffold, folder)
    with RailsApp(folder) as app:
        yield app
