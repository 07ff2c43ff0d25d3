"""Answers while the database is waited for at the start: 503 to whoever comes, so that balancers turn elsewhere.

Nothing is read of a request but its head, and nothing of it is sent on. All threads have ended when `close` returns:
processes are forked after it.
"""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sidecar.http.identifiers import request_id, uuid7

PATIENCE: Final = 1.0
"""Seconds for a request's head to come, and for its client to take the answer."""
LONGEST: Final = 64 * 1024
AT_ONCE: Final = 16
"""Clients that are answered at a time; the others wait."""


def refusal(detail: str, head: bytes) -> bytes:
    """The answer to a request with this head, problem+json (RFC 9457), under its X-Request-Id or one of ours."""
    named = request_id(_field(head, b"x-request-id"), uuid7(time.time_ns()))
    body = json.dumps({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail}).encode()
    fields = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 2\r\n"
        f"X-Request-Id: {named}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return fields.encode() + body


def _field(head: bytes, name: bytes) -> str | None:
    """The first field of that name, where the head has one."""
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        called, colon, value = line.partition(b":")
        if colon and called.lower() == name:
            return value.strip(b" \t").decode("latin-1")
    return None


class WaitingRoom:
    """Serves listening sockets that stay their owner's."""

    def __init__(self, listeners: Iterable[socket.socket], detail: str) -> None:
        self._listeners = [listener.dup() for listener in listeners]
        self._detail = detail
        self._stop = threading.Event()
        self._clients = ThreadPoolExecutor(AT_ONCE, "waiting")
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answers nobody any more."""
        self._stop.set()
        self._thread.join()
        self._clients.shutdown()
        for listener in self._listeners:
            listener.setblocking(True)  # the original's too: they are one
            listener.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, listener)
            while not self._stop.is_set():
                for key, _ in selector.select(0.1):
                    self._accept(key.data)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # it has left already, or there is no descriptor for it now
        self._clients.submit(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(PATIENCE)
            try:
                head = b""
                while b"\r\n\r\n" not in head and len(head) < LONGEST and (more := client.recv(65536)):
                    head += more
                client.sendall(refusal(self._detail, head))
                client.shutdown(socket.SHUT_WR)
                client.recv(65536)  # a close with bytes unread would take the answer back
            except OSError:
                return
