"""HOSP on the wire: a threaded server that can fail in every way that HOSP was seen to."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from compose.hosp.data import generate
from compose.hosp.profiles import PROFILES, Act, Profile, draw
from compose.hosp.records import Hosp

ERRORS = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 422: "Unprocessable Entity"}
PAGE = (
    "<!DOCTYPE html>\n<html><head><title>We're sorry, but something went wrong ({status})</title></head>"
    "<body>{fill}</body></html>"
)
HANG = 30.0
LINGER = struct.pack("ii", 1, 0)
"""Close with RST."""
KINDS = ("hang", "reset", "status500", "applied_500", "applied_hang", "applied_reset", "truncated", "invalid_json")


@dataclass
class Fault:
    """A fault that a test asked for, for the next `times` requests that it fits."""

    kind: str
    path_prefix: str = "/"
    method: str = ""
    times: int = 1


class Simulator:
    """HOSP and its control endpoint, in threads of this process. Records outlive a change of profile."""

    def __init__(
        self, profile: str = "calm", seed: int = 1, port: int = 0, control_port: int = 0, time_scale: float = 1.0,
        host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        """`host`: where it listens; its control does so on the same address."""
        from compose.hosp.control_server import control_server

        self.hosp = Hosp(generate(seed))
        self.counts: Counter[str] = Counter()
        self.most_in_flight = self.in_flight = 0
        self.faults: list[Fault] = []
        self._scale = time_scale
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server: _Server | None = None
        self.port = port
        self._host = host
        self._control = control_server(self, control_port, host)
        self.control_url = f"http://{host}:{self._control.server_address[1]}"
        self._closing = threading.Event()
        threading.Thread(target=self._vandals, daemon=True).start()
        self.door: str | None = None
        """Where the vandal writes: the front door, as everybody; None: straight at HOSP."""
        self.profile_name = ""
        self.set_profile(profile)

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def profile(self) -> Profile:
        return PROFILES[self.profile_name]

    @property
    def users(self) -> list[tuple[str, str]]:
        return list(self.hosp.data.passwords.items())

    def set_profile(self, name: str) -> None:
        """Behaves so from now on. Raises KeyError for a name that is no profile's."""
        down = PROFILES[name].down
        self.profile_name = name
        self._released.set()
        self._released = threading.Event()
        if down or self._server is None:
            self._listen(not down)

    def fault(self, kind: str, path_prefix: str = "/", method: str = "", times: int = 1) -> None:
        """Scripts one: hang, reset, status500, applied_500, applied_reset, truncated, invalid_json, slow:SECONDS."""
        word, _, seconds = kind.partition(":")
        if kind not in KINDS and not (word == "slow" and float(seconds) >= 0):
            raise ValueError(f"no fault {kind}")
        with self._lock:
            self.faults.append(Fault(kind, path_prefix, method, times))

    def requests(self) -> dict[str, Any]:
        """Requests that came, by method and path, and the most that were under way at once."""
        with self._lock:
            return {"counts": dict(self.counts), "max_in_flight": self.most_in_flight}

    def forget_requests(self) -> None:
        with self._lock:
            self.counts.clear()
            self.most_in_flight = self.in_flight

    def close(self) -> None:
        self._closing.set()
        self._released.set()
        self._listen(False)
        self._control.shutdown()
        self._control.server_close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _listen(self, up: bool) -> None:
        if not up and self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in list(self._connections):
                _reset(connection)
        elif up and self._server is None:
            self._server = _Server((self._host, self.port), type("Handler", (_Handler,), {"simulator": self}))
            self.port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        elif self.port == 0:
            with socket.socket() as probe:
                probe.bind((self._host, 0))
                self.port = probe.getsockname()[1]

    def act(self, method: str, path: str) -> Act:
        """What the next request gets, by a scripted fault or by the profile."""
        with self._lock:
            self.counts[f"{method} {path}"] += 1
            for fault in self.faults:
                if path.startswith(fault.path_prefix) and fault.method in ("", method):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    word, _, seconds = fault.kind.partition(":")
                    return Act(float(seconds)) if word == "slow" else Act(0, word.replace("status", ""))
            return draw(self.profile, self._dice, path, method not in ("GET", "HEAD") and not path.endswith("/screen"))

    def pause(self, seconds: float) -> None:
        """Sleeps, unless the profile changes meanwhile."""
        if seconds:
            self._released.wait(seconds * self._scale)

    def crowd(self) -> float:
        """Seconds that the crowd in flight adds."""
        return max(0, self.in_flight - self.profile.capacity) * self.profile.crowd_delay

    def _vandals(self) -> None:
        while not self._closing.wait(1):
            if self._dice.random() < self.profile.vandals:
                from compose.hosp.control_server import vandalise

                vandalise(self.door or self.url, self.users[-1], self._dice)


class _Server(ThreadingHTTPServer):
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    simulator: Simulator

    def setup(self) -> None:
        super().setup()
        self.simulator._connections.add(self.connection)

    def finish(self) -> None:
        self.simulator._connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """The journal of what happened is `counts` and `applied`."""

    def _serve(self) -> None:
        simulator, began = self.simulator, time.monotonic()
        with simulator._lock:
            simulator.in_flight += 1
            simulator.most_in_flight = max(simulator.most_in_flight, simulator.in_flight)
        try:
            body = self._body()
            act = simulator.act(self.command, self.path.partition("?")[0])
            simulator.pause(act.pause + simulator.crowd())
            self._act(act.fault, body, began)
        finally:
            with simulator._lock:
                simulator.in_flight -= 1

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _act(self, fault: str, body: bytes, began: float) -> None:
        if fault == "hang":
            self.simulator.pause(HANG)
        if fault in ("reset", "500"):
            return self._drop() if fault == "reset" else self._send(500, None, began)
        scheme = self.headers.get("X-Forwarded-Proto") or "http"
        origin = f"{scheme}://{self.headers.get('X-Forwarded-Host') or self.headers.get('Host')}"
        method = "GET" if self.command == "HEAD" else self.command
        status, value = self.simulator.hosp.answer(method, self.path, self.headers.get("Authorization"), body, origin)
        if fault == "applied_hang":
            self.simulator.pause(HANG)
        if fault == "applied_reset":
            return self._drop()
        if fault == "applied_500":
            return self._send(500, None, began)
        cut = fault if fault in ("invalid", "invalid_json", "truncated") and status in (200, 201) else ""
        return self._send(status, value, began, cut)

    def _drop(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.close_connection = True

    def _send(self, status: int, value: Any, began: float, cut: str = "") -> None:
        kind, body = self._render(status, value)
        packed = len(body) > 1024 and "gzip" in (self.headers.get("Accept-Encoding") or "").lower()
        if packed and not cut.startswith("invalid"):
            body = gzip.compress(body, 1, mtime=0)
        length = len(body)
        if cut.startswith("invalid"):
            body = body[: max(1, length // 2)]
            body = gzip.compress(body, 1, mtime=0) if packed else body
            length = len(body)
        elif cut == "truncated":
            body = body[: length // 2]
        lines = [f"HTTP/1.1 {status} {ERRORS.get(status, 'OK' if status < 400 else 'Internal Server Error')}"]
        fields = {
            "X-Frame-Options": "SAMEORIGIN",
            "X-Content-Type-Options": "nosniff",
            "Content-Type": kind,
            "ETag": f'W/"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"' if status == 200 else "",
            "Cache-Control": "max-age=0, private, must-revalidate" if status < 400 else "no-cache",
            "X-Request-Id": self.headers.get("X-Request-Id") or uuid.uuid4().hex,
            "X-Runtime": f"{time.monotonic() - began:.6f}",
            "WWW-Authenticate": 'Basic realm="Application"' if status == 401 else "",
            "Content-Encoding": "gzip" if packed else "",
            "Vary": "Accept-Encoding" if packed else "",
            "Content-Length": "" if status == 204 else str(length),
        }
        lines += [f"{name}: {content}" for name, content in fields.items() if content]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.wfile.write(head + (b"" if self.command == "HEAD" else body))
        if cut == "truncated":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _render(self, status: int, value: Any) -> tuple[str, bytes]:
        if status == 204:
            return "", b""
        if isinstance(value, str):
            return "text/html; charset=utf-8", value.encode()
        if value is not None:
            return "application/json; charset=utf-8", json.dumps(value, separators=(",", ":")).encode()
        if "application/json" in (self.headers.get("Accept") or ""):
            error = {"status": status, "error": ERRORS.get(status, "Internal Server Error")}
            return "application/json; charset=utf-8", json.dumps(error, separators=(",", ":")).encode()
        return "text/html; charset=utf-8", PAGE.format(status=status, fill=" " * 1700).encode()


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
