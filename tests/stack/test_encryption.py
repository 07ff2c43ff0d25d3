"""Encryption at rest in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sidecar.settings import Settings
from sidecar.standby.tables import KNOWN
from tests.support.postgres import cluster
from tests.unit.sidecar.storage.test_encryption import NEW, OLD, SECRET, held, keys, put


@pytest.mark.postgresql
def test_in_postgresql_too(tmp_path: Path) -> None:
    whole = (KNOWN, f'{{"title":"{SECRET}"}}', [b"\xff\x00" + SECRET.encode()])
    with cluster() as url:
        put(Settings(data=tmp_path / "data", database=url))
        for number, lines in enumerate(([OLD.hex()], [NEW.hex(), OLD.hex()], ["none", NEW.hex()])):
            assert held(keys(tmp_path / f"keys{number}", *lines, database=url)) == whole
            engine = create_engine(url)
            with engine.connect() as connection:
                raw = f"{connection.scalar(text('SELECT body FROM records'))}"
            engine.dispose()
            assert raw.startswith("enc1:") == (lines[0] != "none")
