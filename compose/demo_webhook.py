"""Where the demo's alerts are told: a webhook on loopback that says what it was told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

SHOWN: Final = 4


def told(payload: dict[str, Any]) -> Iterator[str]:
    """A message in lines: what it is, its first alerts, and what on-call needs first."""
    alerts = payload["alerts"]
    group = payload["groupLabels"]
    yield f"ALERT {payload['status']:8} {group['severity']:6} {group['alertname']}: {_counted(alerts)}"
    for alert in alerts[:SHOWN]:
        yield f"      {alert['status']:8} {alert['annotations']['summary']}"
    if len(alerts) > SHOWN:
        yield f"      … and {len(alerts) - SHOWN} more"
    if payload["status"] == "firing":
        first = alerts[0]["annotations"]
        for name in ("failing", "covered", "first_step"):
            yield from [f"      {name.replace('_', ' ')}: {first[name]}"] if first.get(name) else []


def _counted(alerts: list[dict[str, Any]]) -> str:
    counts = Counter(alert["status"] for alert in alerts)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


@contextmanager
def receiver(say: Callable[[str], None]) -> Iterator[str]:
    """Its URL. What is posted there (Alertmanager's payload) is said in a few lines."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            say("\n".join(told(payload)))
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
