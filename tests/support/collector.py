"""An OpenTelemetry collector on loopback: takes traces by OTLP over HTTP, and decodes the protobuf itself."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass
class Received:
    """A span as it arrived."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any] = field(repr=False)


class Collector:
    """Use as a context manager; `url` is what OTLP names. `raw` is all that was ever sent to it, decompressed."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.raw = b""
        self.heads: list[dict[str, str]] = []
        self.status = 200
        self.taking = threading.Event()
        self.taking.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.collector = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.taking.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.raw += body
        for of in request.resource_spans:
            resource = _read(of.resource.attributes)
            for scope in of.scope_spans:
                self.spans += [_received(span, resource) for span in scope.spans]

    def of(self, trace: str) -> list[Received]:
        """A trace's spans, in the order in which they began."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: (span.start, -span.end))


def _received(span: Span, resource: dict[str, Any]) -> Received:
    kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
    return Received(
        span.name, kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.start_time_unix_nano,
        span.end_time_unix_nano, span.status.code == Status.STATUS_CODE_ERROR, _read(span.attributes), resource,
    )  # fmt: skip


def _read(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        collector: Collector = self.server.collector  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector.taking.wait(20)
        collector.heads.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        if collector.status == 200:
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(collector.status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""
