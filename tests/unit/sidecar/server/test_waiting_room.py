"""Who comes while the database is waited for gets a whole answer that can be found again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.server.waiting_room import WaitingRoom
from sidecar.settings import Settings
from tests.support.stack import ask, raw


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        room = WaitingRoom([listener], "the database is away", Settings(data=tmp_path))
        yield int(listener.getsockname()[1])
        room.close()


def test_the_answer_is_a_problem_that_says_when_to_come_again(port: int) -> None:
    got = ask(port, "GET", "/notes", {"X-Request-Id": "mine-1"})
    assert (got.status, got["X-Request-Id"], got["Retry-After"]) == (503, "mine-1", "2")
    assert got["Content-Type"] == "application/problem+json"
    assert got.json()["detail"] == "the database is away"


def test_a_request_without_an_id_gets_one_and_a_bad_one_is_not_repeated(port: int) -> None:
    ids = {ask(port, "GET", "/notes")["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) == 36 for each in ids)
    said = raw(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b\xe4\r\n\r\n")
    assert b"a b" not in said
    assert b"X-Request-Id: " in said
