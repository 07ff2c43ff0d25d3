"""A real PostgreSQL for tests: a cluster of its own, on a socket of its own, that goes with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.stack import free_port

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


class Server:
    """One PostgreSQL server. `host`: its address; `within`: a command that runs it on another host."""

    def __init__(self, where: Path, host: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self.where, self._host, self._within = where, host, within
        self.home = Path(tempfile.mkdtemp(prefix="understudy-pg-"))
        if os.getuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
        self.port = free_port()
        self.environ: dict[str, str] = {}
        """Variables of its own."""
        self._data = self.home / "data"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://understudy@{self._host}:{self.port}/postgres"

    def make(self) -> None:
        self._run("initdb", "-D", str(self._data), "-U", "understudy", "--auth=trust", "--no-sync", "-E", "UTF8")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all,replication all {self._host}/24 trust\n")

    def copy(self, primary: Server) -> None:
        """Becomes the primary's replica, whatever it was."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._run("pg_basebackup", "-D", str(self._data), "-R", "-h", primary._host, "-p", str(primary.port),
                  "-U", "understudy", "-c", "fast", "--no-sync")  # fmt: skip

    def start(self, **options: str) -> None:
        own = {"listen_addresses": self._host, "unix_socket_directories": str(self.home), "max_connections": "200"}
        words = " ".join(f"-c {name}={value}" for name, value in {**own, **options}.items())
        self._control("-l", str(self.home / "log"), "-w", "-o", f"-p {self.port} {words}", "start")

    def stop(self, mode: str = "immediate") -> None:
        self._control("-m", mode, "stop")

    def runs(self) -> bool:
        """Whether it was started, and not stopped."""
        return (self._data / "postmaster.pid").exists()

    def promote(self) -> None:
        self._control("-w", "promote")

    def pause(self) -> None:
        """It hangs, as on a stalled disk: the kernel still takes connections and data for it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def read_only(self, on: bool) -> None:
        """For sessions that go on, too, as in a primary that was demoted."""
        self.ask(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.ask("SELECT pg_reload_conf()")

    @contextmanager
    def shut(self) -> Iterator[None]:
        """It closes all connections and takes none meanwhile, as while it is started anew."""
        with self.connect("template1") as keeper:
            keeper.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
            keeper.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'")
            try:
                yield
            finally:
                keeper.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """One statement of its superuser's, in a session of its own that may write."""
        with self.connect() as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Raises psycopg.OperationalError where it takes no more."""
        return psycopg.connect(
            host=self._host, port=self.port, user="understudy", dbname=database, autocommit=True, connect_timeout=10,
            options="-c default_transaction_read_only=off",
        )  # fmt: skip

    def take_rest(self, greedy: ExitStack) -> list[psycopg.Connection[tuple[Any, ...]]]:
        """Every connection that is left, open as long as `greedy` is."""
        taken = []
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(greedy.enter_context(self.connect()))
        return taken

    def take_all(self, greedy: ExitStack, ours: list[psycopg.Connection[tuple[Any, ...]]]) -> None:
        """Cuts everybody's but `ours`, and takes them, but for those that others are quicker to take again."""
        if not ours:
            ours += self.take_rest(greedy)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ours[0].execute(f"{cut} AND pid <> ALL(%s)", [[each.info.backend_pid for each in ours]])
        ours += self.take_rest(greedy)

    def _signal(self, number: int) -> None:
        """To the postmaster and all its children."""
        master = int((self._data / "postmaster.pid").read_text().split()[0])
        told = subprocess.run(["pgrep", "-P", str(master)], capture_output=True, text=True, check=False).stdout
        for pid in (master, *map(int, told.split())):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def remove(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", str(self._data), *words)

    def _run(self, program: str, *words: str) -> None:
        command = [*self._within, *_as_postgres([str(self.where / program), *words])]
        environ = {**os.environ, **self.environ}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=self.home, check=False, env=environ
        )
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def cluster() -> Iterator[str]:
    """A running server's SQLAlchemy URL."""
    with running() as server:
        yield server.url


@contextmanager
def replicated() -> Iterator[tuple[Server, Server]]:
    """A primary, and its replica, which has whatever the primary has said it kept."""
    with running() as primary:
        replica = Server(primary.where)
        try:
            replica.copy(primary)
            replica.start()
            try:
                primary.stop("fast")
                primary.start(synchronous_standby_names="'*'")
                yield primary, replica
            finally:
                replica.stop()
        finally:
            replica.remove()


@contextmanager
def running(**options: str) -> Iterator[Server]:
    """A running server."""
    where = programs()
    if where is None:
        if ALL:
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    server = Server(where)
    try:
        server.make()
        server.start(**options)
        try:
            yield server
        finally:
            if server.runs():
                server.resume()
                server.stop()
    finally:
        server.remove()
