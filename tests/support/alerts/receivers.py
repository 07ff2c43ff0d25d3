"""Receivers of alerts on loopback that check what they get against its published shape, and misbehave when told to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

SHAPES = Path(__file__).parent / "shapes"
CLOSED = "closed"
"""Instead of a status: takes the request and closes the connection without an answer."""
BROKEN = "broken"
"""Instead of a status: breaks off within the answer's head."""


def shape(name: str) -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load((SHAPES / f"{name}.yaml").read_text()))


def sentry_event(envelope: bytes) -> Any:
    """The event of an envelope: a line of headers, a line of the item's, the item by its length."""
    head, item_head, rest = envelope.split(b"\n", 2)
    item = json.loads(item_head)
    assert json.loads(head)["event_id"]
    assert item["type"] == "event"
    return json.loads(rest[: item["length"]])


@dataclass
class Receiver:
    """What was taken, as (fields, content), and what is answered next: a status, CLOSED or BROKEN; 200 when `answers`
    is empty. While `hold` is set no answer leaves."""

    name: str
    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    got: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    tried: int = 0
    misshapen: list[str] = field(default_factory=list)
    retry_after: str = ""
    """What answers other than 200 say in it; empty: nothing."""
    hold: threading.Event = field(default_factory=threading.Event)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        content = sentry_event(body) if self.name == "sentry" else json.loads(body)
        self.misshapen += [error.message for error in shape(self.name).iter_errors(content)]
        self.tried += 1
        answer = self.answers.pop(0) if self.answers else 200
        while self.hold.is_set():
            threading.Event().wait(0.02)
        if answer in (CLOSED, BROKEN):
            handler.wfile.write(b"HTTP/1.1 2" if answer == BROKEN else b"")
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if answer == 200:
            self.got.append((dict(handler.headers), content))
        handler.send_response(int(answer))
        if self.retry_after and answer != 200:
            handler.send_header("Retry-After", self.retry_after)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def statuses(self, name: str, severity: str = "") -> list[str]:
        """Of a webhook: of the messages of that group."""
        return [
            payload["status"] for _, payload in self.got
            if payload["groupLabels"]["alertname"] == name
            and severity in ("", payload["groupLabels"]["severity"])
        ]  # fmt: skip

    @property
    def keys(self) -> list[str]:
        return [fields["Idempotency-Key"] for fields, _ in self.got]


@contextmanager
def receiver(name: str = "webhook") -> Iterator[Receiver]:
    """`name`: the channel's, and its shape's."""
    mine = Receiver(name)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            mine.take(self)

        def do_GET(self) -> None:
            """As an Alertmanager without silences."""
            self.send_response(200 if self.path == "/api/v2/silences" else 404)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with _serving(Handler) as port:
        mine.url = f"http://127.0.0.1:{port}"
        yield mine
        mine.hold.clear()


@contextmanager
def heart(beat: Callable[[], bool | None]) -> Iterator[str]:
    """The URL of a dead man's switch; where `beat` says False it answers 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if beat() is False else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with _serving(Handler) as port:
        yield f"http://127.0.0.1:{port}/beat"


@contextmanager
def plane(text: Callable[[], str] = lambda: "understudy_journal_behind_seconds 0\n") -> Iterator[int]:
    """The port of a control plane without endpoints, whose /metrics are this text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text().encode() if self.path == "/metrics" else b"[]"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with _serving(Handler) as port:
        yield port


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
