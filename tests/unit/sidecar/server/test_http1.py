"""A client's connection: in order, in its time, with what it asks for and no more; and who makes room."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.http.messages import Request, Response
from sidecar.server import clients as bounds
from sidecar.server.clients import LEAST_RATE, Clients
from sidecar.server.framing import Limits, Refusal
from sidecar.server.http1 import AT_A_TIME, Arrived, Http1, Reply, Serving
from sidecar.server.request_parser import Head, Why
from sidecar.storage.off_loop import NeedsDatabase

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"


class Transport:
    """One client, who takes what is written, or `takes` nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.said = b""
        self.buffer = 0
        self.takes = True
        self.closing = self.aborted = self.paused = self.shut = False

    def write(self, data: bytes) -> None:
        self.said += data
        self.buffer += 0 if self.takes else len(data)

    def writelines(self, pieces: tuple[bytes, bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.7", 4711) if name == "peername" else self

    def fileno(self) -> int:
        return self._descriptor

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.buffer

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def write_eof(self) -> None:
        self.shut = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.said.split(b"HTTP/1.1 ")[1:]]


class Served:
    """An application that answers what it is asked with its target, once it `may`."""

    def __init__(self, folder: Path, descriptor: int, body_timeout: float = 60.0, most: int = 100) -> None:
        self._descriptor = descriptor
        self.asked: list[str] = []
        self.refused: list[str] = []
        self.may = asyncio.Event()
        self.may.set()
        limits = Limits(1000, 1_000_000, 10_000, 50, ())
        self.clients = Clients(body_timeout, 60.0, most)
        self.serving = Serving(self, limits, folder, body_timeout, 60.0, self.end)

    async def end(self) -> None:
        return

    async def answer(self, head: Head, arrived: Arrived, client: Http1) -> Reply:
        if isinstance(arrived, Refusal):
            self.refused.append(arrived.reason)
            return Reply(Response(arrived.status, [("Content-Length", "0")]))
        self.asked.append(arrived.target)
        await self.may.wait()
        return Reply(Response(200, [("Content-Length", str(len(arrived.target)))], arrived.target.encode()))

    async def refuse(self, why: Why, head: bytes, remote: str) -> Response:
        return Response(why[0], [("Content-Length", "0")])

    def client(self) -> tuple[Http1, Transport]:
        connection, transport = Http1(self.serving, self.clients), Transport(self._descriptor)
        connection.connection_made(cast("asyncio.Transport", transport))
        return connection, transport


Test = Callable[[Served], Coroutine[Any, Any, None]]


def on_loop(folder: Path, test: Test, **given: Any) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            await test(Served(folder, ours.fileno(), **given))

    asyncio.run(run())


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_requests_sent_ahead_are_asked_one_after_the_other_and_held_back_beyond_a_bound(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        served.may.clear()
        connection, transport = served.client()
        connection.data_received(b"".join(GET % number for number in range(3)))
        await settled()
        assert (served.asked, transport.said) == (["/0"], b"")
        connection.data_received((GET % 3) * 3000)
        assert transport.paused
        served.may.set()
        while len(served.asked) < 3003:
            await asyncio.sleep(0)
        await settled()
        assert served.asked[:4] == ["/0", "/1", "/2", "/3"]
        assert not transport.paused
        assert transport.statuses() == [200] * 3003

    on_loop(tmp_path, test)


def test_who_does_not_take_an_answer_is_asked_nothing_more_and_given_up_when_nothing_moves(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        connection, transport = served.client()
        transport.takes = False
        connection.data_received(GET % 1 + GET % 2)
        await settled()
        connection.pause_writing()
        assert served.asked == ["/1"]
        transport.buffer, transport.takes = 0, True
        connection.resume_writing()
        await settled()
        assert served.asked == ["/1", "/2"]
        transport.takes = False
        connection.data_received(GET % 3)
        await settled()
        connection.pause_writing()
        served.clients._owing[connection] = 0.0
        transport.buffer -= 1
        served.clients.look()
        assert not transport.aborted, "some of it was taken"
        served.clients._owing[connection] = 0.0
        served.clients.look()
        assert transport.aborted

    on_loop(tmp_path, test)


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [(b"", []), (b"GET / HT", [408]), (POST + b"ab", [400]), (GET % 1, [200])],
    ids=["silent", "half a head", "half a body", "kept alive"],
)
def test_what_does_not_come_in_its_time_is_not_waited_for(tmp_path: Path, sent: bytes, statuses: list[int]) -> None:
    async def test(served: Served) -> None:
        connection, transport = served.client()
        if sent:
            connection.data_received(sent)
        await settled()
        served.clients.look()
        assert not transport.closing
        connection.due = time.monotonic() - 1
        served.clients.look()
        await settled()
        assert transport.statuses() == statuses
        assert transport.aborted or transport.shut

    on_loop(tmp_path, test)


def test_a_connection_that_breaks_in_the_middle_of_a_body_is_told_of_and_one_between_requests_is_not(
    tmp_path: Path,
) -> None:
    async def test(served: Served) -> None:
        for sent in (GET % 1, POST + b"ab", b"GET / HT"):
            connection, transport = served.client()
            connection.data_received(sent)
            await settled()
            transport.closing = True
            connection.connection_lost(OSError())
            await settled()
        assert (served.asked, served.refused) == (["/1"], ["client_aborted"])
        assert len(served.clients) == 0

    on_loop(tmp_path, test)


def test_a_head_that_trickles_has_its_time_from_its_first_byte(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        connection, _ = served.client()
        connection.data_received(b"G")
        due = connection.due
        for byte in b"ET / HTTP/1.1\r\nX-A: ":
            connection.data_received(bytes([byte]))
        assert connection.due == due
        assert due - time.monotonic() <= bounds.HEAD_TIMEOUT

    on_loop(tmp_path, test)


def test_the_last_answer_is_given_whole_before_our_half_is_closed(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        connection, transport = served.client()
        transport.takes = False
        connection.data_received((GET % 1).replace(b"Host", b"Connection: close\r\nHost"))
        await settled()
        connection.pause_writing()
        assert not transport.shut
        transport.buffer = 0
        connection.resume_writing()
        assert transport.shut
        connection.data_received(GET % 2)
        await settled()
        assert served.asked == ["/1"]
        connection.data_received(b"x" * 100_000)
        assert not transport.aborted, "who is cut while sending may not read the answer"

    on_loop(tmp_path, test)


def test_who_waits_to_be_told_to_go_on_is_told_unless_it_goes_no_further(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        for length, said in ((4, b"HTTP/1.1 100 Continue\r\n\r\n"), (2_000_000, b"HTTP/1.1 413 ")):
            connection, transport = served.client()
            head = POST.replace(b"4", str(length).encode()).replace(b"Host", b"Expect: 100-continue\r\nHost")
            connection.data_received(head)
            await settled()
            assert transport.said.startswith(said)
            assert transport.said.count(b"HTTP/1.1 ") == 1

    on_loop(tmp_path, test)


def test_the_worker_ends_each_connection_with_its_next_answer(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        idle, told = served.client()
        idle.data_received(GET % 1)
        await settled()
        served.clients.end(60.0)
        idle.data_received(GET % 2)
        await settled()
        assert told.said.count(b"Connection: keep-alive") == told.said.count(b"Connection: close") == 1
        assert told.shut
        silent, transport = served.client()
        served.clients.end(0.0)
        await asyncio.sleep(0.01)
        served.clients.look()
        assert transport.aborted
        assert silent.is_gone

    on_loop(tmp_path, test)


def test_who_is_idle_or_slow_makes_room_and_who_is_new_or_answered_never_does(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        idle = [served.client() for _ in range(2)]
        for connection, _ in idle:
            connection.data_received(GET % 1)
        await settled()
        served.may.clear()
        busy, busy_transport = served.client()
        busy.data_received(GET % 1)
        await settled()
        assert served.clients.have_room()
        new, new_transport = served.client()
        assert [served.clients.have_room() for _ in range(2)] == [True, True]
        assert [transport.aborted for _, transport in idle] == [True, False]
        served.client()
        assert served.clients.have_room()
        assert idle[1][1].aborted
        served.client()
        assert not served.clients.have_room(), "some have only just come, and one is being answered"
        new.due -= bounds.MOMENT
        assert served.clients.have_room()
        assert new_transport.aborted
        assert not busy_transport.aborted

    on_loop(tmp_path, test, most=4)


def test_a_body_in_tiny_pieces_is_held_once_and_others_have_their_turn(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        connection, transport = served.client()
        connection.data_received(POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked"))
        turns, size = 0, 20_000
        connection.data_received(b"1\r\na\r\n" * size)
        while connection.phase != "body" or connection._turn is not None:
            assert transport.paused
            await asyncio.sleep(0)
            turns += 1
        assert turns >= size // AT_A_TIME
        assert not transport.paused
        assert connection.held == size
        connection.data_received(b"0\r\n\r\n")
        await settled()
        assert transport.statuses() == [200]

    on_loop(tmp_path, test)


def test_a_body_may_take_long_as_long_as_enough_of_it_comes(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        connection, transport = served.client()
        connection.data_received(POST.replace(b"4", b"90000"))
        for _ in range(3):
            connection.data_received(b"x" * int(LEAST_RATE * served.serving.body_timeout))
            connection.due = time.monotonic() - 1
            served.clients.look()
            await settled()
            assert (connection.phase, transport.said) == ("body", b"")
            assert connection.due > time.monotonic()
        connection.data_received(b"x" * 100)
        connection.due = time.monotonic() - 1
        served.clients.look()
        await settled()
        assert transport.statuses() == [400]

    on_loop(tmp_path, test, body_timeout=50.0)


def test_who_takes_nothing_is_cut_before_who_takes_some_when_all_owe_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_OWED", 25_000)

    async def test(served: Served) -> None:
        owing = [served.client() for _ in range(3)]
        for connection, transport in owing:
            transport.takes, transport.buffer = False, 10_000
            connection.pause_writing()
            if transport is owing[0][1]:
                transport.buffer -= 3_000
        assert [transport.aborted for _, transport in owing] == [False, True, False]

    on_loop(tmp_path, test)


def test_an_answer_that_cannot_be_written_is_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(served: Served) -> None:
        async def odd(head: Head, arrived: Arrived, client: Http1) -> Reply:
            return Reply(Response(200, [("X-Name", "клиника"), ("Content-Length", "0")]))

        served.answer = odd  # type: ignore[method-assign]
        connection, transport = served.client()
        connection.data_received(GET % 1)
        await settled()
        assert transport.statuses() == [500]
        assert transport.shut
        assert "cannot be written" in caplog.text

    on_loop(tmp_path, test)


def test_who_has_sent_much_that_is_not_whole_makes_room_when_all_hold_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_HELD", 30_000)

    async def test(served: Served) -> None:
        head, (whole, _) = b"GET / HTTP/1.1\r\nX-A: ", served.client()
        whole.data_received(GET % 1)
        await settled()
        waiting = [served.client() for _ in range(5)]
        for connection, _ in waiting:
            connection.data_received(head + b"a" * 8_000)
        assert [transport.aborted for _, transport in waiting] == [True, True, False, False, False]
        for connection, _ in waiting:
            connection.connection_lost(None)
        assert served.clients._held == 0

    on_loop(tmp_path, test)


def test_a_large_body_is_kept_in_a_file_and_its_client_waits_meanwhile(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def test(served: Served) -> None:
        answer = served.answer

        async def noted(head: Head, arrived: Arrived, client: Http1) -> Reply:
            if isinstance(arrived, Request):
                seen.append(arrived)
            return await answer(head, arrived, client)

        served.answer = noted  # type: ignore[method-assign]
        served.serving = Serving(served, Limits(1000, 9 << 20, 10_000, 50, ()), tmp_path, 60.0, 60.0, served.end)
        connection, transport = served.client()
        size = 3 << 20
        connection.data_received(POST.replace(b"4", str(size).encode()))
        for number in range(size >> 16):
            while transport.paused:
                await asyncio.sleep(0.001)
            connection.data_received(bytes([number]) * (1 << 16))
        async with asyncio.timeout(10):
            while not transport.said:
                await asyncio.sleep(0.001)
        late, late_transport = served.client()
        late.data_received(POST.replace(b"4", str(size).encode()))
        late.data_received(b"x" * (2 << 20))
        for _ in range(2):  # while some of it is being written; enough had come the first time
            late.due = time.monotonic() - 1
            served.clients.look()
        async with asyncio.timeout(10):
            while not late_transport.said:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert late_transport.statuses() == [400]
        (request,) = seen
        assert request.spool is not None
        assert (request.body, request.size) == (b"", size)
        assert request.spool.whole() == b"".join(bytes([number]) * (1 << 16) for number in range(size >> 16))

    on_loop(tmp_path, test)


@pytest.mark.parametrize("error", [ValueError, NeedsDatabase])
def test_what_breaks_is_said_and_ends_the_connection(tmp_path: Path, error: type[BaseException]) -> None:
    async def test(served: Served) -> None:
        async def breaks(*_: Any) -> Reply:
            raise error

        served.answer = cast("Callable[..., Awaitable[Reply]]", breaks)  # type: ignore[method-assign, assignment]
        connection, transport = served.client()
        connection.data_received(GET % 1)
        await settled()
        assert transport.statuses() == [500]
        assert transport.shut

    on_loop(tmp_path, test)


def test_an_answer_that_breaks_off_in_being_written_ends_its_connection(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        connection, transport = served.client()

        async def large(head: Head, arrived: Arrived, client: Http1) -> Reply:
            transport.writelines = None  # type: ignore[assignment, method-assign]
            return Reply(Response(200, [("Content-Length", "100000")], b"x" * 100_000))

        served.answer = large  # type: ignore[method-assign]
        connection.data_received(GET % 1)
        await settled()
        assert transport.aborted

    on_loop(tmp_path, test)


def test_an_upload_in_flow_never_makes_room_and_one_that_stands_still_does(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        flows, flowing = served.client()
        flows.data_received(POST.replace(b"4", b"900000") + b"x" * 10_000)
        stands, standing = served.client()
        stands.data_received(POST.replace(b"4", b"900000") + b"x")
        await settled()
        assert not served.clients.have_room(), "both have only just come"
        for connection in (flows, stands):
            connection.due -= bounds.MOMENT
        assert served.clients.have_room()
        assert (flowing.aborted, standing.aborted) == (False, True)

    on_loop(tmp_path, test, most=2)


def test_who_takes_connections_without_asking_for_room_keeps_no_more_than_may_be(tmp_path: Path) -> None:
    """As while no worker serves (server/waiting_room.py)."""

    async def test(served: Served) -> None:
        idle = [served.client() for _ in range(3)]
        for connection, _ in idle:
            connection.data_received(GET % 1)
        await settled()
        served.client()
        assert [transport.aborted for _, transport in idle] == [True, False, False]

    on_loop(tmp_path, test, most=3)
