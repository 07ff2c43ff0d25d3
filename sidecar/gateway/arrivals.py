"""A gunicorn worker in which a request gets a thread once it has arrived: slow or silent clients hold none.

gunicorn's gthread gives a new connection a thread at once, for five seconds of silence and for as long as it takes to
send its head: some hundred idle or slow connections stop it. Here they wait in the poller. A head has HEAD_TIMEOUT
from its first moment to its last byte; a body that is announced gets its thread with its last byte, or with the first
EAGER of them. The bytes are kept as they are and handed to gunicorn's parser, which alone says what they mean: what is
found here decides when a request is looked at, never how.

When a worker has as many connections as it can hold, those that have waited longest for their client make room.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from functools import partial
from typing import Any, Final

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn, ThreadWorker

HEAD_TIMEOUT: Final = 10.0
"""Seconds within which the head of a request must be there."""
BODY_TIMEOUT: Final = 30.0
"""Seconds a body may take before it gets a thread all the same, which finds it cut short."""
LARGEST_HEAD: Final = 64 * 1024
EAGER: Final = 64 * 1024
"""Bytes of a body that are waited for here; the rest is read by the request's thread."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS: Final = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_ANSWER: Final = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_SLOW: Final = _ANSWER % b"408 Request Timeout"
TOO_LARGE: Final = _ANSWER % b"431 Request Header Fields Too Large"


def head_ends(data: bytes) -> int | None:
    """Where the body would begin; 0 when the head is malformed already, so that no more of it is needed; None: more
    is to come. One empty line before the head is passed over (RFC 9112, 2.2)."""
    begin = 2 if data[:2] == b"\r\n" else 0
    if data[begin : begin + 2] == b"\r\n":
        return 0
    end = data.find(b"\r\n\r\n", begin)
    head = data if end < 0 else data[:end]
    if head.count(b"\n") != head.count(b"\r\n"):
        return 0
    return None if end < 0 else end + 4


def arrived(data: bytes) -> bool:
    """Whether a request that begins with `data` can be given to a thread."""
    end = head_ends(data)
    if end is None:
        return False
    head, body = data[:end], data[end:]
    if end == 0 or len(body) >= EAGER or _EXPECTS.search(head):
        return True
    if _CODED.search(head):
        return _chunks_end(body)
    length = _LENGTH.search(head)
    return length is None or len(body) >= int(length[1])


def _chunks_end(body: bytes) -> bool:
    """Whether no more is needed of a chunked body: it is whole, or malformed already."""
    at = 0
    while (line := body.find(b"\r\n", at)) >= 0:
        size = _SIZE.fullmatch(body, at, line)
        if size is None:
            return True
        at, count = line + 2, int(size[1], 16)
        if count == 0:
            return body.startswith(b"\r\n", at) or b"\r\n\r\n" in body[at:] or _bare(body[at:])
        at += count
        if len(body) < at + 2:
            return False
        if body[at : at + 2] != b"\r\n":
            return True
        at += 2
    return b"\n" in body[at:]


def _bare(data: bytes) -> bool:
    """Whether a line ends without its CR."""
    return data.count(b"\n") != data.count(b"\r\n")


class Waiting:
    """A connection whose request is arriving."""

    __slots__ = ("conn", "data", "since")

    def __init__(self, conn: TConn, data: bytes) -> None:
        self.conn = conn
        self.data = data
        self.since = time.monotonic()


class Worker(ThreadWorker):  # type: ignore[misc]
    """Set as gunicorn's `worker_class`. All but `handle` runs in the main thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[TConn, Waiting] = {}
        """In the order in which they began to wait."""

    def accept(self, listener: socket.socket) -> None:
        """Takes a connection in, and gives it a thread if its request is there."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        conn = TConn(self.cfg, client, address, listener.getsockname())
        self._begin(conn, b"")

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """A kept-alive connection: its next request begins."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn, b"")

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """After an answer. Bytes of the next request that were read ahead wait like any others."""
        try:
            ahead = conn.parser.unreader.take_buffered() if fs.result() is True else b""
        except Exception:
            ahead = b""  # super() closes the connection
        if ahead:
            conn.sock.setblocking(False)
            self._begin(conn, ahead)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Called once a second: ends the wait of those that had their time."""
        super().murder_pending()
        now = time.monotonic()
        for waiting in list(self._waiting.values()):
            headless = head_ends(waiting.data) is None
            if now - waiting.since < (HEAD_TIMEOUT if headless else BODY_TIMEOUT):
                continue
            if headless:
                self._drop(waiting, TOO_SLOW if waiting.data else b"")
            else:
                self._shut(waiting)

    def _begin(self, conn: TConn, data: bytes) -> None:
        waiting = Waiting(conn, data)
        if not self._look(waiting):
            self._waiting[conn] = waiting
            self.poller.register(conn.sock, 1, partial(self._more, waiting))

    def _more(self, waiting: Waiting, _socket: socket.socket) -> None:
        if self._look(waiting):
            self._leave(waiting)

    def _look(self, waiting: Waiting) -> bool:
        """Takes what has come; True when the wait is over."""
        conn = waiting.conn
        try:
            new = conn.sock.recv(EAGER)
        except BlockingIOError:
            if not arrived(waiting.data):
                return False
            new = b""
        except OSError:
            self._close(conn)
            return True
        else:
            waiting.data += new
            if new and not arrived(waiting.data):
                if len(waiting.data) <= LARGEST_HEAD or head_ends(waiting.data) is not None:
                    return False
                self._close(conn, TOO_LARGE)
                return True
        if not waiting.data:
            self._close(conn)
            return True
        self._hand_over(waiting)
        return True

    def _hand_over(self, waiting: Waiting) -> None:
        conn = waiting.conn
        if conn.parser is None:
            conn.parser = get_parser(self.cfg, conn.sock, conn.client)
            conn.initialized = True
        conn.parser.unreader.unread(waiting.data)
        conn.data_ready = True
        self.enqueue_req(conn)

    def _shut(self, waiting: Waiting) -> None:
        """A body that takes too long: its thread will find it cut short."""
        self._leave(waiting)
        try:
            waiting.conn.sock.shutdown(socket.SHUT_RD)
        except OSError:
            self._close(waiting.conn)
            return
        self._hand_over(waiting)

    def _make_room(self) -> None:
        """Drops the connection that has waited longest for its client, kept-alive ones last."""
        if self._waiting:
            self._drop(next(iter(self._waiting.values())))
        elif self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._close(conn)

    def _drop(self, waiting: Waiting, answer: bytes = b"") -> None:
        self._leave(waiting)
        self._close(waiting.conn, answer)

    def _leave(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting.conn, None)
        self.poller.unregister(waiting.conn.sock)

    def _close(self, conn: TConn, answer: bytes = b"") -> None:
        self.nr_conns -= 1
        if answer:
            try:
                conn.sock.send(answer)
            except OSError:
                pass  # it will not hear it
        conn.close()
