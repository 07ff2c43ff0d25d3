"""Calls at real sockets: what is sent once, what twice, and what is known when there is no answer."""

from __future__ import annotations

import gc
import socket
import ssl
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from compose.tls import authority
from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import PassedOnBody, Response
from sidecar.http.spooled_body import Spool
from sidecar.upstream.connection import Call, Patience
from sidecar.upstream.dialer import Names
from tests.support.on_loop import Wire
from tests.support.stack import until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
READ = Call("GET", "/a?b=%20", [("Host", "hosp")], repeatable=True)
WRITE = Call("POST", "/a", [("Host", "hosp")], b"{}")
Talk = Callable[[socket.socket], None]


class Peer:
    """Has a talk of its own with each connection, and keeps what it heard: the bytes of each connection."""

    def __init__(self, *talks: Talk, context: ssl.SSLContext | None = None) -> None:
        self._talks = talks
        self._context = context
        self.heard: list[bytes] = []
        self._number = threading.local()
        """Which connection a thread talks on."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        talking = []
        for talk in self._talks:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            self.heard.append(b"")
            talking.append(threading.Thread(target=self._talk, args=(talk, connection, len(talking)), daemon=True))
            talking[-1].start()
        for thread in talking:
            thread.join(10)

    def _talk(self, talk: Talk, connection: socket.socket, number: int) -> None:
        self._number.number = number
        with connection:
            connection.settimeout(10)
            try:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                talk(connection)
            except OSError:
                pass  # the other side has gone
            finally:
                connection.close()

    def hear(self, connection: socket.socket, end: bytes = b"\r\n\r\n") -> None:
        data = b""
        while end not in data and (piece := connection.recv(65536)):
            data += piece
        self.heard[self._number.number] += data

    def says(self, *answers: bytes) -> Talk:
        """A talk: an answer to each request, then the end."""

        def talk(connection: socket.socket) -> None:
            for answer in answers:
                self.hear(connection)
                connection.sendall(answer)

        return talk

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10)


@contextmanager
def peer(*answers: list[bytes], context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """One connection after another; on each, these answers in turn."""
    made = Peer(context=context)
    made._talks = tuple(made.says(*given) for given in answers)
    with made:
        yield made


def told(sent: tuple[Attempt, Response | None]) -> tuple[str, str | None, bytes | None]:
    attempt, response = sent
    return attempt.outcome.value, attempt.error, response.body if response is not None else None


GOOD = ("success", None, b"hello")


def test_the_bytes_are_those_of_the_call() -> None:
    fields = [("Host", "hosp"), ("X-A", "1"), ("X-A", "2"), ("X-Empty", ""), ("X-High", "ä")]
    with peer([ANSWER] * 4) as upstream, Wire(f"http://127.0.0.1:{upstream.port}/base/") as mine:
        assert told(mine.send(Call("GET", "/a?b=%20", fields, repeatable=True))) == GOOD
        assert told(mine.send(Call("BREW", "/a", fields[:1], b"{}", repeatable=True))) == GOOD
        assert told(mine.send(Call("PUT", "/", [("content-length", "0")], repeatable=True))) == GOOD
        assert told(mine.send(Call("PATCH", "/", fields[:1], repeatable=True))) == GOOD
    assert upstream.heard == [
        b"GET /base/a?b=%%20 HTTP/1.1\r\nHost: hosp\r\nX-A: 1\r\nX-A: 2\r\nX-Empty: \r\nX-High: \xe4\r\n\r\n"
        b"BREW /base/a HTTP/1.1\r\nHost: hosp\r\nContent-Length: 2\r\n\r\n{}"
        b"PUT /base/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\ncontent-length: 0\r\n\r\n"
        b"PATCH /base/ HTTP/1.1\r\nHost: hosp\r\nContent-Length: 0\r\n\r\n" % upstream.port
    ]


@pytest.mark.parametrize("length", [2_000_000, 3_000_000], ids=["whole", "cut short"])
def test_what_was_read_is_held_no_longer_than_somebody_wants_it(length: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(2_000_000)
    with peer([answer]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}", max_answer=9_000_000) as mine:
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            assert mine.send(READ)[0].outcome is (Outcome.SUCCESS if length == 2_000_000 else Outcome.UNKNOWN)
            held, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert held < 500_000 < 2_000_000 < most


def test_a_connection_is_kept_and_one_that_must_not_repeat_gets_its_own() -> None:
    with peer([ANSWER] * 3, [ANSWER] * 2) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        for call in (READ, READ, WRITE, READ):
            assert told(mine.send(call)) == GOOD
    assert [data.count(b"GET /a") for data in upstream.heard] == [3, 0]
    assert [data.count(b"POST /a") for data in upstream.heard] == [0, 1]


def test_no_more_connections_are_open_than_calls_were_in_flight_at_once() -> None:
    """An upstream may have one worker for each: those of writes that nobody uses would take them all."""
    ended = list[bool]()

    def serves(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(ANSWER)
        ended.append(connection.recv(1) == b"")  # this talk, and with it the upstream, waits for that

    upstream = Peer(*[serves] * 20)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        for _ in range(20):
            assert told(mine.send(WRITE)) == GOOD
        until(lambda: len(ended) == 20, 5, "each is closed")
    assert all(ended)


def test_a_connection_at_rest_is_closed_in_time_though_nobody_asks_again() -> None:
    ended = threading.Event()

    def serves(connection: socket.socket) -> None:
        for _ in range(2):
            upstream.hear(connection)
            connection.sendall(ANSWER)
        if connection.recv(1) == b"":
            ended.set()

    upstream = Peer(serves)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}", rest=0.3) as mine:
        for _ in range(2):
            assert told(mine.send(READ)) == GOOD
        assert ended.wait(5)


@pytest.mark.parametrize(
    ("call", "announced"),
    [
        (Call("HEAD", "/a", [("Host", "hosp")], repeatable=True), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (Call("HEAD", "/a", [("Host", "hosp")], repeatable=True), b"HTTP/1.1 200 OK\r\n\r\n"),
        (READ, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (READ, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_a_body_that_comes_where_none_may_is_nobodys_answer(call: Call, announced: bytes) -> None:
    upstream = Peer()

    def says_too_much(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(announced)
        upstream.hear(connection)
        connection.sendall(ANSWER.replace(b"hello", b"stale"))

    upstream._talks = says_too_much, upstream.says(ANSWER)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert mine.send(call)[0].outcome is Outcome.SUCCESS
        assert told(mine.send(READ)) == GOOD


def test_a_wire_at_rest_holds_no_bodies() -> None:
    with peer([ANSWER]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        call = Call("GET", "/a", [("Host", "hosp")], b"body of its own", repeatable=True)
        before = sys.getrefcount(call)
        _, response = mine.send(call)
        assert sys.getrefcount(call) == before
        assert sys.getrefcount(response) == 2  # this name, and the question


@pytest.mark.parametrize("reset", [False, True])
def test_what_may_be_repeated_goes_out_again_where_the_kept_connection_died(reset: bool) -> None:
    upstream = Peer()

    def dies(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(ANSWER)
        upstream.hear(connection)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    upstream._talks = dies, upstream.says(ANSWER)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(READ)) == GOOD
        assert told(mine.send(READ)) == GOOD
    assert [data.count(b"GET /a") for data in upstream.heard] == [2, 1]


def test_nothing_goes_out_again_once_a_byte_of_the_answer_was_there() -> None:
    with peer([ANSWER, ANSWER[:20]], [ANSWER]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(READ)) == GOOD
        assert told(mine.send(READ)) == ("unknown", "truncated", None)
        assert len(upstream.heard) == 1
        assert told(mine.send(READ)) == GOOD


@pytest.mark.parametrize("call", [READ, WRITE])
def test_a_new_connection_that_dies_is_not_tried_again(call: Call) -> None:
    with peer([b""], [ANSWER]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(call)) == ("unknown", "closed", None)
        assert len(upstream.heard) == 1
        assert told(mine.send(call)) == GOOD


@pytest.mark.parametrize("late", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b""])
def test_what_the_upstream_says_unasked_is_nobodys_answer(late: bytes) -> None:
    """A 408 or the end on a connection at rest: the next request goes out on another, and gets its own answer."""
    upstream, said = Peer(), threading.Event()

    def speaks(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(ANSWER)
        time.sleep(0.05)
        connection.sendall(late)
        connection.shutdown(socket.SHUT_WR)
        said.set()
        upstream.hear(connection)

    upstream._talks = speaks, upstream.says(ANSWER)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(READ)) == GOOD
        assert said.wait(5)
        assert told(mine.send(READ)) == GOOD
    assert [data.count(b"GET /a") for data in upstream.heard] == [1, 1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ANSWER[:-1], ("unknown", "truncated", None)),
        (ANSWER[:10], ("unknown", "truncated", None)),
        (b"hello there\r\n\r\n", ("unknown", "broken", None)),
        (ANSWER.replace(b"5", b"200000") + b"x" * 200_000, ("unknown", "too_large", None)),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", GOOD),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, GOOD),
    ],
)
def test_an_answer_is_whole_or_unknown(answer: bytes, expected: tuple[str, str | None, bytes | None]) -> None:
    with peer([answer]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(WRITE)) == expected


LARGE = b"HTTP/1.1 %d OK\r\nContent-Length: 200000\r\nContent-Type: %b\r\n\r\n" + b"x" * 200_000


@pytest.mark.parametrize(
    ("status", "kind", "most", "patience", "word"),
    [
        (200, b"application/json", 150_000, Patience(), "passed on"),
        (206, b"image/png", 150_000, Patience(), "passed on"),
        (200, b"text/event-stream", 300_000, Patience(), "passed on"),
        (200, b"application/json", 300_000, Patience(), "whole"),
        (200, b"application/json", 150_000, None, "too_large"),
        (404, b"application/json", 150_000, Patience(), "too_large"),
        (500, b"text/event-stream", 300_000, Patience(), "whole"),
    ],
)
def test_only_a_good_answer_that_is_too_large_or_tells_of_events_is_passed_on_before_it_is_whole(
    status: int, kind: bytes, most: int, patience: Patience | None, word: str
) -> None:
    call = replace(READ, patience=patience)
    with peer([LARGE % (status, kind)]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}", max_answer=most) as mine:
        attempt, response = mine.send(call)
        assert attempt.status == status
        if response is None:
            assert attempt.error == word
        elif response.passed_on is None:
            assert (word, response.body) == ("whole", b"x" * 200_000)
        else:
            assert (word, response.body, response.size) == ("passed on", b"", 200_000)
            assert mine.run(all_of(response.passed_on)) == b"x" * 200_000


async def all_of(body: PassedOnBody) -> bytes:
    return b"".join([piece async for piece in body.pieces()])


def test_a_status_that_was_heard_before_the_answer_broke_off_is_told() -> None:
    with peer([ANSWER[:-1]]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert mine.send(WRITE)[0].status == 200


def test_an_upstream_that_is_silent_or_stops_half_way_is_unknown_at_the_timeout() -> None:
    for first in (b"", ANSWER[:20]):
        upstream = Peer()

        def talk(connection: socket.socket, first: bytes = first, upstream: Peer = upstream) -> None:
            upstream.hear(connection)
            connection.sendall(first)
            upstream.hear(connection)

        upstream._talks = (talk,)
        with upstream, Wire(f"http://127.0.0.1:{upstream.port}", timeout=0.3) as mine:
            assert told(mine.send(READ)) == ("unknown", "timeout", None)


def test_an_answer_before_the_whole_body_was_taken_is_the_answer() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nhello"
    upstream = Peer()

    def refuses(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(refusal)
        upstream.hear(connection, b"never")  # to the end of what comes

    upstream._talks = refuses, upstream.says(ANSWER)
    call = Call("POST", "/", [("Host", "hosp")], b"x" * 20_000_000)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        attempt, response = mine.send(call)
        assert response is not None
        assert (attempt.outcome, response.status, response.body) == (Outcome.SUCCESS, 413, b"hello")
        assert told(mine.send(READ)) == GOOD  # and on another connection: this one is in the middle of a body
    assert len(upstream.heard) == 2


class Halting(Spool):
    """Stops for a while in the middle of what it gives."""

    def pieces(self) -> Iterator[bytes]:
        for piece in super().pieces():
            yield piece
            time.sleep(0.2)


def test_an_answer_that_came_before_the_connection_broke_is_the_answer(tmp_path: Path) -> None:
    upstream = Peer()

    def refuses(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")

    upstream._talks = (refuses,)
    spool = Halting(tmp_path)
    spool.write(b"x" * 300_000)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        _, response = mine.send(Call("POST", "/", [("Host", "hosp")], spool=spool))
        assert response is not None
        assert (response.status, response.body) == (413, b"hello")


def test_an_upstream_that_takes_no_more_of_a_body_is_unknown_at_the_timeout() -> None:
    upstream, over = Peer(), threading.Event()
    upstream._talks = (lambda connection: over.wait(10) and None,)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}", timeout=0.3) as mine:
        assert told(mine.send(Call("POST", "/", [("Host", "hosp")], b"x" * 20_000_000))) == ("unknown", "timeout", None)
        over.set()


def test_a_spooled_body_goes_out_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(40):
        spool.write(bytes([number]) * 50_000)
    spool.write(b"end")
    upstream = Peer()

    def talk(connection: socket.socket) -> None:
        upstream.hear(connection, b"end")
        connection.sendall(ANSWER)

    upstream._talks = (talk,)
    with upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(Call("POST", "/", [("Host", "hosp")], spool=spool))) == GOOD
    head, _, body = upstream.heard[0].partition(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: 2000003")
    assert body == spool.whole()


def test_an_exception_of_the_fence_ends_the_call_and_nothing_was_sent() -> None:
    def fence() -> bool:
        raise ValueError("no database")

    with peer([ANSWER], [ANSWER]) as upstream, Wire(f"http://127.0.0.1:{upstream.port}") as mine:
        assert told(mine.send(Call("POST", "/", [("Host", "hosp")], b"{}", fence=fence))) == ("unknown", "broken", None)
        assert told(mine.send(READ)) == GOOD
    assert upstream.heard[0] == b""


# To the connection ---------------------------------------------------------------------------------------------------


def test_nobody_there_is_a_failure_and_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Wire(f"http://127.0.0.1:{port}") as mine:
        assert told(mine.send(READ)) == ("failure", "refused", None)
    with Wire("http://no-such-host.invalid", connect_timeout=20, timeout=30) as mine:
        assert told(mine.send(READ)) == ("failure", "unresolved", None)


def test_who_does_not_take_connections_is_a_failure_at_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:  # fill its queue
            one.setblocking(False)
            one.connect_ex(address)
        with Wire(f"http://127.0.0.1:{address[1]}", connect_timeout=0.2) as mine:
            assert told(mine.send(WRITE)) == ("failure", "connect_timeout", None)
        for one in crowd:
            one.close()


def _at(*addresses: tuple[str, int]) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


def test_where_one_address_fails_the_next_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()
    with peer([ANSWER]) as upstream:
        names = Names(lambda *_, **__: _at(dead, dead, ("127.0.0.1", upstream.port)))
        with Wire("http://hosp.example", names=names) as mine:
            assert told(mine.send(READ)) == GOOD


def test_beside_an_address_that_is_silent_the_next_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        silent = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(silent)
        with peer([ANSWER]) as upstream:
            names = Names(lambda *_, **__: _at(silent, ("127.0.0.1", upstream.port)))
            with Wire("http://hosp.example", connect_timeout=5, names=names) as mine:
                assert told(mine.send(READ)) == GOOD
        for one in crowd:
            one.close()


@pytest.mark.parametrize(("kept", "times"), [(60.0, 1), (0.0, 2)])
def test_a_name_is_asked_for_anew_when_it_is_old_and_serves_on_when_it_is_not_found(kept: float, times: int) -> None:
    asked: list[str] = []
    with peer([ANSWER], [ANSWER]) as upstream:

        def ask(host: str, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            if len(asked) > 1:
                raise socket.gaierror("no name server")
            return _at(("127.0.0.1", upstream.port))

        with Wire("http://hosp.example", names=Names(ask, kept)) as mine:
            assert told(mine.send(WRITE)) == GOOD
            assert told(mine.send(WRITE)) == GOOD
    assert asked == ["hosp.example"] * times


def test_a_lookup_that_takes_too_long_holds_nobody() -> None:
    over = threading.Event()
    names = Names(lambda *_, **__: over.wait(10) and [])
    with Wire("http://hosp.example", connect_timeout=0.2, names=names) as mine:
        assert told(mine.send(READ)) == ("failure", "connect_timeout", None)
        asked = mine.begin(READ)
        time.sleep(0.05)
        over.set()
        assert told(asked.result(10)) == ("failure", "unresolved", None)


def test_a_name_server_that_falls_silent_holds_nobody_who_knew_the_name() -> None:
    over, asked, told_off = threading.Event(), list[str](), list[str]()
    with peer([ANSWER], [ANSWER]) as upstream:

        def ask(host: str, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            if len(asked) > 1:
                over.wait(10)
                told_off.append(host)
                raise socket.gaierror("no name server")
            return _at(("127.0.0.1", upstream.port))

        with Wire("http://hosp.example", names=Names(ask, 0.0), connect_timeout=30, timeout=60) as mine:
            assert told(mine.send(WRITE)) == GOOD
            assert told(mine.send(WRITE)) == GOOD
        assert (len(asked), told_off) == (2, [])  # it is being asked still
        over.set()


@dataclass
class Localhost:
    """TLS under the name of `localhost`: the server's side, and how a client comes to trust it."""

    server: ssl.SSLContext
    trust: Callable[[], ssl.SSLContext]


@pytest.fixture
def localhost(tmp_path: Path) -> Localhost:
    authority.write(tmp_path, ["localhost"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem")
    return Localhost(server, lambda: ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))


def test_https_is_spoken_with_whom_the_machine_trusts(localhost: Localhost) -> None:
    with (
        peer([ANSWER, ANSWER], [ANSWER], context=localhost.server) as upstream,
        Wire(f"https://localhost:{upstream.port}", trust=localhost.trust) as mine,
    ):
        for call in (READ, READ, WRITE):
            assert told(mine.send(call)) == GOOD
    assert [data.count(b" /a") for data in upstream.heard] == [2, 1]


def test_a_long_answer_over_tls_is_read_to_its_end(localhost: Localhost) -> None:
    long = ANSWER.replace(b"5", b"90000").replace(b"hello", b"x" * 90_000)
    with (
        peer([long], context=localhost.server) as upstream,
        Wire(f"https://localhost:{upstream.port}", trust=localhost.trust) as mine,
    ):
        assert told(mine.send(WRITE)) == ("success", None, b"x" * 90_000)


def test_an_answer_over_tls_that_somebody_cut_off_is_not_whole(localhost: Localhost) -> None:
    """Without a length, and without the end that TLS tells: anybody on the way can do that."""
    upstream = Peer(context=localhost.server)

    def cut(connection: socket.socket) -> None:
        upstream.hear(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhel")
        connection.shutdown(socket.SHUT_RDWR)

    upstream._talks = (cut,)
    with upstream, Wire(f"https://localhost:{upstream.port}", trust=localhost.trust) as mine:
        assert told(mine.send(WRITE)) == ("unknown", "reset", None)


def test_a_certificate_of_anybody_else_is_a_failure_and_nothing_is_sent(localhost: Localhost, tmp_path: Path) -> None:
    with (
        peer([ANSWER], context=localhost.server) as upstream,
        Wire(f"https://127.0.0.1:{upstream.port}", trust=localhost.trust) as mine,
    ):
        assert told(mine.send(WRITE)) == ("failure", "certificate", None)  # it is in another's name
    authority.write(tmp_path / "other", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "other" / "server.pem")
    with (
        peer([ANSWER], context=context) as upstream,
        Wire(f"https://localhost:{upstream.port}", trust=localhost.trust) as mine,
    ):
        assert told(mine.send(WRITE)) == ("failure", "certificate", None)
    assert upstream.heard == [b""]


def test_who_speaks_no_tls_is_a_failure(localhost: Localhost) -> None:
    upstream = Peer()
    upstream._talks = (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),)
    with upstream, Wire(f"https://localhost:{upstream.port}", trust=localhost.trust) as mine:
        assert told(mine.send(WRITE)) == ("failure", "tls", None)
