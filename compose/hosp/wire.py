"""HOSP on the wire: connections, faults, gzip and framing. What is answered is the application's affair."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
import uuid
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from compose.hosp.messages import Asked, Reply, format_of
from compose.hosp.profiles import Act
from compose.hosp.records import Hosp
from compose.hosp.rendering import REASONS, render

HANG = 30.0
LINGER = struct.pack("ii", 1, 0)
"""Close with RST."""


class Wired(Protocol):
    """What a connection needs of the simulator."""

    lock: threading.Lock
    connections: set[socket.socket]
    serving: set[socket.socket]
    """Those with a request under way."""
    in_flight: int
    most_in_flight: int
    most_awaited: int

    @property
    def hosp(self) -> Hosp: ...

    def act(self, method: str, path: str) -> Act: ...

    def answer(self, asked: Asked) -> Reply: ...

    def pause(self, seconds: float) -> None: ...

    def crowd(self) -> float: ...


class HospServer(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True
    block_on_close = False

    def shutdown_request(self, request: Any) -> None:
        """A connection to be reset gets no FIN first."""
        if request.fileno() >= 0 and request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(LINGER)) == LINGER:
            return self.close_request(request)
        return super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Clients that go away are their own affair."""


def _is_awaited(connection: socket.socket) -> bool:
    """Whether its caller has neither closed it nor died."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


class HospHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    simulator: Wired

    def setup(self) -> None:
        super().setup()
        self.simulator.connections.add(self.connection)

    def finish(self) -> None:
        self.simulator.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """The journal of what happened is `counts` and `applied`."""

    def _serve(self) -> None:
        simulator, began = self.simulator, time.monotonic()
        with simulator.lock:
            simulator.in_flight += 1
            simulator.most_in_flight = max(simulator.most_in_flight, simulator.in_flight)
            simulator.serving.add(self.connection)
            if len(simulator.serving) > simulator.most_awaited:
                simulator.most_awaited = max(simulator.most_awaited, sum(map(_is_awaited, simulator.serving)))
        try:
            body = self._body()
            act = simulator.act(self.command, self.path.partition("?")[0])
            simulator.pause(act.pause + simulator.crowd())
            self._act(act.fault, self._asked(body), began)
        finally:
            self._leave()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = _serve

    def _leave(self) -> None:
        """Its request is no longer under way; the second time nothing happens."""
        simulator = self.simulator
        with simulator.lock:
            if self.connection in simulator.serving:
                simulator.in_flight -= 1
                simulator.serving.discard(self.connection)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _act(self, fault: str, asked: Asked, began: float) -> None:
        if fault == "hang":
            self.simulator.pause(HANG)
        if fault in ("reset", "500"):
            return self._drop() if fault == "reset" else self._send(asked, self._failure(asked), began)
        reply = self.simulator.answer(asked)
        if fault == "applied_hang":
            self.simulator.pause(HANG)
        if fault == "applied_reset":
            return self._drop()
        if fault == "applied_500":
            return self._send(asked, self._failure(asked), began)
        cut = fault if fault in ("invalid", "invalid_json", "truncated") and reply.status in (200, 201) else ""
        return self._send(asked, reply, began, cut)

    def _asked(self, body: bytes) -> Asked:
        scheme = self.headers.get("X-Forwarded-Proto") or "http"
        origin = f"{scheme}://{self.headers.get('X-Forwarded-Host') or self.headers.get('Host')}"
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked("GET" if self.command == "HEAD" else self.command, self.path, headers, body, origin)

    def _failure(self, asked: Asked) -> Reply:
        return Reply(500, format=format_of(asked)[0])

    def _drop(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.close_connection = True

    def _send(self, asked: Asked, reply: Reply, began: float, cut: str = "") -> None:
        rendered = render(asked, reply, self.simulator.hosp.on)
        body, headers = rendered.body, rendered.headers
        packed = len(body) > 1024 and "gzip" in asked.headers.get("accept-encoding", "").lower()
        if cut.startswith("invalid"):
            body = body[: max(1, len(body) // 2)]
        if packed:
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
            headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
        length = len(body)
        if cut == "truncated":
            body = body[: length // 2]
        headers["Date"] = formatdate(usegmt=True)  # not Rails' own, but of the server that stands before it
        headers["X-Request-Id"] = self.headers.get("X-Request-Id") or uuid.uuid4().hex
        headers["X-Runtime"] = f"{time.monotonic() - began:.6f}"
        is_head = self.command == "HEAD"
        if rendered.chunked and not cut:
            if not is_head:
                headers["Transfer-Encoding"] = "chunked"
                body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        elif rendered.status not in (204, 304):
            headers["Content-Length"] = str(length)
        lines = [f"HTTP/1.1 {rendered.status} {REASONS.get(rendered.status, 'Error')}"]
        lines += [f"{name}: {content}" for name, content in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        sent = head + (b"" if is_head else body)
        self.connection.sendall(sent[:-1], socket.MSG_MORE)
        self._leave()  # whoever has the last byte may send the next request, before this thread runs again
        self.connection.sendall(sent[-1:])
        if cut == "truncated":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


def reset(connection: socket.socket) -> None:
    """Ends a connection with RST."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
