"""Answers while the database is waited for at the start: 503 to whoever comes, so that balancers turn elsewhere.

Nothing of a request is sent on. All threads have ended when `close` returns: processes are forked after it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterable
from typing import Final

from sidecar.http.identifiers import request_id, uuid7
from sidecar.http.messages import Headers, Response, first
from sidecar.http.problem import RetryAfter, problem
from sidecar.server.clients import Clients
from sidecar.server.framing import glimpse
from sidecar.server.gunicorn import new_serving
from sidecar.server.http1 import Arrived, Http1, Reply
from sidecar.server.loop import new_loop
from sidecar.server.request_parser import Head, Why
from sidecar.server.wsgi import measured
from sidecar.settings import Settings

LOOK: Final = 0.25
"""Seconds between looks at those that had their time."""
CLOSING: Final = 0.01
"""Seconds that the loop goes on after the last answer."""
AT_ONCE: Final = 1000
"""Connections, at most."""


class WaitingRoom:
    """Serves listening sockets that stay their owner's."""

    def __init__(self, listeners: Iterable[socket.socket], detail: str, settings: Settings) -> None:
        self._listeners = [listener.dup() for listener in listeners]
        self._detail = detail
        self._serving = new_serving(settings, self)
        self._clients = Clients(settings.body_timeout, settings.write_timeout, AT_ONCE)
        self._loop = new_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._thread.start()

    async def answer(self, head: Head, arrived: Arrived, client: Http1) -> Reply:
        """503, whatever it is."""
        return Reply(self._refusal(head.headers), close=True)

    async def refuse(self, why: Why, head: bytes, remote: str) -> Response:
        """The same."""
        return self._refusal(glimpse(head)[2])

    def close(self) -> None:
        """Answers nobody any more."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        for listener in self._listeners:
            listener.setblocking(True)  # the original's too: they are one
            listener.close()

    def _refusal(self, headers: Headers) -> Response:
        """Under the request's X-Request-Id, or one of ours."""
        answer = problem(503, self._detail, retry_after=RetryAfter.MOMENT)
        named = request_id(first(headers, "x-request-id"), uuid7(time.time_ns()))
        answer.headers.append(("X-Request-Id", named))
        return measured(answer)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        serve = self._loop.create_server
        servers = [
            await serve(lambda: Http1(self._serving, self._clients), sock=found.dup()) for found in self._listeners
        ]
        while not self._over.is_set():
            self._clients.look()
            try:
                async with asyncio.timeout(LOOK):
                    await self._over.wait()
            except TimeoutError:
                continue
        for server in servers:
            server.close()
        self._clients.cut()
        await asyncio.sleep(CLOSING)  # what is closed is closed once the loop has come to it
