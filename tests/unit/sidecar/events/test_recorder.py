"""What is written down is worked out where it holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.contract import Contract
from sidecar.events.recorder import Recorder
from sidecar.exchange import Exchange
from sidecar.http.messages import Request, Response
from sidecar.journal.writer import Journal
from sidecar.storage.encryption import Vault
from tests.support.on_loop import Loop


class Noting(Vault):
    """Notes in which thread bodies are closed."""

    def __init__(self) -> None:
        super().__init__([b"k" * 32])
        self.threads: set[int] = set()

    def close(self, text: str, about: str) -> str:
        self.threads.add(threading.get_ident())
        return super().close(text, about)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[Recorder, Noting, Journal, Loop]]:
    journal, vault, loop = Journal(tmp_path / "journal", "n", 1), Noting(), Loop()
    yield Recorder(journal, Contract.load("hosp"), "n", 1 << 20, vault), vault, journal, loop
    loop.close()
    journal.close()


@pytest.mark.parametrize(
    ("body", "headers", "answer", "on_loop"),
    [
        (b'{"pin":1}', [], b'{"a":1}', True),
        (b'{"pin":["' + b'[","' * 20_000 + b'"]}', [], b"{}", False),
        (b"", [], b'{"pin":["' + b'[","' * 20_000 + b'"]}', False),
        (b"packed", [("Content-Encoding", "gzip")], b"{}", False),
    ],
)
def test_what_may_take_long_is_not_done_on_the_loop(
    parts: tuple[Recorder, Noting, Journal, Loop],
    body: bytes, headers: list[tuple[str, str]], answer: bytes, on_loop: bool,
) -> None:  # fmt: skip
    recorder, vault, journal, loop = parts
    request = Request("POST", "/notes", headers, body)
    exchange = Exchange("e", 1, request, "r", f"00-{'1' * 32}-{'2' * 16}-01", response=Response(200, [], answer))
    loop.run(recorder.recorded(exchange))
    serving = loop.run(ident())
    assert (serving in vault.threads) is on_loop
    assert len(vault.threads) == 1
    assert journal.events == 1


async def ident() -> int:
    return threading.get_ident()
