"""A real pgbouncer before a real PostgreSQL, in transaction mode: each transaction gets any of few sessions."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.postgres import ALL, Server, _as_postgres
from tests.support.stack import free_port, until


class Pooler:
    """`says` is more of its configuration."""

    def __init__(self, program: str, server: Server, says: str = "") -> None:
        self._program, self._says = program, says
        self._folder = Path(tempfile.mkdtemp(prefix="understudy-pgbouncer-"))
        self.port = free_port()
        self._configure(server)
        _give_away(self._folder)
        command = [self._program, str(self._folder / "pgbouncer.ini")]
        self._process = subprocess.Popen(_as_postgres(command), stderr=subprocess.DEVNULL)

    def await_start(self) -> None:
        until(lambda: "process up" in self._log(), 10, "pgbouncer listens")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://understudy@127.0.0.1:{self.port}/postgres"

    def turn(self, server: Server) -> None:
        """From now on another server gets the transactions of those who are connected."""
        self._configure(server)
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder)

    def _configure(self, server: Server) -> None:
        written = self._folder / "pgbouncer.ini"
        written.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server.port} dbname=postgres user=understudy\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = 20\nmax_client_conn = 500\nserver_login_retry = 1\n"
            f"logfile = {self._folder}/log\npidfile = {self._folder}/pid\n{self._says}\n"
        )
        _give_away(written)

    def _log(self) -> str:
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""


def _give_away(path: Path) -> None:
    """To whom it runs as."""
    if os.getuid() == 0:
        shutil.chown(path, "postgres", "postgres")


@contextmanager
def pooler(server: Server, says: str = "") -> Iterator[Pooler]:
    """One that runs."""
    program = shutil.which("pgbouncer")
    if program is None:
        if ALL:
            pytest.fail("pgbouncer is not installed")
        pytest.skip("pgbouncer is not installed (apt install pgbouncer)")
    made = Pooler(program, server, says)
    try:
        made.await_start()
        yield made
    finally:
        made.stop()
