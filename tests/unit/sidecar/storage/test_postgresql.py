"""What PostgreSQL does is tried with real ones, in tests/stack; here is what one would have to be broken for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from sidecar.telemetry.logging import TALKATIVE


def _said(kind: bytes, content: bytes) -> bytes:
    return kind + (len(content) + 4).to_bytes(4, "big") + content


READY = _said(b"Z", b"I")
SAYS = (b"server_version\x0015.0\0", b"in_hot_standby\0off\0", b"default_transaction_read_only\0off\0")
ACCEPTED = _said(b"R", bytes(4)) + b"".join(_said(b"S", each) for each in SAYS) + _said(b"K", bytes(8)) + READY
REFUSED = _said(b"E", b"CXX000\0MNo\0\0") + READY
"""AuthenticationOk, ParameterStatus, BackendKeyData; ErrorResponse; ReadyForQuery (PostgreSQL, Message Formats)."""


class Refuses:
    """Lets one client in, and answers all that it asks with an error."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.left = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            with client:
                client.settimeout(8)
                client.recv(4096)
                client.sendall(ACCEPTED)
                while (asked := client.recv(4096)) and not asked.startswith(b"X"):
                    client.sendall(REFUSED)
                self.left.set()

    def close(self) -> None:
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[Refuses]:
    refuses = Refuses()
    yield refuses
    refuses.close()


def settings(tmp_path: Path, database: str = "") -> Settings:
    return Settings(data=tmp_path, seal_key=tmp_path / "key", database=database)


def test_a_connection_that_cannot_be_used_is_closed(tmp_path: Path, server: Refuses) -> None:
    url = f"postgresql+psycopg://u@127.0.0.1:{server.port}/d?sslmode=disable&gssencmode=disable"
    engine = open_engine(settings(tmp_path, url))
    with pytest.raises(SQLAlchemyError, match="No"):
        engine.connect()
    assert server.left.wait(5)
    engine.dispose()


@pytest.mark.parametrize("database", ["", "postgresql+psycopg://u@127.0.0.1:1/d"])
def test_the_comings_and_goings_of_connections_are_not_logged(tmp_path: Path, database: str) -> None:
    engine = open_engine(settings(tmp_path, database))
    assert engine.pool.logger.name in TALKATIVE  # type: ignore[union-attr]
    engine.dispose()
