"""A control plane for tests of the dashboard: it tells what it is given."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Plane:
    """A control plane that tells what it is given, and breaks off what it is asked to do where `broken`."""

    def __init__(self) -> None:
        self.told: dict[str, list[Any]] = {}
        self.broken = False
        plane = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = plane.told[self.path]
                self.answer(answers.pop(0) if len(answers) > 1 else answers[0])

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if not plane.broken:
                    self.answer({"answered_by": "standby"})

            def answer(self, content: Any) -> None:
                raw = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        if not self.thread.is_alive():
            return
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
