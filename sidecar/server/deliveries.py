"""What happens to a connection after its answer: slow readers and slow closers hold no thread, nor up the event loop.

What a client does not take at once goes out as it takes it; one that takes nothing for WRITE_TIMEOUT is given up, and
when more waits in a worker than MOST_OWED, who has waited longest. A connection that we close is closed once the client
has closed its side, or LINGER_CLOSE later: closed at once, with bytes unread, it would take the answer back.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import TConn

from sidecar.server.arrivals import ArrivalsWorker

MOST_OWED: Final = 256 * 1024 * 1024
"""Bytes of answers that wait for their clients in a worker."""
LINGER_CLOSE: Final = 2.0
"""Seconds in which a client may close its side after we have closed ours."""
DRAINED: Final = 64 * 1024
"""Bytes that are read meanwhile, at most."""
_RESET: Final = struct.pack("ii", 1, 0)


class Owing:
    """A connection whose answer waits for its client. `until`: when it is given up, unless the client takes some;
    `left`: what it had not taken when that was last looked at."""

    __slots__ = ("conn", "done", "left", "until")

    def __init__(self, conn: TConn, done: Any, until: float) -> None:
        self.conn = conn
        self.done = done
        self.left = conn.sock.owed + conn.sock.on_its_way()
        self.until = until


class Closing:
    """A connection of which our half is closed."""

    __slots__ = ("conn", "drained", "until")

    def __init__(self, conn: TConn, until: float) -> None:
        self.conn = conn
        self.drained = 0
        self.until = until


class DeliveriesWorker(ArrivalsWorker):
    """All of it runs in the worker's main thread."""

    write_timeout = 30.0
    """Seconds in which a client must take some of its answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owing: dict[TConn, Owing] = {}
        """In the order in which they began to wait."""
        self._owed = 0
        """Bytes of theirs."""
        self._closing: dict[TConn, Closing] = {}

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """A thread is done with a connection."""
        if conn.sock.owed and conn.sock.fileno() >= 0:
            conn.sock.setblocking(False)
            self._owing[conn] = Owing(conn, fs, time.monotonic() + self.write_timeout)
            self._owed += conn.sock.owed
            self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._more_is_taken, conn))
            while self._owed > MOST_OWED:
                self._give_up(next(iter(self._owing)))
        elif not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
        else:
            self._close_gently(conn)

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        for owing in [owing for owing in self._owing.values() if now >= owing.until]:
            self._look_again(owing, now)
        while self._closing and next(iter(self._closing.values())).until <= now:
            self._close_now(next(iter(self._closing)))

    def _more_is_taken(self, conn: TConn, _socket: socket.socket) -> None:
        gone, before = False, conn.sock.owed
        try:
            conn.sock.flush()
        except OSError:
            gone = True
        self._owed -= before - conn.sock.owed
        if gone:
            self._give_up(conn)
        if conn.sock.owed or gone:
            return
        owing = self._owing.pop(conn)
        self.poller.unregister(conn.sock)
        self.finish_request(conn, owing.done)

    def _look_again(self, owing: Owing, now: float) -> None:
        """Whether the client has taken some: what the kernel holds for it tells, which asks for more late."""
        left = owing.conn.sock.owed + owing.conn.sock.on_its_way()
        if left < owing.left:
            owing.left, owing.until = left, now + self.write_timeout
        else:
            self._give_up(owing.conn)

    def _give_up(self, conn: TConn) -> None:
        """Resets the connection: what is left of the answer must not look like its end."""
        del self._owing[conn]
        self._owed -= conn.sock.owed
        self.poller.unregister(conn.sock)
        conn.sock.forget()
        try:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            self._close(conn)

    def _close_gently(self, conn: TConn) -> None:
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._closing[conn] = Closing(conn, time.monotonic() + LINGER_CLOSE)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        self._drain(conn, conn.sock)

    def _drain(self, conn: TConn, _socket: socket.socket) -> None:
        closing = self._closing[conn]
        try:
            while closing.drained < DRAINED and (more := conn.sock.recv(16384)):
                closing.drained += len(more)
        except BlockingIOError:
            return
        except OSError:
            pass  # the client has reset it
        self._close_now(conn)

    def _close_now(self, conn: TConn) -> None:
        del self._closing[conn]
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _make_room(self) -> bool:
        """Before those who wait to be heard: those who have been answered."""
        if self._closing:
            self._close_now(next(iter(self._closing)))
            return True
        return super()._make_room()
