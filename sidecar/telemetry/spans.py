"""Spans of exchanges, by OpenTelemetry's semantic conventions for HTTP (1.23 and later), sent by OTLP over HTTP.

Imported only where there are traces: it needs the extra `otel`. The protobuf messages are filled in directly: with the
SDK's tracer and exporter a trace took 200 µs of CPU, a fifth of a request; so it is 30. Left out on purpose, though the
conventions ask for them: `url.path` and `url.full` (they hold ids of records), `client.address`, `user_agent.original`.
"""

from __future__ import annotations

import gzip
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags, Status

from sidecar import __version__
from sidecar.exchange import Attempt, Outcome
from sidecar.http import identifiers
from sidecar.http.remembered import remembered
from sidecar.settings import Settings
from sidecar.telemetry.metrics import METHODS
from sidecar.telemetry.trace_facts import Facts

log = logging.getLogger(__name__)
BATCH: Final = 512
"""Spans that are sent at once, at the least, while there are as many."""
TIMEOUT: Final = 3.0
"""Seconds that a collector has to take a batch."""
TRIES: Final = 3
PAUSE: Final = 1.0
"""Seconds before a batch is sent again; each time twice as long."""
MAY_PASS: Final = frozenset({429, 502, 503, 504})
"""What OTLP says to send again."""
AGAIN: Final = 60.0
"""Seconds after which it is said again how many spans are lost."""
Value = str | int | bool


class Exported:
    """Spans for OTLP. Used by one thread. `clock`: seconds, of one that never steps."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        upstream = urlsplit(settings.upstream or "")
        self._server: dict[str, Value] = {
            "server.address": upstream.hostname or "",
            "server.port": upstream.port or (443 if upstream.scheme == "https" else 80),
        }
        said = {
            "service.name": "understudy", "service.version": __version__, "service.instance.id": settings.node_name,
        }  # fmt: skip
        self._resource = Resource(attributes=list(_pairs(said)))
        self._scope = InstrumentationScope(name="understudy", version=__version__)
        self._url = f"{settings.otlp}/v1/traces"
        self._headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        if settings.otlp_authorization:
            self._headers["Authorization"] = settings.otlp_authorization
        self._http = urllib3.PoolManager(num_pools=1, timeout=TIMEOUT, retries=False)
        self._spans: list[Span] = []
        self._lost = 0
        """How many spans the collector has not taken since it last took some."""
        self._told = 0.0
        self._failing = False
        self._closing = False

    def make(self, facts: Facts) -> None:
        self._spans.extend(spans(facts, self._server))
        if len(self._spans) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Sends what there is. What the collector does not take is lost; how much is said at once, then each minute,
        and once it takes some again."""
        if not self._spans:
            return
        inside = ScopeSpans(scope=self._scope, spans=self._spans)
        request = ExportTraceServiceRequest(
            resource_spans=[ResourceSpans(resource=self._resource, scope_spans=[inside])]
        )
        count, self._spans = len(self._spans), []
        why = self._sent(gzip.compress(request.SerializeToString(), 1))
        if why is not None:
            self._lose(count, why)
        elif self._failing:
            fields = {"event.action": "traces_taken", "count": self._lost}
            log.info("the collector takes spans again: %d are lost", self._lost, extra={"fields": fields})
            self._lost = 0
        self._failing = why is not None

    def _lose(self, count: int, why: str) -> None:
        self._lost += count
        now = self._clock()
        if not self._failing or self._closing or now - self._told >= AGAIN:
            self._told = now
            fields = {"event.action": "traces_lost", "count": self._lost}
            log.error("%d spans are lost: the collector: %s", self._lost, why, extra={"fields": fields})

    def _sent(self, body: bytes) -> str | None:
        """Why it was not taken; None: it was."""
        why = None
        for again in range(1 if self._failing or self._closing else TRIES):
            if again:
                time.sleep(PAUSE * 2 ** (again - 1))
            try:
                status = self._http.request("POST", self._url, body=body, headers=self._headers).status
            except urllib3.exceptions.HTTPError as error:
                why = type(error).__name__
                continue
            if status < 300:
                return None
            why = str(status)
            if status not in MAY_PASS:
                break
        return why

    def close(self) -> None:
        self._closing = True
        self.flush()
        self._http.clear()


def spans(facts: Facts, server: Mapping[str, Value]) -> Iterator[Span]:
    """An exchange's, and those of its steps inside it. `server`: the upstream's address and port."""
    method = facts.method if facts.method in METHODS else "_OTHER"
    route = facts.endpoint.partition(" ")[2] or None
    named = f"{method if method != '_OTHER' else 'HTTP'}{f' {route}' if route else ''}"
    trace, own = bytes.fromhex(facts.traceparent[3:35]), bytes.fromhex(facts.traceparent[36:52])
    whole = Span(
        trace_id=trace, span_id=own, parent_span_id=_parent(facts), name=named, kind=Span.SPAN_KIND_SERVER,
        flags=_FLAGS | (SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK if _parent(facts) else 0),
        start_time_unix_nano=facts.started, end_time_unix_nano=max(facts.ended, facts.recorded[1]),
        attributes=list(_pairs(_about(facts, method, route))),
    )  # fmt: skip
    whole.attributes.append(KeyValue(key="understudy.event.id", value=AnyValue(string_value=facts.event_id)))
    _answered(whole, facts.status, 500, facts.reason)
    yield whole
    for step, called, began, ended in facts.steps:
        yield _inside(whole, step, Span.SPAN_KIND_INTERNAL, began, ended, {"code.function.name": called})
    for number, attempt in enumerate(facts.attempts):
        about: dict[str, Value] = {"http.request.method": method, **server, "understudy.hedge": attempt.hedge}
        if route is not None:
            about["url.template"] = route
        if number:
            about["http.request.resend_count"] = number
        yield _attempt(whole, attempt, named, about)
    yield _inside(whole, "journal", Span.SPAN_KIND_INTERNAL, *facts.recorded, {})


def _about(facts: Facts, method: str, route: str | None) -> dict[str, Value]:
    about: dict[str, Value] = {
        "http.request.method": method, "url.scheme": facts.scheme, "understudy.endpoint.id": facts.endpoint_id,
        "understudy.outcome": facts.outcome, "understudy.answered_by": facts.answered_by,
        "understudy.circuit": facts.circuit, "understudy.verdict": facts.verdict,
        "understudy.identity": facts.identity,
    }  # fmt: skip
    if route is not None:
        about["http.route"] = route
    if facts.reason is not None:
        about["understudy.reason"] = facts.reason
    return about


def _attempt(whole: Span, attempt: Attempt, named: str, about: Mapping[str, Value]) -> Span:
    span = _inside(
        whole, named, Span.SPAN_KIND_CLIENT, attempt.started, attempt.started + attempt.duration,
        {**about, "understudy.outcome": attempt.outcome.value},
    )  # fmt: skip
    lost = attempt.error or (attempt.outcome.value if attempt.outcome is not Outcome.SUCCESS else None)
    _answered(span, attempt.status, 400, lost)
    return span


def _inside(
    whole: Span, name: str, kind: Span.SpanKind.ValueType, began: int, ended: int, about: Mapping[str, Value]
) -> Span:
    return Span(
        trace_id=whole.trace_id, span_id=random.randbytes(8), parent_span_id=whole.span_id, name=name, kind=kind,
        flags=_FLAGS, start_time_unix_nano=began, end_time_unix_nano=ended, attributes=list(_pairs(about)),
    )  # fmt: skip


_FLAGS: Final = 1 | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
"""Sampled; and whether the parent is remote is known."""


def _parent(facts: Facts) -> bytes:
    """The client's span; nothing: the trace begins here."""
    given = facts.parent
    known = given is not None and identifiers.traceparent(given) == given
    return bytes.fromhex(given[36:52]) if known and given is not None else b""


def _answered(span: Span, status: int | None, bad: int, why: str | None) -> None:
    """Its status code; from `bad` on, or where there is none, it is an error."""
    if status is not None:
        span.attributes.append(_pair("http.response.status_code", status))
    if status is None or status >= bad:
        span.attributes.append(_pair("error.type", str(status) if status is not None else why or "unknown"))
        span.status.code = Status.STATUS_CODE_ERROR


def _pairs(about: Mapping[str, Value]) -> Iterator[KeyValue]:
    return (_pair(name, value) for name, value in about.items())


def _pair(name: str, value: Value) -> KeyValue:
    return _text(value, name) if isinstance(value, str) else _number(name, value)


@remembered(2048)
def _text(value: str, name: str) -> KeyValue:
    """The same ones come again and again: copied, not made."""
    return KeyValue(key=name, value=AnyValue(string_value=value))


@lru_cache(maxsize=2048, typed=True)
def _number(name: str, value: int) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=name, value=AnyValue(bool_value=value))
    return KeyValue(key=name, value=AnyValue(int_value=value))
