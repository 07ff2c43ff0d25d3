"""The simulator's control endpoint, on a port of its own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from compose.hosp.profiles import PROFILES
from compose.hosp.records import Hosp


class Controlled(Protocol):
    """What the endpoint may see and do of a simulator."""

    door: str | None

    @property
    def hosp(self) -> Hosp: ...

    @property
    def profile_name(self) -> str: ...

    @property
    def users(self) -> list[tuple[str, str]]: ...

    def requests(self) -> dict[str, Any]: ...

    def forget_requests(self) -> None: ...

    def set_profile(self, name: str) -> None: ...

    def fault(self, kind: str, path_prefix: str = "/", method: str = "", times: int = 1) -> None: ...


def control_server(simulator: Controlled, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """GET /profile, /applied, /requests, /records, /users; POST /profile, /door, /fault; DELETE /applied, /requests."""

    class Control(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing to log."""

        def do_GET(self) -> None:
            hosp = simulator.hosp
            views: dict[str, Any] = {
                "/profile": lambda: {"name": simulator.profile_name, "profiles": list(PROFILES)},
                "/applied": lambda: hosp.applied,
                "/requests": simulator.requests,
                "/records": lambda: {name: list(table.values()) for name, table in hosp.data.tables.items()},
                "/users": lambda: simulator.users,
            }
            with hosp.lock:
                found = views.get(self.path)
                self._send(200, found()) if found else self._send(404, {"error": f"no {self.path}"})

        def do_DELETE(self) -> None:
            if self.path == "/applied":
                with simulator.hosp.lock:
                    simulator.hosp.applied.clear()
            elif self.path == "/requests":
                simulator.forget_requests()
            self._send(200, {})

        def do_POST(self) -> None:
            try:
                given = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                if self.path == "/profile":
                    simulator.set_profile(given["name"])
                elif self.path == "/door":
                    simulator.door = str(given["url"])
                else:
                    simulator.fault(**given)
            except (ValueError, KeyError, TypeError) as error:
                return self._send(400, {"error": f"{type(error).__name__}: {error}", "profiles": list(PROFILES)})
            return self._send(200, {"name": simulator.profile_name})

        def _send(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((host, port), Control)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
