"""The whole gateway in this process: no socket, no child. What is faked is the wire to the upstream alone.

The composition is the program's own (`sidecar.app`), so that a test of this kind goes through every step of a request:
framing, policies, who answers, the upstream or the standby, the outbox, the record.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from email.message import Message
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from sidecar import app
from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Headers, Response
from sidecar.server.phase import Service
from sidecar.settings import Settings
from sidecar.upstream.connection import Call, Sent, Wire
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
        app.prepare(Settings(upstream=UPSTREAM, data=data, seal_key=seal, sign_key=sign))
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

    def wire(self) -> Wire:
        return _FakeWire(self)

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


class _FakeWire(Wire):
    """One call at a time, of which the fake says what becomes."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream

    def close(self) -> None:
        return

    def begin(self, call: Call) -> None:
        self._call, self._fault, self._begun = call, self._upstream.fault, time.time_ns()
        if self._fault != NEVER_SENT and (call.fence is None or call.fence()):
            self._upstream.before(call)
            self._upstream.sent.append(call)

    def go_on(self, until: float | None = None) -> Sent | None:
        fault = self._fault
        if fault == "hang":
            left = None if until is None else max(0.0, until - time.monotonic())
            return self._end(Outcome.UNKNOWN, "timeout") if self._upstream.released.wait(left) else None
        if fault == NEVER_SENT:
            return self._end(Outcome.FAILURE, NEVER_SENT)
        if isinstance(fault, Response):
            return self._end(Outcome.SUCCESS, None, fault)
        if fault != "reset":
            response = self._upstream.route(self._call)
        if fault in ("reset", "applied_reset"):
            return self._end(Outcome.UNKNOWN, "reset")
        return self._end(Outcome.SUCCESS, None, response)

    def _end(self, outcome: Outcome, error: str | None, response: Response | None = None) -> Sent:
        took = time.time_ns() - self._begun
        return Attempt(self._begun, took, outcome, response.status if response else None, error), response


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
        self._app = app.create_gateway_app(self.settings, Service(), self.upstream.wire)

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None) -> Got:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"Host": "hosp.test", **({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "RAW_URI": target,
            "PATH_INFO": unquote(target.partition("?")[0]),
            "QUERY_STRING": target.partition("?")[2],
            "SERVER_NAME": "hosp.test",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.7",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(data),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if data and "Content-Length" not in sent:
            environ["CONTENT_LENGTH"] = str(len(data))
        for name, value in sent.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        answered: list[tuple[str, Headers]] = []

        def start_response(status: str, fields: Headers, _error: Any = None) -> Callable[[bytes], Any]:
            answered.append((status, fields))
            return lambda _: None

        pieces = self._app.wsgi_app(environ, start_response)
        got = b"".join(pieces)
        if hasattr(pieces, "close"):
            pieces.close()
        status, fields = answered[-1]
        return Got(int(status.split()[0]), list(fields), got)

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
        app.close()
