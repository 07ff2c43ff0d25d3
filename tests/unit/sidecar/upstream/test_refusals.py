"""What counts as refused by the upstream's own host, and for how long."""

from __future__ import annotations

import socket

from sidecar.upstream.refusals import APART, Refusals


class Hands:
    """A clock that is set by hand."""

    now = 10.0

    def __call__(self) -> float:
        return self.now


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_refused_at_each_look_and_none_missing() -> None:
    hands = Hands()
    refusals = Refusals(f"http://127.0.0.1:{closed_port()}", hands)
    assert not refusals.last_since(10.0)
    for _ in range(3):
        refusals.look()
        hands.now += APART
    assert refusals.last_since(10.0)
    assert not refusals.last_since(9.9)
    hands.now += 0.1
    assert not refusals.last_since(10.0), "nobody has looked for too long"
    refusals.look()
    assert not refusals.last_since(12.9), "what was between is not known"
    assert refusals.last_since(hands.now)


def test_one_connection_ends_it() -> None:
    hands, port = Hands(), closed_port()
    refusals = Refusals(f"http://127.0.0.1:{port}", hands)
    refusals.look()
    with socket.create_server(("127.0.0.1", port)):
        refusals.look()
    assert not refusals.last_since(10.0)
    hands.now += 0.1
    refusals.look()
    assert not refusals.last_since(10.0)


def test_what_is_not_found_or_not_reached_is_not_refused() -> None:
    refusals = Refusals("http://nowhere.invalid:1")
    refusals.look()
    assert not refusals.last_since(float("inf"))
