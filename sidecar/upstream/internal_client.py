"""Our own calls to the upstream: replay's, stored results', backfill's. They yield to users, and are recorded as what
they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from sidecar.contract import Action, Contract, Endpoint, Resource
from sidecar.events.recorder import Recorder
from sidecar.exchange import ABSENT, UNKNOWN, AnsweredBy, Exchange, Identity, Outcome, Purpose
from sidecar.http.credentials import basic_authorization, parse_authorization
from sidecar.http.headers import via
from sidecar.http.identifiers import traceparent, uuid7
from sidecar.http.messages import Headers, Request, Response, first
from sidecar.settings import Settings
from sidecar.upstream.connection import Call
from sidecar.upstream.scheduler import FromThreads, Priority, Result
from sidecar.upstream.validation import response_fault

log = logging.getLogger(__name__)


class Errands:
    """Sends calls of one purpose, each judged against the contract, and records them."""

    def __init__(
        self, max_answer: int, contract: Contract, upstream: FromThreads, recorder: Recorder, purpose: Purpose,
        digest: Callable[[Resource, Response], str | None] = lambda resource, response: None,
    ) -> None:  # fmt: skip
        """`digest`: of the record that an answer shows, by which the event tells the change; None: it shows none."""
        self._max_answer = max_answer
        self._contract = contract
        self._upstream = upstream
        self._recorder = recorder
        self._purpose = purpose
        self._digest = digest
        self._priority = Priority.REPLAY if purpose is Purpose.REPLAY else Priority.BACKFILL
        self._numbers = {name: number for number, name in enumerate(["other", *contract.endpoints], 1)}

    def send(self, endpoint: Endpoint | None, call: Call, request_id: str = "") -> Result:
        """Sends the call and waits for what comes of it."""
        return self.submit(endpoint, call, request_id).result()

    def submit(
        self, endpoint: Endpoint | None, call: Call, request_id: str = "",
        settle: Callable[[Result], None] = lambda result: None,
    ) -> Future[Result]:  # fmt: skip
        """Queues the call. What comes of it is recorded, then given to `settle`, which must not raise, then here."""
        started, clock = time.time_ns(), time.monotonic_ns()
        ident = uuid7(started)
        number = self._numbers[endpoint.id if endpoint is not None else "other"]

        def judge(result: Result) -> Result:
            wrong = result.response and response_fault(endpoint, call.method, result.response, self._max_answer)
            if wrong:
                result.attempt.error = wrong
                repeatable = endpoint is not None and endpoint.repeatable
                result.attempt.outcome = Outcome.FAILURE if repeatable else Outcome.UNKNOWN
            self._record(endpoint, sent, named, ident, started, time.monotonic_ns() - clock, result)
            settle(result)
            return result

        named = first(call.headers, "x-request-id") or request_id or ident
        fields = call.headers if first(call.headers, "x-request-id") else [*call.headers, ("X-Request-Id", named)]
        sent = replace(call, headers=fields)
        return self._upstream.submit(sent, number, self._priority, judge)

    def _record(
        self, endpoint: Endpoint | None, call: Call, request_id: str, ident: str, started: int, took: int,
        result: Result,
    ) -> None:  # fmt: skip
        host = first(call.headers, "host") or ""
        caller = parse_authorization(first(call.headers, "authorization"))
        match = self._contract.match(call.method, call.target.partition("?")[0])
        exchange = Exchange(
            ident,
            started,
            Request(call.method, call.target, call.headers, call.body, remote="127.0.0.1", host=host),
            request_id,
            first(call.headers, "traceparent") or traceparent(None),
        )
        if endpoint is not None:
            exchange.endpoint_id, exchange.endpoint, exchange.action = endpoint.id, endpoint.name, endpoint.action.value
            exchange.resource_type, exchange.resource_id = endpoint.resource, match.record_id
            exchange.patient_id = self._contract.subject(match, None)
        exchange.user = caller.user if caller is not None else None
        exchange.identity = Identity.CLAIMED if caller is not None else Identity.NONE
        exchange.purpose = self._purpose
        exchange.attempts = [result.attempt]
        exchange.response = result.response
        exchange.outcome = result.attempt.outcome
        exchange.answered_by, exchange.as_given = AnsweredBy.UPSTREAM, True
        exchange.ended = started + took
        if endpoint is not None and endpoint.action.writes and result.attempt.outcome is not Outcome.FAILURE:
            exchange.change = self._change(endpoint, result)
        try:
            self._recorder.record(exchange)
        except Exception:  # a thread of the pool goes on
            log.exception("a call of ours was not recorded", extra={"fields": {"event.action": "record_failed"}})

    def _change(self, endpoint: Endpoint, result: Result) -> tuple[str, str] | None:
        """A write's effect, by its own answer: what was there before is not looked up."""
        response = result.response
        if response is not None and 400 <= response.status < 500:
            return None
        was = ABSENT if endpoint.action is Action.CREATE else UNKNOWN
        if response is None or result.attempt.outcome is not Outcome.SUCCESS:
            return was, UNKNOWN
        if endpoint.action is Action.DELETE:
            return was, ABSENT
        after = self._digest(self._contract.resources[endpoint.resource], response) if endpoint.resource else None
        return was, after or UNKNOWN


def own_fields(settings: Settings) -> Headers:
    """The fields of a call in nobody's particular name: with BACKFILL_CREDENTIALS."""
    user, password = settings.backfill_credentials or ("", "")
    return [
        ("Host", settings.require_upstream().split("//", 1)[1].split("/", 1)[0]),
        ("Authorization", basic_authorization(user, password)),
        ("Accept", "application/json"),
        ("User-Agent", "understudy-backfill"),
        ("traceparent", traceparent(None)),
        ("Via", via(settings.node_name)),
    ]
