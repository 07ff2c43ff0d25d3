"""A small real HTTP server that takes bulk requests as Elasticsearch does, and misbehaves on demand.

It keeps each (index, id) once, answers 409 for what is there, and can: answer whole requests with an error for a while
(a 429 storm), fail single items, refuse a whole batch that holds a poisoned document, and apply a batch and then drop
the connection without an answer.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeElasticsearch:
    """Use as a context manager; `url` is where it listens."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.created = 0
        self.bulks = 0
        self.sent: list[str] = []
        """The ids of every bulk item received, in order, repeats included."""
        self.signed: set[str | None] = set()
        """What requests had as Authorization."""
        self.item_failures: dict[str, list[int]] = {}
        """event.id → the statuses it gets before it is taken."""
        self.search_failures: list[tuple[int, str]] = []
        """Status and type of the error that the next searches are answered with."""
        self.poison: str | None = None
        self.drop_after_applying = 0
        self.refusing = False
        """Answers everything with 503."""
        self.product: str | None = "Elasticsearch"
        """What it says that it is in each answer's head; None: nothing, as OpenSearch."""
        self.word: int | None = None
        """The status with which it refuses to say what it is."""
        self.saying: Any = None
        """What it answers everything with, 200, as something between might that is no Elasticsearch."""
        self.version: str | None = None
        """The version that it says it is."""
        self.unknown: str | None = None
        """A parameter of bulk requests that it does not know."""
        self._storm: tuple[int, int] = (0, 429)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeElasticsearch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def storm(self, requests: int, status: int = 429) -> None:
        """The next bulk requests are answered with this status."""
        self._storm = (requests, status)

    def documents(self, prefix: str = "understudy-exchanges-") -> list[str]:
        """The ids of what is stored, one entry for each index that holds it."""
        return [identity for index, identity in self.stored if index.startswith(prefix)]

    def bulk(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and the answer of one bulk request."""
        with self.lock:
            self.bulks += 1
            left, status = self._storm
            if left:
                self._storm = (left - 1, status)
                return status, _error("circuit_breaking_exception")
            if self.poison is not None and self.poison.encode() in body:
                return 400, _error("x_content_parse_exception", self.poison)
            lines = [json.loads(line) for line in body.splitlines() if line]
            items = [self._create(lines[i]["create"], lines[i + 1]) for i in range(0, len(lines), 2)]
            return 200, {"took": 1, "errors": any(i["create"]["status"] > 299 for i in items), "items": items}

    def _create(self, action: dict[str, str], document: dict[str, Any]) -> dict[str, Any]:
        key = (action["_index"], action["_id"])
        self.sent.append(action["_id"])
        failures = self.item_failures.get(action["_id"], []) if key[0].startswith("understudy-exchanges-") else []
        if failures:
            status = failures.pop(0)
            kind = "document_parsing_exception" if status == 400 else "es_rejected_execution_exception"
            return {"create": {**action, "status": status, "error": {"type": kind, "reason": "on demand"}}}
        if key in self.stored:
            return {"create": {**action, "status": 409, "error": {"type": "version_conflict_engine_exception"}}}
        self.stored[key] = document
        self.created += 1
        return {"create": {**action, "status": 201}}


def unrecognized(parameter: str) -> dict[str, Any]:
    """As a real one says it: tests/stack/test_event_store_streams.py asks one."""
    error = _error("illegal_argument_exception", f"request [/_bulk] contains unrecognized parameter: [{parameter}]")
    return {**error, "status": 400}


def _error(kind: str, reason: str = "on demand") -> dict[str, Any]:
    return {"error": {"type": kind, "reason": reason, "root_cause": [{"type": kind, "reason": reason}]}}


class _Server(ThreadingHTTPServer):
    fake: FakeElasticsearch

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """Head and body leave together: no waiting for a delayed acknowledgement."""
    server: _Server

    def _answer(self) -> None:
        fake = self.server.fake
        fake.signed.add(self.headers.get("Authorization"))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if fake.refusing:
            return self._send(503, _error("master_not_discovered_exception"))
        if self.path == "/" and fake.word is not None:
            return self._send(fake.word, _error("security_exception"))
        if fake.saying is not None:
            return self._send(200, fake.saying)
        if "/_search" in self.path and fake.search_failures:
            status, kind = fake.search_failures.pop(0)
            return self._send(status, _error(kind))
        if "/_search" in self.path:
            return self._send(200, {"hits": {"hits": []}})
        if self.path == "/" and fake.version is not None:
            return self._send(200, {"version": {"number": fake.version}})
        if self.command == "GET":
            return self._send(200, {})
        if not self.path.startswith("/_bulk"):
            return self._send(200, {"acknowledged": True, "result": "created"})
        if fake.unknown is not None and fake.unknown in self.path:
            return self._send(400, unrecognized(fake.unknown))
        status, answer = fake.bulk(body)
        if status == 200 and fake.drop_after_applying:
            fake.drop_after_applying -= 1
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        return self._send(status, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(status)
        if self.server.fake.product is not None:
            self.send_header("X-Elastic-Product", self.server.fake.product)
        self.send_header("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        """Quiet."""
