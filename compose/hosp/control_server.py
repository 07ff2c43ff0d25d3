"""The simulator's control endpoint, on a port of its own, and the client that tests and the demo use."""

from __future__ import annotations

import base64
import json
import random
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from compose.hosp.profiles import PROFILES

if TYPE_CHECKING:
    from compose.hosp.server import Simulator


def control_server(simulator: Simulator, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
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


def users(control_url: str) -> list[tuple[str, str]]:
    """Names and passwords of staff."""
    return [(name, password) for name, password in _ask(control_url, "GET", "/users")]


def set_profile(control_url: str, name: str) -> None:
    """Switches the profile."""
    _ask(control_url, "POST", "/profile", {"name": name})


def fault(control_url: str, **asked: Any) -> None:
    """Scripts a fault: kind, and optionally method, path_prefix and times."""
    _ask(control_url, "POST", "/fault", asked)


def requests(control_url: str) -> dict[str, Any]:
    """How often each request came, and the most that were under way at once."""
    return dict(_ask(control_url, "GET", "/requests"))


def applied(control_url: str) -> list[dict[str, Any]]:
    """Writes that took effect, in order."""
    return list(_ask(control_url, "GET", "/applied"))


def _ask(control_url: str, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(control_url + path, data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:  # nosec B310 # our own simulator, http
        return json.load(answer)


def vandalise(url: str, user: tuple[str, str], dice: random.Random) -> None:
    """With one person's stolen credentials: writes a note, or writes over one. HOSP may well be failing just then."""
    token = base64.b64encode(":".join(user).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    note, over = dice.randint(1, 2000), dice.random() < 0.5
    body = {"title": "pwned", "body": "pwned by nobody"} | ({} if over else {"patient_id": 1, "staff_id": 1})
    method, target = ("PATCH", f"/notes/{note}") if over else ("POST", "/notes")
    request = urllib.request.Request(url + target, json.dumps(body).encode(), headers, method=method)
    try:
        urllib.request.urlopen(request, timeout=10).close()  # nosec B310 # our own simulator, http
    except OSError:
        return


def set_door(control_url: str, url: str) -> None:
    """Tells the vandal where the front door is."""
    _ask(control_url, "POST", "/door", {"url": url})
