"""Slow, silent and many clients: none of them holds up the loop, and everybody else goes on being served."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, raw, until
from tests.support.upstream import HOLT, Upstream, basic

AUTH = b"Host: h\r\nAuthorization: " + basic("Dr Holt").encode() + b"\r\n"
IDLE = 10_000


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Four threads in all: were one slow client to hold one, it would be felt."""
    data = tmp_path_factory.mktemp("slow") / "data"
    with Sidecar(upstream.url, data, workers="2", threads="2", body_timeout="4s") as running:
        yield running


def served(sidecar: Sidecar, times: int = 5) -> None:
    for _ in range(times):
        assert sidecar.ask("GET", "/patients/17", HOLT).status == 200


def connect(sidecar: Sidecar, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", sidecar.port), 30)
    if data:
        connection.sendall(data)
    return connection


@pytest.mark.parametrize(
    "slow",
    [
        b"",
        b"GET /patients/17 HTTP/1.1\r\n" + AUTH,
        b"\r\n",
        b"POST /notes HTTP/1.1\r\n" + AUTH + b"Content-Length: 50\r\n\r\n{",
        b"POST /notes HTTP/1.1\r\n" + AUTH + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["silent", "half a head", "an empty line", "a body of known length", "a chunked body"],
)
def test_slow_clients_hold_no_thread(sidecar: Sidecar, upstream: Upstream, slow: bytes) -> None:
    before = len(upstream.seen("/notes", "POST"))
    with ExitStack() as open_ones:
        for _ in range(40):
            open_ones.enter_context(connect(sidecar, slow))
        served(sidecar)
    assert len(upstream.seen("/notes", "POST")) == before


def one_answer(connection: socket.socket) -> bytes:
    """Head and body, which may come one after the other."""
    answer = b""
    while not answer.endswith(b'.json"}'):
        more = connection.recv(65536)
        assert more, f"closed after {answer!r}"
        answer += more
    return answer


def test_a_request_read_ahead_and_unfinished_holds_no_thread(sidecar: Sidecar) -> None:
    """Pipelining: the second request's head comes with the first, and never ends."""
    whole = b"GET /patients/17 HTTP/1.1\r\n" + AUTH + b"\r\n"
    with ExitStack() as open_ones:
        connections = [open_ones.enter_context(connect(sidecar, whole + whole[:40])) for _ in range(20)]
        assert all(b" 200 " in one_answer(connection) for connection in connections)
        served(sidecar)
        connections[0].sendall(whole[40:])
        assert b" 200 " in one_answer(connections[0])


def test_requests_that_are_pipelined_are_answered_in_order(sidecar: Sidecar, upstream: Upstream) -> None:
    numbers = range(20)
    heads = [b"GET /patients/17?n=%d HTTP/1.1\r\n" % number + AUTH for number in numbers]
    ends = [b"Connection: close\r\n\r\n" if number == numbers[-1] else b"\r\n" for number in numbers]
    before = len(upstream.seen("/patients/17?"))
    answer = raw(sidecar.port, b"".join(head + end for head, end in zip(heads, ends, strict=True)))
    assert answer.count(b"HTTP/1.1 200 ") == len(numbers)
    asked = dict.fromkeys(seen.target for seen in upstream.seen("/patients/17?")[before:])  # a slow one is asked twice
    assert list(asked) == [f"/patients/17?n={number}" for number in numbers]


def test_who_asks_again_and_again_lets_others_through(upstream: Upstream, tmp_path: Path) -> None:
    """Twice as many connections as there are threads, each with hundreds of requests sent ahead."""
    ahead = b"".join(b"GET /patients/17?ahead=%d HTTP/1.1\r\n" % number + AUTH + b"\r\n" for number in range(400))
    with Sidecar(upstream.url, tmp_path / "data", workers="1", threads="2") as sidecar, ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(connect(sidecar, ahead))
        until(lambda: upstream.seen("/patients/17?ahead"), what="at work")
        served(sidecar, 1)
        assert len(upstream.seen("/patients/17?ahead")) < 400


def test_calls_that_hang_leave_the_line_to_others(upstream: Upstream, tmp_path: Path) -> None:
    """Many more than there are threads: who waits for the upstream holds none."""
    with Sidecar(upstream.url, tmp_path / "data", workers="1") as sidecar, ExitStack() as open_ones:
        upstream.fault("slow", "/staffs", times=100, seconds=60)
        asking = b"GET /staffs HTTP/1.1\r\n" + AUTH + b"\r\n"
        hanging = [open_ones.enter_context(connect(sidecar, asking)) for _ in range(200)]
        until(lambda: upstream.seen("/staffs"), what="hanging")
        served(sidecar)
        assert select.select(hanging, [], [], 0) == ([], [], [])  # none has been answered yet
        upstream.heal()


def test_a_head_that_trickles_is_given_up(sidecar: Sidecar) -> None:
    """However often a byte comes: what counts is when the head began."""
    with connect(sidecar, b"GET / HTTP/1.1\r\nX-A: ") as connection:
        answer = b""
        for _ in range(100):
            with suppress(OSError):
                connection.sendall(b"a")
            connection.settimeout(0.3)
            with suppress(TimeoutError):
                answer = connection.recv(4096)
                break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_huge_head_is_refused(sidecar: Sidecar) -> None:
    line = b"GET / HTTP/1.1\r\nHost: h\r\n"
    assert b" 431 " in raw(sidecar.port, line + b"X-A: " + b"a" * 120_000 + b"\r\n\r\n")
    assert b" 431 " in raw(sidecar.port, line + b"X-A: a\r\n" * 6000 + b"\r\n")
    assert b" 431 " in raw(sidecar.port, line + (b"X-A: " + b"a" * 8000 + b"\r\n") * 15)
    assert b" 414 " in raw(sidecar.port, b"GET /" + b"a" * 13_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")


def test_bodies_that_wait_to_be_told_to_go_on_stop_nobody(upstream: Upstream, tmp_path: Path) -> None:
    """Twice as many as there are threads, and none would have to end for minutes."""
    settings = {"workers": "2", "threads": "2", "body_timeout": "5m", "grace": "1s"}
    head = b"POST /notes HTTP/1.1\r\n" + AUTH + b"Expect: 100-continue\r\nContent-Length: 50\r\n\r\n"
    with Sidecar(upstream.url, tmp_path / "data", **settings) as sidecar, ExitStack() as open_ones:
        for _ in range(8):
            open_ones.enter_context(connect(sidecar, head))
        served(sidecar, 2)


def test_at_the_bound_of_connections_those_who_say_nothing_make_room_for_new_ones(
    upstream: Upstream, tmp_path: Path
) -> None:
    """600 open files leave 88 connections: all are taken by clients who have been answered and stay."""
    within = ("prlimit", "--nofile=600:600")
    with Sidecar(upstream.url, tmp_path / "data", workers="1", within=within) as sidecar, ExitStack() as open_ones:
        for _ in range(88):
            idle = open_ones.enter_context(connect(sidecar, b"GET /patients/17 HTTP/1.1\r\n" + AUTH + b"\r\n"))
            assert one_answer(idle).startswith(b"HTTP/1.1 200 ")
        for _ in range(30):
            new = open_ones.enter_context(connect(sidecar))
            time.sleep(0.05)  # its request is on the way
            new.sendall(b"GET /patients/17 HTTP/1.1\r\n" + AUTH + b"\r\n")
            assert one_answer(new).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_ten_thousand_idle_connections(upstream: Upstream, sidecar: Sidecar) -> None:
    """As many as this machine's limit of open files allows one client, up to 10,000."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(IDLE, hard - 500 if hard != resource.RLIM_INFINITY else IDLE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, IDLE + 500) if hard != -1 else IDLE + 500, hard))
    try:
        with ExitStack() as open_ones:
            for number in range(most):
                open_ones.enter_context(connect(sidecar, b"GET / HT" if number % 2 else b""))
            served(sidecar)
            assert sidecar.plane("GET", "/readyz").status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
