"""The seam between gunicorn and the request path: WSGI in, a whole exchange recorded, WSGI out.

No answer leaves before its record is where the settings say it must be.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from sidecar.access.enforcement import Guard
from sidecar.access.test_traffic import TestTraffic
from sidecar.events.recorder import Recorder, RecordingFailed
from sidecar.exchange import AnsweredBy, Exchange, Outcome, Purpose
from sidecar.gateway.framing import BodyWatch, Refusal, glimpse, read_request, received
from sidecar.gateway.handler import Handler
from sidecar.gateway.mirror import Copies, is_copy
from sidecar.gateway.stored_results import Results
from sidecar.http.credentials import parse_authorization
from sidecar.http.headers import has_passed, wants_close
from sidecar.http.identifiers import request_id, uuid7
from sidecar.http.messages import Headers, Request, Response, first
from sidecar.http.problem import RetryAfter, phrase, problem
from sidecar.server.client_socket import ClientSocket
from sidecar.server.phase import Service
from sidecar.server.refusals import Why
from sidecar.server.underway import Underway
from sidecar.settings import Settings
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import traceparent

log = logging.getLogger(__name__)
StartResponse = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
ANSWER: Final = "understudy.answer"
"""Where the Flask application finds an answer of ours: what the upstream did not say, Flask says."""
ONE_PIECE: Final = 64 * 1024
"""Bytes of a body up to which it is sent together with its head."""
BLINK: Final = 10_000_000
"""Nanoseconds: nobody who left within them left because of the wait."""


class Gateway:
    """WSGI middleware in front of the Flask application: every request of a user comes through here."""

    def __init__(
        self, app: Wsgi, settings: Settings, handler: Handler, recorder: Recorder, metrics: Metrics, watch: BodyWatch,
        via: str, guard: Guard, service: Service, copies: Copies, underway: Underway, results: Results | None = None,
    ) -> None:  # fmt: skip
        self._underway = underway
        self._results = results
        self._service = service
        self._app = app
        self._guard = guard
        self._settings = settings
        self._handler = handler
        self._recorder = recorder
        self._metrics = metrics
        self._watch = watch
        self._via = via
        self._copies = copies
        self._tests = TestTraffic(settings)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        server = getattr(start_response, "__self__", None)
        now = time.time_ns()
        clock = time.monotonic_ns()
        self._underway.begin()
        target, headers = received(environ, getattr(server, "req", None))
        ident = uuid7(now)
        method = str(environ["REQUEST_METHOD"])
        exchange = Exchange(
            id=ident,
            started=now,
            request=Request(method, target, headers, remote=str(environ.get("REMOTE_ADDR", ""))),
            request_id=request_id(first(headers, "x-request-id"), ident),
            traceparent=traceparent(first(headers, "traceparent")),
        )
        try:
            exchange.request = read_request(
                environ, target, headers,
                max_target=self._settings.max_target, max_body=self._settings.max_body, folder=self._settings.data,
                trusted=self._settings.trusted_proxies, watch=self._watch,
            )  # fmt: skip
            response, close = self._answer(exchange), False
        except Refusal as refusal:
            exchange.reason = refusal.reason
            waits = RetryAfter.SHORTLY if refusal.status == 503 else None
            response, close = problem(refusal.status, refusal.detail, retry_after=waits), True
        self._finish(exchange, response, environ.get("gunicorn.socket"), clock)
        response = self._record(exchange, response)
        self._guard.observe(exchange)
        response.headers = _fields(exchange, response)
        if server is not None:
            server.version = "understudy"
            if close or self._service.draining or wants_close(exchange.request):
                server.force_close()
        if exchange.answered_by is not AnsweredBy.UPSTREAM:
            environ[ANSWER] = response
            return self._app(environ, start_response)
        start_response(f"{response.status} {phrase(response.status)}", response.headers)
        if _bare(response) or exchange.request.method == "HEAD":
            return []
        if server is None or len(response.body) > ONE_PIECE:
            return [response.body]
        _send_whole(server, response.body)
        return []

    def refuse(self, why: Why, head: bytes, remote: str) -> Response:
        """The recorded answer to what the server found to be no request. Called in a thread of the pool."""
        now, clock = time.time_ns(), time.monotonic_ns()
        method, target, headers = glimpse(head)
        ident = uuid7(now)
        exchange = Exchange(
            id=ident,
            started=now,
            request=Request(method, target, headers, remote=remote),
            request_id=request_id(first(headers, "x-request-id"), ident),
            traceparent=traceparent(first(headers, "traceparent")),
            reason=why[1],
        )
        response = problem(why[0], why[2])
        self._finish(exchange, response, None, clock)
        response = self._record(exchange, response)
        response.headers = _fields(exchange, response)
        return response

    def _answer(self, exchange: Exchange) -> Response:
        caller = parse_authorization(exchange.request.header("authorization"))
        exchange.client = self._tests.client(exchange.request, caller.user if caller else None)
        if has_passed(exchange.request, self._via):
            exchange.reason = "loop"
            return problem(508, "The upstream's address leads back here: UNDERSTUDY_UPSTREAM must name the API itself.")
        if self._settings.on_record_failure == "refuse" and not self._recorder.ready():
            exchange.reason = "not_recorded"
            return problem(
                503,
                "This cannot be recorded now, and is refused; nothing was sent.",
                retry_after=RetryAfter.SHORTLY,
            )
        try:
            if is_copy(exchange.request):
                return self._copies.take(exchange, caller.user if caller else None)
            response = self._handler.answer(exchange, caller)
        except Exception:
            log.exception("a request could not be handled", extra={"fields": {"event.action": "request_broke"}})
            exchange.reason = "internal"
            return problem(500, "Understudy failed to handle this request.")
        if self._results is not None:
            self._results.keep(exchange, response)
        return response

    def _finish(self, exchange: Exchange, response: Response, connection: Any, clock: int) -> None:
        exchange.response = response if exchange.purpose is Purpose.USER else None
        exchange.ended = exchange.started + time.monotonic_ns() - clock
        waited = exchange.duration > BLINK and exchange.reason != "client_aborted"
        if waited and _has_left(connection):
            exchange.reason = "client_aborted"
        exchange.outcome = _outcome(exchange, response.status) if exchange.response else Outcome.UNKNOWN
        self._metrics.request(exchange)

    def _record(self, exchange: Exchange, response: Response) -> Response:
        self._underway.end()
        try:
            self._recorder.record(exchange)
        except RecordingFailed:
            # What may have taken effect is answered as it was: a refusal would be repeated, and done twice.
            if self._settings.on_record_failure == "refuse" and exchange.request.method in ("GET", "HEAD"):
                return problem(
                    503, "The request could not be recorded, and is refused for that.", retry_after=RetryAfter.SHORTLY
                )
        return response


def _outcome(exchange: Exchange, status: int) -> Outcome:
    """What the user got: unknown when the client left, or when a write may have taken effect without a word of it."""
    if exchange.reason == "client_aborted":
        return Outcome.UNKNOWN
    if status < 500:
        return Outcome.SUCCESS
    unclear = exchange.action in ("create", "update", "delete") and any(
        attempt.outcome is Outcome.UNKNOWN for attempt in exchange.attempts
    )
    return Outcome.UNKNOWN if unclear or exchange.reason == "timeout" else Outcome.FAILURE


def _has_left(connection: Any) -> bool:
    """Whether the client has gone while it waited. One that has closed its half alone still takes the answer."""
    if not isinstance(connection, socket.socket):
        return False
    try:
        if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return False
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not (isinstance(connection, ClientSocket) and connection.still_takes())


def _fields(exchange: Exchange, response: Response) -> Headers:
    fields, told, measured = [("X-Request-Id", exchange.request_id)], False, _bare(response)
    for name, value in response.headers:
        lower = name.lower()
        if lower != "x-request-id":
            fields.append((name, value))
            told |= lower == "cache-status" and value.startswith("understudy")
            measured |= lower == "content-length"
    if not told:
        fields.append(("Cache-Status", f"understudy; detail={exchange.reason or 'refused'}"))
    if not measured:
        fields.append(("Content-Length", str(len(response.body))))
    return fields


def _send_whole(server: Any, body: bytes) -> None:
    """Head and body in one piece: gunicorn's Response sends each by itself, and each wakes the client."""
    major, minor = server.req.version
    lines = [
        f"HTTP/{major}.{minor} {server.status}",
        f"Server: {server.version}",
        f"Date: {_date(int(time.time()))}",
        "Connection: close" if server.should_close() else "Connection: keep-alive",
    ]
    lines += [f"{name}: {value}" for name, value in server.headers]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    server.headers_sent = True  # or they went out in part: nothing else may
    server.sock.sendall(head + body)
    server.sent = len(body)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _bare(response: Response) -> bool:
    return response.status in (204, 304) or response.status < 200
