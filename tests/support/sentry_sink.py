"""A local Sentry server: takes envelopes as the SDK sends them, and keeps them in plain."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentrySink:
    """Use as a context manager; `dsn` is for SENTRY_DSN."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        """Each with the path and the header fields it came with."""
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(self.headers["Content-Encoding"])
                sink.envelopes.append(f"{self.path}\n{self.headers}".encode() + (unpack(body) if unpack else body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def dsn(self) -> str:
        return f"http://key@127.0.0.1:{self._server.server_address[1]}/1"

    def exceptions(self) -> set[str]:
        """The types of the exceptions that were reported."""
        found = set()
        for envelope in self.envelopes:
            for line in envelope.split(b"\n"):
                if line.startswith(b'{"') and b'"exception"' in line:
                    found |= {value["type"] for value in json.loads(line)["exception"]["values"]}
        return found

    def __enter__(self) -> SentrySink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
