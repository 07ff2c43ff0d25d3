"""A strict upstream: h11 reads every byte that reaches it, and what h11 refuses is kept as malformed."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

import h11


@dataclass
class Arrived:
    """A request, as h11 understood it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Record:
    arrived: list[Arrived] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)

    def lengths(self) -> tuple[int, int]:
        return len(self.arrived), len(self.malformed)

    def since(self, before: tuple[int, int]) -> tuple[list[Arrived], list[str]]:
        """What arrived since `lengths` was asked, and what was malformed of it."""
        return self.arrived[before[0] :], self.malformed[before[1] :]


class _Handler(socketserver.BaseRequestHandler):
    record: Record

    def handle(self) -> None:
        connection = h11.Connection(h11.SERVER)
        request: Arrived | None = None
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(self.request.recv(65536))
                elif isinstance(event, h11.Request):
                    fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                    request = Arrived(event.method.decode(), event.target.decode("latin-1"), fields, b"")
                elif isinstance(event, h11.Data) and request is not None:
                    request.body += event.data
                elif isinstance(event, h11.EndOfMessage) and request is not None:
                    self.record.arrived.append(request)
                    self._answer(connection)
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    return
        except h11.RemoteProtocolError as error:
            self.record.malformed.append(str(error))
        except OSError:
            return

    def _answer(self, connection: h11.Connection) -> None:
        answer = h11.Response(status_code=200, headers=[("Content-Length", "2"), ("Content-Type", "text/plain")])
        for event in (answer, h11.Data(data=b"ok"), h11.EndOfMessage()):
            self.request.sendall(connection.send(event) or b"")


class Strict:
    """Serves on loopback while it is open."""

    def __init__(self) -> None:
        self.record = Record()
        handler = type("Handler", (_Handler,), {"record": self.record})
        self._server = type("Server", (socketserver.ThreadingTCPServer,), {"daemon_threads": True})(
            ("127.0.0.1", 0), handler
        )
        self._server.socket.listen(512)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Strict:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def said(port: int, pieces: list[bytes], pause: float = 0.0, answers: int = 0) -> list[int]:
    """Sends the pieces, waits for so many answers, says that nothing more will come, and reads to the end.

    The status of each final answer. Raises AssertionError for bytes that are no answer.
    """
    got = b""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while got.count(b"HTTP/1.1 2") < answers and (chunk := connection.recv(65536)):
                got += chunk
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                got += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass  # refused before it was all sent
    return _statuses(got)


def _statuses(got: bytes) -> list[int]:
    found = []
    while got:
        head, end, rest = got.partition(b"\r\n\r\n")
        assert end, f"an answer cut short: {got[:200]!r}"
        lines = head.split(b"\r\n")
        version, status = lines[0].split(b" ")[:2]
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), got[:200]
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        got = rest if int(status) < 200 else rest[int(fields.get(b"content-length", str(len(rest)).encode())) :]
        if int(status) >= 200:
            found.append(int(status))
    return found
