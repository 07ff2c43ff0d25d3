"""A small, real upstream for tests: patients and notes in memory, Basic credentials, faults on demand, all recorded."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

USERS = {"Dr Holt": "s3cret-Holt", "Dr Ames": "s3cret-Ames", "Dr Zorn": "Zorn/pä$s w+rd&=?<xyzzy>"}
SET_COOKIE = "_hosp_session=S3t-C00kie+xyzzy/%2F==; HttpOnly"


def basic(user: str, password: str | None = None) -> str:
    return "Basic " + base64.b64encode(f"{user}:{USERS.get(user) if password is None else password}".encode()).decode()


HOLT = {"Authorization": basic("Dr Holt"), "Accept": "application/json"}
AMES = {"Authorization": basic("Dr Ames"), "Accept": "application/json"}


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose target starts with `prefix`."""

    kind: str
    prefix: str = "/"
    method: str | None = None
    times: int = 1
    seconds: float = 30.0


@dataclass
class State:
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    patients: dict[int, dict[str, Any]] = field(default_factory=dict)
    staffs: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Kept as given: this upstream shows even passwords."""
    only_for: dict[int, str] = field(default_factory=dict)
    """Note id → the one user it is shown to; to others it does not exist."""
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    released: threading.Event = field(default_factory=threading.Event)
    connections: set[socket.socket] = field(default_factory=set)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: State

    def setup(self) -> None:
        super().setup()
        self.state.connections.add(self.connection)

    def finish(self) -> None:
        self.state.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        return

    def _serve(self) -> None:
        state = self.state
        with state.lock:
            state.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, state.in_flight)
        self._is_under_way = True
        try:
            self._answer()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Its request is no longer under way; the second time nothing happens."""
        if self._is_under_way:
            self._is_under_way = False
            with self.state.lock:
                self.state.in_flight -= 1

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = do_BREW = _serve

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state = self.state
        with state.lock:
            state.seen.append(Seen(self.command, self.path, list(self.headers.items()), body))
            fault = next((f for f in state.faults if self._hit(f)), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    state.faults.remove(fault)
        if fault is not None and not self._fail(fault, body):
            return
        status, value, headers = self._route(body)
        self._send(status, value, headers)

    def _hit(self, fault: Fault) -> bool:
        return self.path.startswith(fault.prefix) and fault.method in (None, self.command)

    def _fail(self, fault: Fault, body: bytes) -> bool:
        """Misbehaves; True when the request goes on to be answered."""
        if fault.kind in ("hang", "slow"):
            self.state.released.wait(fault.seconds)
            return fault.kind == "slow"
        if fault.kind == "stale":  # what was true when it was asked
            answer = self._route(body)
            self.state.released.wait(fault.seconds)
            self._send(*answer)
        if fault.kind.startswith("applied"):
            self._route(body)
        if fault.kind == "applied_hang":
            self.state.released.wait(fault.seconds)
            self.close_connection = True
        elif fault.kind.endswith("500"):
            self._send(500, {"status": 500, "error": "Internal Server Error"}, [])
        elif (
            fault.kind == "quoting"
        ):  # a debugging page: quotes the request, its credentials and its body, and a cookie
            said = f"{self.command} {self.path}\n{self.headers}\n{body.decode(errors='replace')}"
            self._send(500, {"error": said}, [("Set-Cookie", SET_COOKIE)])
        elif fault.kind.endswith("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault.kind == "invalid_json":
            self._raw(200, b'{"id": 1, "title": "cut', [("Content-Type", "application/json")])
        elif fault.kind == "redirect":
            self._raw(301, b"", [("Location", f"https://127.0.0.1{self.path}")])
        elif fault.kind == "page":
            self._raw(200, b"<html><body>Back soon.</body></html>", [("Content-Type", "text/html; charset=utf-8")])
        elif fault.kind == "truncated":
            self._raw(200, b'[{"id":1', [("Content-Type", "application/json"), ("Content-Length", "5000")])
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        return False

    def _route(self, body: bytes) -> tuple[int, Any, list[tuple[str, str]]]:
        path, _, query = self.path.partition("?")
        parts = path.strip("/").removesuffix(".json").split("/")
        if path == "/":
            return 200, "<html><body>Server is online.</body></html>", []
        user = self._user()
        if user is None:
            return 401, {"status": 401, "error": "Unauthorized"}, [("WWW-Authenticate", 'Basic realm="Application"')]
        if path == "/echo":
            return 200, {"method": self.command}, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", "")]
        if path == "/staffs/me":
            return 200, {"id": sorted(USERS).index(user) + 1, "name": user}, []
        if len(parts) == 3 and parts[2] == "screen":
            return 200, {"overall": "clear", "results": [len(image) for image in json.loads(body)["images"]]}, []
        if path == "/session":
            return 200, {"method": self.command}, [("Set-Cookie", SET_COOKIE)]
        tables = {"notes": self.state.notes, "patients": self.state.patients, "staffs": self.state.staffs}
        table = tables.get(parts[0])
        if table is None:
            return 500, {"status": 500, "error": "Internal Server Error"}, []
        with self.state.lock:
            return self._record(user, table, parts, query, body)

    def _record(
        self, user: str, table: dict[int, dict[str, Any]], parts: list[str], query: str, body: bytes
    ) -> tuple[int, Any, list[tuple[str, str]]]:
        given = json.loads(body) if body else {}
        if len(parts) == 1 and self.command == "POST":
            ident = max(table, default=0) + 1
            table[ident] = {"id": ident, **given}
            return 201, self._shown(parts[0], table[ident]), []
        if len(parts) == 1:
            wanted = {name: values[0] for name, values in parse_qs(query).items()}
            rows = [r for r in table.values() if all(str(r.get(k)) == v for k, v in wanted.items())]
            rows = [row for row in rows if not self._hidden(parts[0], row["id"], user)]
            return 200, [self._shown(parts[0], row) for row in sorted(rows, key=lambda r: -r["id"])], []
        ident = int(parts[1])
        if ident not in table or self._hidden(parts[0], ident, user):
            return 404, {"status": 404, "error": "Not Found"}, []
        if self.command == "DELETE":
            del table[ident]
            return 204, None, []
        if self.command in ("PATCH", "PUT"):
            table[ident].update(given)
        return 200, self._shown(parts[0], table[ident]), []

    def _hidden(self, kind: str, ident: int, user: str) -> bool:
        return kind == "notes" and self.state.only_for.get(ident, user) != user

    def _shown(self, kind: str, row: dict[str, Any]) -> dict[str, Any]:
        scheme = self.headers.get("X-Forwarded-Proto", "http")
        return {**row, "url": f"{scheme}://{self.headers.get('Host')}/{kind}/{row['id']}.json"}

    def _user(self) -> str | None:
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if scheme != "Basic":
            return None
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user if USERS.get(user) == password else None

    def _send(self, status: int, value: Any, headers: list[tuple[str, str]]) -> None:
        if isinstance(value, str):
            self._raw(status, value.encode(), [("Content-Type", "text/html; charset=utf-8"), *headers])
        elif value is None:
            self._raw(status, b"", headers)
        else:
            kind = ("Content-Type", "application/json; charset=utf-8")
            self._raw(status, json.dumps(value, separators=(",", ":")).encode(), [kind, *headers])

    def _raw(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204 and not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self._leave()  # whoever has its answer may send the next request, before this thread runs again
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.wfile.flush()


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        return


class Upstream:
    """Serves while it is open. `stop` refuses and cuts connections, as a dead host would; `start` is back."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context`: of its certificate; None: it speaks plain HTTP."""
        self._context = context
        self.state = State()
        self._handler = type("Handler", (_Handler,), {"state": self.state})
        self.port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_address[1]
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in list(self.state.connections):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def fault(
        self, kind: str, prefix: str = "/", *, method: str | None = None, times: int = 1, seconds: float = 30
    ) -> None:
        with self.state.lock:
            self.state.faults.append(Fault(kind, prefix, method, times, seconds))

    def heal(self) -> None:
        """Takes all faults back and lets hanging requests go."""
        with self.state.lock:
            self.state.faults.clear()
        self.state.released.set()
        time.sleep(0.05)
        self.state.released.clear()

    def seen(self, prefix: str = "/", method: str | None = None) -> list[Seen]:
        with self.state.lock:
            return [s for s in self.state.seen if s.target.startswith(prefix) and method in (None, s.method)]

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.state.released.set()
        self.stop()


def with_a_note(title: str) -> Upstream:
    """One that has patient 17, and note 5 about it."""
    upstream = Upstream()
    upstream.state.patients[17] = {"id": 17, "name": "Rex"}
    upstream.state.notes[5] = {"id": 5, "title": title, "patient_id": 17}
    return upstream
