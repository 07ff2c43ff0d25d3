"""A control plane for tests of the dashboard: it tells what it is given, and may be unwell."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Plane:
    """A node's control plane. `told`: what it tells by path, one after the other and then the last again; `done`: what
    it was asked to do. It may answer nothing that is done (`broken`), tell its `status` alone, or `hang` until set."""

    def __init__(self, name: str = "ward") -> None:
        self.name = name
        self.told: dict[str, list[Any]] = {}
        self.done: list[str] = []
        self.broken, self.status = False, 200
        self.hang: threading.Event | None = None
        plane = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(plane.tells(self.path))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                plane.done.append(self.path)
                if not plane.broken:
                    self.answer({"answered_by": "standby"})

            def answer(self, content: Any) -> None:
                if plane.hang:
                    plane.hang.wait()
                well = plane.status == 200
                raw = json.dumps(content if well else {"detail": f"{plane.name} is unwell"}).encode()
                self.send_response(plane.status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = ("127.0.0.1", int(self.server.server_address[1]))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def tells(self, path: str) -> Any:
        answers = self.told[path]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def close(self) -> None:
        if not self.thread.is_alive():
            return
        if self.hang:
            self.hang.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
