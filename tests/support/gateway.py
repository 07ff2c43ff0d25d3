"""The whole gateway in this process: no socket, no child. What is faked are the wires to the upstream, and the
transport of the client: the bytes of requests are read, and those of answers written, by the server's own protocol.

The composition is the program's own (`sidecar.app`), so that a test of this kind goes through every step of a request:
framing, policies, who answers, the upstream or the standby, the outbox, the record.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from email.message import Message
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, cast

from sidecar import app, start
from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Response
from sidecar.server.clients import Clients
from sidecar.server.gunicorn import new_serving
from sidecar.server.http1 import Http1
from sidecar.server.phase import Service
from sidecar.settings import Settings
from sidecar.upstream.connection import Call, Done, Sent
from tests.support.on_loop import Loop
from tests.support.stack import Got, until
from tests.support.upstream import State, _Handler

NEVER_SENT = "refused"
UPSTREAM = "http://hosp.test"


@cache
def fresh() -> dict[Path, bytes]:
    """What the program makes before its first start: the files under a folder. Made once, for it takes a while."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        data, seal, sign = folder / "data", folder / "seal", folder / "sign"
        data.mkdir()
        start.prepare(Settings(upstream=UPSTREAM, data=data, seal_key=seal, sign_key=sign))
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class FakeUpstream:
    """What `tests.support.upstream` is on a socket, in memory: the same records, users and rules.

    `fault`: what befalls each call until it is taken back. "refused": nothing can be sent; "reset": it is sent, and
    does nothing; "applied_reset": it does what it says, and nobody hears of it; "hang": silence until it is released;
    a Response: that one. `sent` are the calls of which a byte went out.
    """

    def __init__(self) -> None:
        self.state = State()
        self.fault: str | Response | None = None
        self.sent: list[Call] = []
        self.released = threading.Event()
        self.before: Callable[[Call], object] = lambda call: None
        """Called when the first byte of a call is next."""

    def start(self, call: Call, done: Done) -> None:
        """A call begins, on the gateway's loop; what the upstream does takes a thread, where it may take its time."""
        fault, begun = self.fault, time.time_ns()
        loop = asyncio.get_running_loop()

        def make() -> None:
            sent = self._sent(call, fault, begun)
            loop.call_soon_threadsafe(done, sent)

        threading.Thread(target=copy_context().run, args=(make,), daemon=True).start()

    def close(self) -> None:
        return

    def _sent(self, call: Call, fault: str | Response | None, begun: int) -> Sent:
        if fault == NEVER_SENT or (call.fence is not None and not call.fence()):
            return _end(begun, Outcome.FAILURE, NEVER_SENT)
        self.before(call)
        self.sent.append(call)
        if fault == "hang":
            self.released.wait()
            return _end(begun, Outcome.UNKNOWN, "timeout")
        if isinstance(fault, Response):
            return _end(begun, Outcome.SUCCESS, None, replace(fault, headers=list(fault.headers)))
        response = self.route(call) if fault != "reset" else None
        if fault in ("reset", "applied_reset"):
            return _end(begun, Outcome.UNKNOWN, "reset")
        return _end(begun, Outcome.SUCCESS, None, response)

    def targets(self, method: str) -> list[str]:
        return [call.target for call in self.sent if call.method == method]

    def route(self, call: Call) -> Response:
        handler = _Handler.__new__(type("Routed", (_Handler,), {"state": self.state}))
        handler.command, handler.path, handler.headers = call.method, call.target, Message()
        for name, value in call.headers:
            handler.headers[name] = value
        status, value, headers = handler._route(call.body)
        body = b"" if value is None else json.dumps(value, separators=(",", ":")).encode()
        return Response(status, [("Content-Type", "application/json"), *headers], body)


def _end(begun: int, outcome: Outcome, error: str | None, response: Response | None = None) -> Sent:
    took = time.time_ns() - begun
    return Attempt(begun, took, outcome, response.status if response else None, error), response


class _Client:
    """The transport of one client, who sends one request and waits for its answer."""

    def __init__(self, answered: asyncio.Future[bytes]) -> None:
        self._answered = answered
        self.closing = False

    def write(self, data: bytes) -> None:
        if not self._answered.done():
            self._answered.set_result(data)

    def writelines(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.7", 4711) if name == "peername" else self

    def fileno(self) -> int:
        return -1

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closing = True

    def ignore(self) -> None:
        return

    abort = close
    write_eof = pause_reading = resume_reading = ignore

    def set_write_buffer_limits(self, high: int) -> None:
        return


def _reset(client: Http1) -> None:
    cast("_Client", client._transport).close()
    client.connection_lost(ConnectionResetError())


def _written(method: str, target: str, headers: dict[str, str] | None, body: Any) -> bytes:
    """A request on the wire."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = {"Host": "hosp.test", **({"Content-Type": "application/json"} if data else {}), **(headers or {})}
    if data and not {"Content-Length", "Transfer-Encoding"} & sent.keys():
        sent["Content-Length"] = str(len(data))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data


class InProcess:
    """A gateway and its upstream. `ask` is a request of a user; `lines` what was recorded, newest last."""

    def __init__(self, folder: Path, upstream: FakeUpstream | None = None, **settings: Any) -> None:
        """`upstream`: one that was there before, where this is a restart in the same folder."""
        self.upstream = upstream or FakeUpstream()
        data, seal, sign = folder / "data", folder / "seal", folder / "sign"
        given = {"deadline": 0.3, "upstream_timeout": 1.0, "bypass_after": 3600.0, "hedge_after": 10.0}
        given |= {"retry_budget": 0.0, **settings}
        self.settings = Settings(upstream=UPSTREAM, data=data, seal_key=seal, sign_key=sign, **given)
        if not data.exists():
            for path, content in fresh().items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        self._loop = Loop()
        self._loop.run(self._start())

    async def _start(self) -> None:
        gateway = app.create_gateway_app(self.settings, Service(), self.upstream)
        self._serving = new_serving(self.settings, gateway)
        self._clients = Clients(self.settings.body_timeout, self.settings.write_timeout, 10_000)

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None) -> Got:
        answer = self._loop.run(self._say(_written(method, target, headers, body)), 120)
        head, _, got = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        pairs = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
        return Got(int(status.split()[1]), pairs, got)

    def come(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None, *, leaves: bool = False
    ) -> Http1:
        """A client who asks, and may `leave` before the answer; or leaves at once."""

        async def come() -> Http1:
            connection = self._connection(asyncio.get_running_loop().create_future())
            connection.data_received(_written(method, target, headers, body))
            if leaves:
                _reset(connection)
            return connection

        return self._loop.run(come())

    def leave(self, client: Http1) -> None:
        """Its connection is reset."""

        async def leave() -> None:
            _reset(client)

        self._loop.run(leave())

    def _connection(self, answered: asyncio.Future[bytes]) -> Http1:
        connection = Http1(self._serving, self._clients)
        connection.connection_made(cast("asyncio.Transport", _Client(answered)))
        return connection

    async def _say(self, data: bytes) -> bytes:
        """A client says it, and closes its half if no answer is to be had for so little."""
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        connection = self._connection(answered)
        connection.data_received(data)
        if connection.phase is not None:  # it waits for more
            connection.eof_received()
        try:
            return await answered
        finally:
            connection.connection_lost(None)

    @contextmanager
    def watching(self) -> Iterator[set[str]]:
        """The names of the functions that are called on the loop's own thread meanwhile."""
        called: set[str] = set()

        async def watch(look: Callable[[Any, str, Any], None] | None) -> None:
            sys.setprofile(look)

        self._loop.run(watch(lambda frame, event, given: called.add(frame.f_code.co_name)))
        try:
            yield called
        finally:
            self._loop.run(watch(None))

    def learned(self) -> None:
        """Waits until what was seen is learned, which goes on beside the requests."""
        for worker in app._running:
            worker.standby.flush(20)

    def knows(self, target: str, headers: dict[str, str]) -> Got:
        """Asks the upstream for it, and then the standby, which could answer in its place by now."""
        self.ask("GET", target, headers)
        return until(lambda: (got := self.down(target, headers)).status < 500 and got, 5, target)

    def down(self, target: str, headers: dict[str, str]) -> Got:
        """What the user would get just now, were the upstream away."""
        self.learned()
        fault, self.upstream.fault = self.upstream.fault, NEVER_SENT
        try:
            return self.ask("GET", target, headers)
        finally:
            self.upstream.fault = fault

    def events(self) -> list[dict[str, Any]]:
        """What is recorded, in the order in which it was."""
        lines: list[dict[str, Any]] = []
        for path in sorted((self.settings.data / "journal").glob("*.jsonl")):
            lines += [json.loads(line)["event"] for line in path.read_bytes().splitlines()]
        return lines

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.upstream.released.set()
        self._loop.run(app.end())
        app.close()
        self._loop.close()
