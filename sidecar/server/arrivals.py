"""A gunicorn worker in which a request gets a thread once it has arrived: slow or silent clients hold none.

gunicorn's gthread gives a new connection a thread at once, for five seconds of silence and for as long as it takes to
send its head: some hundred idle or slow connections stop it. Here they wait in the poller. A head has HEAD_TIMEOUT
from its first moment to its last byte; a body that is announced gets its thread with its last byte, or with the first
EAGER of them. The bytes are kept as they are and handed to gunicorn's parser, which alone says what they mean: what is
found here decides when a request is looked at, never how.

A thread that has answered waits for LINGER whether the next request of its connection follows, as it does under load:
that spares the way back to the poller and to another thread. While BUSY requests are at work, others wait in line.

When a worker has as many connections as it can hold, those that have waited longest for their client make room.
"""

from __future__ import annotations

import errno
import re
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gunicorn.http import get_parser
from gunicorn.http.body import Body, LengthReader
from gunicorn.util import http_date
from gunicorn.workers.gthread import TConn, ThreadWorker

from sidecar.server.client_socket import ClientSocket
from sidecar.server.refusals import TOO_LARGE, TOO_SLOW, Refuse, Why, plainly, why, written
from sidecar.server.underway import BRIEF

HEAD_TIMEOUT: Final = 10.0
"""Seconds within which the head of a request must be there."""
EAGER: Final = 64 * 1024
"""Bytes of a body that are waited for here; the rest is read by the request's thread."""
MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of all that arrives in a worker; beyond it, who has waited longest makes room."""
LINGER: Final = 2
"""Milliseconds in which a connection's next request finds the thread that answered the last one."""
STINT: Final = 5
"""Requests of one connection that a thread answers in a row while others wait for a thread."""
BUSY: Final = 6
"""Requests at work at once in a worker, for they share one interpreter: so few are answered half again as fast as 32 at
a time. Those at work for longer than BRIEF do not count: they wait for the upstream."""
SWEEP: Final = 0.25
"""Seconds between looks for those that had their time."""
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS: Final = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")


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


def _was_read(body: Body) -> bool:
    """Whether a body whose length is known was read to its end."""
    return isinstance(body.reader, LengthReader) and body.reader.length == 0 and not body.failed


class Waiting:
    """A connection whose request is arriving. `until`: when a head that is not there yet is given up."""

    __slots__ = ("conn", "data", "since", "until")

    def __init__(self, conn: TConn, data: bytes) -> None:
        self.conn = conn
        self.data = data
        self.since = time.monotonic()
        self.until = self.since + HEAD_TIMEOUT


class ArrivalsWorker(ThreadWorker):  # type: ignore[misc]
    """What sidecar/worker.py builds on. All but `handle` runs in the worker's main thread."""

    body_timeout = 30.0
    """Seconds a body may take before it gets a thread all the same, which finds it cut short."""
    largest_head = 112 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[TConn, Waiting] = {}
        """In the order in which they began to wait."""
        self._held = 0
        """Bytes of theirs."""
        self._swept = 0.0
        self._queued: deque[TConn] = deque()
        """Whose requests are here and have no thread yet."""
        self._begun: dict[TConn, float] = {}
        """Those with a thread, and when their request got it."""
        self._at_hand = threading.local()
        """Of a thread: the head of its request, as it came."""

    def enqueue_req(self, conn: TConn) -> None:
        """The request is here. It gets its thread once this round of events is over."""
        self._queued.append(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, BRIEF) if self._queued else timeout)
        now = time.monotonic()
        fresh = sum(now - since < BRIEF for since in self._begun.copy().values()) if self._queued else 0
        while self._queued and fresh < BUSY and len(self._begun) < self.cfg.threads:
            conn = self._queued.popleft()
            self._begun[conn], fresh = now, fresh + 1
            super().enqueue_req(conn)

    def handle(self, conn: TConn) -> bool:
        """One request, and those that follow on its connection at once. Runs in a thread of the pool."""
        try:
            self._at_hand.head = conn.head
            kept, done = super().handle(conn), 1
            while kept is True and self._follows(conn, done):
                self._begun[conn], done = time.monotonic(), done + 1
                kept = super().handle(conn)
            return bool(kept)
        finally:
            self._at_hand.head = conn.head = b""
            del self._begun[conn]

    def handle_error(self, _req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Refuses what is no request; for gunicorn's own answers have no id, are no problem+json and are not
        recorded. Runs in a thread of the pool."""
        found, remote = why(exc), str(addr[0]) if addr else ""
        if found[0] == 500:
            self.log.exception("Error handling request")
        else:
            self.log.warning(f"Invalid request from ip={remote}: {type(exc).__name__}")
        self._say(client, found, self._at_hand.head, remote)

    def _say(self, client: socket.socket, why: Why, head: bytes, remote: str) -> None:
        refuse: Refuse = plainly if why[0] == 500 else getattr(self.wsgi, "refuse", plainly)
        try:
            client.sendall(written(refuse(why, head, remote), http_date))
        except OSError:
            pass  # nobody is there to hear it

    def _refuse(self, conn: TConn, why: Why, head: bytes) -> None:
        """Has a thread refuse what has not become a request in time, or is too large."""
        said = self.tpool.submit(self._say, conn.sock, why, head[: self.largest_head], str(conn.client[0]))
        said.add_done_callback(lambda _: self.method_queue.defer(self.finish_request, conn, said))

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether the connection can be used again. Of a body that was read, nothing is to be drained."""
        message = conn.parser.mesg
        if keepalive and message is not None and _was_read(message.body):
            conn.parser.mesg = None
            return True
        return bool(super()._keepalive_after(conn, keepalive))

    def _follows(self, conn: TConn, done: int) -> bool:
        """Whether the next request is here. What there is of one that is not whole is left to the poller."""
        if not self.alive or (self._queued and done >= STINT) or conn.sock.owed:
            return False
        unreader = conn.parser.unreader
        data = unreader.take_buffered()
        if not data:
            poll = select.poll()
            poll.register(conn.sock, select.POLLIN)
            if not poll.poll(LINGER):
                return False
            data = conn.sock.recv(EAGER, socket.MSG_DONTWAIT)
        unreader.unread(data)
        end = head_ends(data) or 0
        self._at_hand.head = data[: end or self.largest_head]
        return end <= self.largest_head and arrived(data)

    def accept(self, listener: socket.socket) -> bool:
        """Takes a connection in, and gives it a thread if its request is there. False: nobody was waiting."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                return self._make_room()
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return error.errno == errno.ECONNABORTED
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._begin(TConn(self.cfg, ClientSocket(client), address, listener.getsockname()), b"")
        return True

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """A kept-alive connection: its next request begins."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn, b"")

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """After an answer. Bytes of the next request that were read ahead wait like any others."""
        kept = not fs.cancelled() and fs.exception() is None and fs.result() is True
        ahead = conn.parser.unreader.take_buffered() if kept else b""
        if ahead:
            conn.sock.setblocking(False)
            self._begin(conn, ahead)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Called between events: ends the wait of those that had their time."""
        super().murder_pending()
        now = time.monotonic()
        if now - self._swept < SWEEP:
            return
        self._swept = now
        for waiting in list(self._waiting.values()):
            headless = head_ends(waiting.data) is None
            if headless and now >= waiting.until:
                self._leave(waiting)
                if waiting.data:
                    self._refuse(waiting.conn, TOO_SLOW, waiting.data)
                else:
                    self._close(waiting.conn)
            elif not headless and now >= waiting.since + self.body_timeout:
                self._leave(waiting)
                self._cut(waiting)

    def _cap_keepalive(self, deadline: float) -> None:
        """When the worker ends: who has said nothing yet is given no longer than a kept-alive connection."""
        super()._cap_keepalive(deadline)
        for waiting in self._waiting.values():
            waiting.until = waiting.until if waiting.data else min(waiting.until, deadline)

    def _begin(self, conn: TConn, data: bytes) -> None:
        waiting = Waiting(conn, data)
        next_step = self._look(waiting)
        if next_step is not None:
            next_step()
            return
        self._waiting[conn] = waiting
        self._held += len(waiting.data)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._more, waiting))

    def _more(self, waiting: Waiting, _socket: socket.socket) -> None:
        before = len(waiting.data)
        next_step = self._look(waiting)
        self._held += len(waiting.data) - before
        if next_step is not None:
            self._leave(waiting)
            next_step()
        elif self._held > MOST_HELD:
            self._make_room()

    def _look(self, waiting: Waiting) -> Callable[[], None] | None:
        """Takes what has come; what to do with the connection, or None: it goes on waiting."""
        try:
            new = waiting.conn.sock.recv(EAGER)
            waiting.data += new
            ended = not new
        except BlockingIOError:
            ended = False
        except OSError:
            return lambda: self._close(waiting.conn)
        if ended and not waiting.data:
            return lambda: self._close(waiting.conn)
        end = head_ends(waiting.data)
        if (len(waiting.data) if end is None else end) > self.largest_head:
            return lambda: self._refuse(waiting.conn, TOO_LARGE, waiting.data)
        return (lambda: self._hand_over(waiting)) if ended or arrived(waiting.data) else None

    def _hand_over(self, waiting: Waiting) -> None:
        conn = waiting.conn
        if conn.parser is None:
            conn.parser = get_parser(self.cfg, conn.sock, conn.client)
            conn.initialized = True
        conn.parser.unreader.unread(waiting.data)
        conn.head = waiting.data[: head_ends(waiting.data) or self.largest_head]
        waiting.data = b""
        conn.data_ready = True
        self.enqueue_req(conn)

    def _cut(self, waiting: Waiting) -> None:
        """A body that takes too long: its thread will find it cut short."""
        try:
            waiting.conn.sock.shutdown(socket.SHUT_RD)
        except OSError:
            self._close(waiting.conn)
        else:
            self._hand_over(waiting)

    def _make_room(self) -> bool:
        """Drops the connection that has waited longest for its client, kept-alive ones last."""
        if self._waiting:
            waiting = next(iter(self._waiting.values()))
            self._leave(waiting)
            self._close(waiting.conn)
        elif self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._close(conn)
        else:
            return False
        return True

    def _leave(self, waiting: Waiting) -> None:
        del self._waiting[waiting.conn]
        self._held -= len(waiting.data)
        self.poller.unregister(waiting.conn.sock)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()
