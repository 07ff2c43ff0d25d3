"""What the command line and the dashboard are told where a control plane gives no answer: whether it may have acted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sidecar.control.client import ControlError, post
from sidecar.settings import Settings


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as made:
        yield made


def failed(listener: socket.socket) -> ControlError:
    settings = Settings(control_listen=listener.getsockname(), control_token="a token of sixteen")
    with pytest.raises(ControlError) as told:
        post(settings, "/outbox/1/retry", timeout=0.3)
    return told.value


def test_where_no_connection_comes_about_nothing_was_sent(listener: socket.socket) -> None:
    with ExitStack() as held:
        for _ in range(4):  # its queue is full: who comes then waits
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        error = failed(listener)
    assert "could not be reached within" in str(error)
    assert (error.status, error.unknown) == (0, False)


def test_where_nobody_listens_nothing_was_sent(listener: socket.socket) -> None:
    listener.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = failed(taken)
    assert "is it running?" in str(error)
    assert (error.status, error.unknown) == (0, False)


def test_what_was_sent_and_is_not_answered_may_have_been_done(listener: socket.socket) -> None:
    error = failed(listener)
    assert "took longer than" in str(error)
    assert (error.status, error.unknown) == (0, True)
