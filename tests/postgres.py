"""A real PostgreSQL for tests: a cluster of its own, on a socket of its own, that goes with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack import free_port

ALL = os.environ.get("UNDERSTUDY_TESTS") == "all"


def programs() -> Path | None:
    """Where PostgreSQL's own programs are, the newest first; Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    return found[0] if found else Path(on_path).parent if on_path else None


def _as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command] if os.getuid() == 0 else command
    )


@contextmanager
def cluster() -> Iterator[str]:
    """A running cluster's SQLAlchemy URL."""
    where = programs()
    if where is None:
        if ALL:
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    home = Path(tempfile.mkdtemp(prefix="understudy-pg-"))
    if os.getuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    port, data = free_port(), home / "data"

    def run(*command: str) -> None:
        done = subprocess.run(_as_postgres(list(command)), capture_output=True, text=True, timeout=60, cwd=home)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run(str(where / "initdb"), "-D", str(data), "-U", "understudy", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c max_connections=200"
        run(str(where / "pg_ctl"), "-D", str(data), "-l", str(home / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://understudy@127.0.0.1:{port}/postgres"
        finally:
            run(str(where / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
