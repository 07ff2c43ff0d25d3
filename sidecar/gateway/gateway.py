"""The seam between the server and the request path: a request in, a whole exchange recorded, its answer out.

No answer leaves before its record is where the settings say it must be.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final

from sidecar.access.enforcement import Guard
from sidecar.events.recorder import Recorder, RecordingFailed
from sidecar.exchange import AnsweredBy, Exchange, Outcome, Purpose
from sidecar.gateway.context import Presence
from sidecar.gateway.pipeline import Pipeline
from sidecar.gateway.stored_results import Results
from sidecar.http.identifiers import request_id, uuid7
from sidecar.http.messages import Headers, Request, Response
from sidecar.http.problem import RetryAfter, problem
from sidecar.server.framing import Refusal, glimpse
from sidecar.server.http1 import Arrived, Http1, Reply
from sidecar.server.phase import Service
from sidecar.server.request_parser import Head, Why
from sidecar.server.wsgi import Wsgi, asked
from sidecar.settings import Settings
from sidecar.storage.off_loop import NeedsDatabase, OffLoop
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import traceparent
from sidecar.upstream.passing_on import was_cut

log = logging.getLogger(__name__)
ANSWER: Final = "understudy.answer"
"""Where the Flask application finds an answer of ours: what the upstream did not say, Flask says."""
BLINK: Final = 10_000_000
"""Nanoseconds: nobody who left within them left because of the wait."""


class Gateway:
    """Every request of a user comes through here. What the upstream did not say, the Flask application says."""

    def __init__(
        self, app: Wsgi, settings: Settings, pipeline: Pipeline, recorder: Recorder, metrics: Metrics,
        guard: Guard, service: Service, beside: OffLoop, results: Results | None = None,
    ) -> None:  # fmt: skip
        self._beside = beside
        self._results = results
        self._service = service
        self._app = app
        self._guard = guard
        self._settings = settings
        self._pipeline = pipeline
        self._recorder = recorder
        self._metrics = metrics
        self._recording = set[asyncio.Task[Response]]()
        """That answers were cut; nobody waits for it."""

    async def answer(self, head: Head, arrived: Arrived, client: Http1) -> Reply:
        """The answer to a request, recorded; and to what turned out to be none."""
        if isinstance(arrived, Refusal):
            exchange, clock = _begun(Request(head.method, head.target, head.headers, remote=client.remote))
            exchange.reason = arrived.reason
            waits = RetryAfter.SHORTLY if arrived.status == 503 else None
            response = problem(arrived.status, arrived.detail, retry_after=waits)
        else:
            exchange, clock = _begun(arrived)
            try:
                response = await self._answer_to(client, exchange)
            except asyncio.CancelledError:  # its worker ends, and nobody hears of this but the journal
                exchange.reason = "cut"
                response = problem(
                    504, "Understudy ended before there was an answer; the request may have taken effect."
                )
        await self._finish(exchange, response, client, clock)
        response = await self._record(exchange, response)
        self._guard.observe(exchange)
        if response.passed_on is not None:
            response.passed_on.when_over(lambda why: self._passed_on(exchange, clock, why))
        response.headers = _fields(exchange, response)
        if exchange.answered_by is not AnsweredBy.UPSTREAM:
            response = self._say(exchange.request, response)
        return Reply(response, close=self._service.draining)

    async def refuse(self, why: Why, head: bytes, remote: str) -> Response:
        """The recorded answer to what the server found to be no request."""
        method, target, headers = glimpse(head)
        exchange, clock = _begun(Request(method, target, headers, remote=remote))
        exchange.reason = why[1]
        response = problem(why[0], why[2])
        await self._finish(exchange, response, None, clock)
        response = await self._record(exchange, response)
        response.headers = _fields(exchange, response)
        return response

    def _say(self, request: Request, response: Response) -> Response:
        """As Flask says it."""
        said = asked(self._app, replace(request, body=b"", spool=None), {ANSWER: response})
        return Response(said.status, said.headers, response.body)

    async def _answer_to(self, client: Http1, exchange: Exchange) -> Response:
        """The answer to a client who may leave meanwhile."""
        presence = Presence(left=client.is_gone)
        client.when_lost = presence.leave
        try:
            return await self._answer(exchange, presence)
        finally:
            client.when_lost = presence.call = None

    async def _answer(self, exchange: Exchange, presence: Presence) -> Response:
        try:
            response = await self._pipeline.answer(exchange, presence)
        except (Exception, NeedsDatabase):
            log.exception("a request could not be handled", extra={"fields": {"event.action": "request_broke"}})
            exchange.reason = "internal"
            return problem(500, "Understudy failed to handle this request.")
        if self._results is not None and self._results.are_kept(exchange, response):
            await self._beside.run(self._results.keep, exchange, response)
        return response

    async def _finish(self, exchange: Exchange, response: Response, client: Http1 | None, clock: int) -> None:
        exchange.response = response if exchange.purpose is Purpose.USER else None
        exchange.ended = exchange.started + time.monotonic_ns() - clock
        waited = exchange.duration > BLINK and exchange.reason not in ("client_aborted", "cut")
        if waited and client is not None and await client.has_left():
            exchange.reason = "client_aborted"
        exchange.outcome = _outcome(exchange, response.status) if exchange.response else Outcome.UNKNOWN
        self._metrics.request(exchange)

    def _passed_on(self, exchange: Exchange, clock: int, why: str | None) -> None:
        """An answer that was recorded with its first byte has ended: that it was cut is one more exchange, and bad."""
        if not was_cut(why):
            return
        fields = {
            "event.action": "answer_cut", "http.request.id": exchange.request_id,
            "understudy.endpoint": exchange.endpoint, "error.type": why,
        }  # fmt: skip
        log.warning("the upstream cut an answer that was being passed on", extra={"fields": fields})
        attempts = [
            replace(attempt, outcome=Outcome.FAILURE, error=why) if attempt.outcome is Outcome.SUCCESS else attempt
            for attempt in exchange.attempts
        ]
        cut = replace(exchange, id=uuid7(time.time_ns()), attempts=attempts, outcome=Outcome.FAILURE)
        cut.reason, cut.ended = "answer_cut", exchange.started + time.monotonic_ns() - clock
        self._metrics.request(cut)
        recording = asyncio.get_running_loop().create_task(self._record(cut, Response(0)))
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)

    async def _record(self, exchange: Exchange, response: Response) -> Response:
        try:
            await self._recorder.recorded(exchange)
        except RecordingFailed:
            # What may have taken effect is answered as it was: a refusal would be repeated, and done twice.
            if self._settings.on_record_failure == "refuse" and exchange.request.method in ("GET", "HEAD"):
                if response.passed_on is not None:
                    response.passed_on.close()
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


def _begun(request: Request) -> tuple[Exchange, int]:
    """The exchange that begins now, and the monotonic clock."""
    now, clock = time.time_ns(), time.monotonic_ns()
    ident = uuid7(now)
    exchange = Exchange(
        id=ident,
        started=now,
        request=request,
        request_id=request_id(request.header("x-request-id"), ident),
        traceparent=traceparent(request.header("traceparent")),
    )
    return exchange, clock


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
    if not measured and response.size is not None:
        fields.append(("Content-Length", str(response.size)))
    return fields


def _bare(response: Response) -> bool:
    return response.status in (204, 304) or response.status < 200
