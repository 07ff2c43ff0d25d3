"""Where the demo's alerts are told: a webhook on loopback that says each in a line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def receiver(say: Callable[[str], None]) -> Iterator[str]:
    """Its URL. What is posted there (Alertmanager's payload) is said in a line for each alert."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            for alert in payload["alerts"]:
                severity, summary = alert["labels"]["severity"], alert["annotations"]["summary"]
                say(f"ALERT {alert['status']:8} {severity:6} {summary}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """What came was said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
