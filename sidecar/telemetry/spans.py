"""Spans of exchanges, by OpenTelemetry's semantic conventions for HTTP (1.23 and later), sent by OTLP over HTTP.

Imported only where there are traces: it needs the extra `otel`. Left out on purpose, though the conventions ask for
them: `url.path` and `url.full` (they hold ids of records), `client.address`, `user_agent.original`.
"""

from __future__ import annotations

import secrets
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from sidecar import __version__
from sidecar.exchange import Attempt, Outcome
from sidecar.http import identifiers
from sidecar.settings import Settings
from sidecar.telemetry.metrics import METHODS
from sidecar.telemetry.trace_facts import Facts

TIMEOUT: Final = 10.0
"""Seconds that a collector has to take a batch."""
MOST: Final = 8192
"""Spans that wait to be sent."""
DELAY: Final = 500
"""Milliseconds for which spans gather before they are sent."""
LAST: Final = 2000
"""Milliseconds for what is left when a process ends."""
UNKNOWN_ENDPOINT: Final = "other"


class _Ids(IdGenerator):
    """Random ones, but for the span of an exchange: its id went to the upstream before there was a span."""

    def __init__(self) -> None:
        self.trace: int | None = None
        self.span: int | None = None

    def generate_trace_id(self) -> int:
        taken, self.trace = self.trace, None
        return taken if taken is not None else secrets.randbits(128) or 1

    def generate_span_id(self) -> int:
        taken, self.span = self.span, None
        return taken if taken is not None else secrets.randbits(64) or 1


class Exported:
    """Spans for OTLP. Used by one thread."""

    def __init__(self, settings: Settings) -> None:
        upstream = urlsplit(settings.upstream or "")
        self._server = {
            "server.address": upstream.hostname or "",
            "server.port": upstream.port or (443 if upstream.scheme == "https" else 80),
        }
        said = {
            "service.name": "understudy", "service.version": __version__, "service.instance.id": settings.node_name,
        }  # fmt: skip
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(said), id_generator=self._ids, shutdown_on_exit=False
        )
        headers = {"authorization": settings.otlp_authorization} if settings.otlp_authorization else {}
        exporter = OTLPSpanExporter(
            endpoint=f"{settings.otlp}/v1/traces", headers=headers, timeout=TIMEOUT, compression=Compression.Gzip
        )
        self._batches = BatchSpanProcessor(exporter, max_queue_size=MOST, schedule_delay_millis=DELAY)
        self._provider.add_span_processor(self._batches)
        self._tracer = self._provider.get_tracer("understudy", __version__)

    def make(self, facts: Facts) -> None:
        method = facts.method if facts.method in METHODS else "_OTHER"
        route = facts.endpoint.partition(" ")[2] or None
        named = f"{method if method != '_OTHER' else 'HTTP'}{f' {route}' if route else ''}"
        attributes = {
            "http.request.method": method, "url.scheme": facts.scheme,
            "understudy.event.id": facts.event_id, "understudy.endpoint.id": facts.endpoint_id,
            "understudy.outcome": facts.outcome, "understudy.answered_by": facts.answered_by,
            "understudy.circuit": facts.circuit, "understudy.verdict": facts.verdict,
            "understudy.identity": facts.identity,
        }  # fmt: skip
        if route is not None:
            attributes["http.route"] = route
        if facts.reason is not None:
            attributes["understudy.reason"] = facts.reason
        parent, self._ids.trace, self._ids.span = _placed(facts)
        end = max(facts.ended, facts.recorded[1])
        whole = self._tracer.start_span(named, parent, SpanKind.SERVER, attributes, start_time=facts.started)
        _answered(whole, facts.status, 500, facts.reason)
        inside = set_span_in_context(whole, Context())
        for step, called, began, ended in facts.steps:
            self._inner(inside, step, began, ended, {"code.function.name": called})
        for number, attempt in enumerate(facts.attempts):
            self._attempt(inside, attempt, method, route, named, number)
        self._inner(inside, "journal", *facts.recorded, {})
        whole.end(end)

    def _inner(self, inside: Context, name: str, began: int, ended: int, attributes: dict[str, str]) -> None:
        self._tracer.start_span(name, inside, SpanKind.INTERNAL, attributes, start_time=began).end(ended)

    def _attempt(
        self, inside: Context, attempt: Attempt, method: str, route: str | None, named: str, number: int
    ) -> None:
        attributes: dict[str, Any] = {
            "http.request.method": method, **self._server, "understudy.outcome": attempt.outcome.value,
            "understudy.hedge": attempt.hedge,
        }  # fmt: skip
        if route is not None:
            attributes["url.template"] = route
        if number:
            attributes["http.request.resend_count"] = number
        span = self._tracer.start_span(named, inside, SpanKind.CLIENT, attributes, start_time=attempt.started)
        lost = attempt.error or (attempt.outcome.value if attempt.outcome is not Outcome.SUCCESS else None)
        _answered(span, attempt.status, 400, lost)
        span.end(attempt.started + attempt.duration)

    def close(self) -> None:
        self._provider.force_flush(LAST)
        self._provider.shutdown()


def _placed(facts: Facts) -> tuple[Context, int | None, int]:
    """The parent, and which ids the next span is to have."""
    trace, span = int(facts.traceparent[3:35], 16), int(facts.traceparent[36:52], 16)
    given = facts.parent
    if given is None or identifiers.traceparent(given) != given:
        return Context(), trace, span
    flags = TraceFlags(TraceFlags.SAMPLED)
    remote = SpanContext(int(given[3:35], 16), int(given[36:52], 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context()), None, span


def _answered(span: Any, status: int | None, bad: int, why: str | None) -> None:
    """Its status code; from `bad` on, or where there is none, it is an error."""
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if status is None or status >= bad:
        span.set_attribute("error.type", str(status) if status is not None else why or "unknown")
        span.set_status(Status(StatusCode.ERROR))
