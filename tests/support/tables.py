"""A database with the sidecar's tables as its migrations make them, for tests that need one each: migrated once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sidecar.storage.database import create_all, open_file

NAME = "understudy.db"


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as made:
        engine = open_file(Path(made) / NAME)
        create_all(engine)
        engine.dispose()
        return (Path(made) / NAME).read_bytes()


def lay(data: Path) -> None:
    """Before an engine is opened for it."""
    (data / NAME).write_bytes(_migrated())
