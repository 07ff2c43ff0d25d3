"""Asking the upstream on behalf of a request: when there is room, how, and what is learned from what it says."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.contract import Contract, Endpoint
from sidecar.exchange import Identity, Outcome
from sidecar.gateway.crowd import Crowd
from sidecar.gateway.inquiry import Inquiry
from sidecar.gateway.visit import Visit
from sidecar.http.headers import upstream_fields
from sidecar.http.messages import Response
from sidecar.server.underway import Underway
from sidecar.settings import Settings
from sidecar.standby.standby import Standby
from sidecar.takeover.coordinator import Switchboard
from sidecar.telemetry.metrics import Metrics
from sidecar.timeunits import SECOND
from sidecar.upstream.connection import Call
from sidecar.upstream.scheduler import Job, Priority, Result, RetryBudget, Upstream
from sidecar.upstream.validation import response_fault
from sidecar.upstream.vouching import vouches

log = logging.getLogger(__name__)
REFUSED: Final = frozenset(("refused", "unresolved", "connect_timeout"))


class Asking:
    """One per worker; used by all its request threads."""

    def __init__(
        self, settings: Settings, contract: Contract, pool: Upstream, standby: Standby, switchboard: Switchboard,
        metrics: Metrics, via: str, underway: Underway,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._contract = contract
        self._pool = pool
        self._standby = standby
        self._switchboard = switchboard
        self._metrics = metrics
        self._via = via
        self._underway = underway
        self._budget = RetryBudget(settings.retry_budget)
        self._crowd = Crowd(settings.threads, settings.deadline, settings.upstream_timeout)
        self._numbers = {name: number for number, name in enumerate(["other", *contract.endpoints], 1)}

    @contextmanager
    def room(self, visit: Visit, *, probe: bool = False) -> Iterator[bool]:
        """While its thread waits for the upstream; gives whether that may be asked: its endpoint's line can be served
        in time, and leaves room to others. A probe may always: there is one at a time, and it must find out."""
        with self._crowd.waiting(visit.exchange.endpoint_id) as visit.again:
            yield visit.again is None or probe

    def aside(self) -> AbstractContextManager[None]:
        """While its thread waits for something other than the upstream, and is not in others' way."""
        return self._underway.waiting()

    def earn(self) -> None:
        """A user's request: it adds to what repeated calls may be spent on."""
        self._budget.earn()

    def ask(self, visit: Visit, priority: Priority, *, repeatable: bool = True) -> Inquiry:
        """Begins to."""
        exchange = visit.exchange
        fields = upstream_fields(visit.request, exchange.request_id, exchange.traceparent, self._via)
        asked = visit.request
        call = Call(asked.method, asked.target, fields, asked.body, repeatable=repeatable, spool=asked.spool)
        number = self._numbers[exchange.endpoint_id]
        holder: list[weakref.ref[Inquiry]] = []

        def judge(result: Result) -> Result:
            asking = holder[0]() if holder else None
            return self._judge(visit, result, bool(holder) and (asking is None or asking.late))

        def job(inbox: SimpleQueue[Result | None], hedge: bool) -> Job:
            return Job(call, number, priority, judge, inbox, hedge)

        inquiry = Inquiry(self._pool, job, self._budget, repeatable=repeatable, hedge_after=self._settings.hedge_after)
        holder.append(weakref.ref(inquiry))  # no cycle: a body goes with its last user, not with the next collection
        return inquiry

    def _judge(self, visit: Visit, result: Result, late: bool) -> Result:
        """What the answer is worth, and what is learned from it, whether anyone still waits or not."""
        attempt, exchange = result.attempt, visit.exchange
        if result.response is not None:
            wrong = response_fault(visit.endpoint, visit.request.method, result.response, self._settings.max_answer)
            if wrong is not None:
                attempt.error = wrong
                repeatable = visit.endpoint is not None and visit.endpoint.repeatable
                attempt.outcome = Outcome.FAILURE if repeatable else Outcome.UNKNOWN
        elif visit.endpoint is not None and visit.endpoint.repeatable:
            attempt.outcome = Outcome.FAILURE
        ok = attempt.outcome is Outcome.SUCCESS
        if attempt.error != "timeout":
            self._crowd.answered(exchange.endpoint_id, attempt.duration / SECOND)
        self._metrics.attempt(exchange.endpoint, attempt.outcome, exchange.client)
        if visit.endpoint is not None and not late:
            self._switchboard.observe(visit.endpoint.id, ok, attempt.error in REFUSED)
        try:
            self._learn(visit, result)
        except SQLAlchemyError:
            self._standby.database_failed("learning from an answer failed")
            self._standby.mark_gap("learning failed")
        except Exception:
            log.exception("learning from an answer failed", extra={"fields": {"event.action": "learn_failed"}})
            self._standby.mark_gap("learning failed")
        return result

    def _learn(self, visit: Visit, result: Result) -> None:
        endpoint, response, outcome = visit.endpoint, result.response, result.attempt.outcome
        if visit.write is not None:
            self._settle(visit, response, outcome)
        elif endpoint is not None and response is not None and outcome is Outcome.SUCCESS:
            self._standby.learn(visit.match, visit.request, response, visit.user, result.began, result.ended)
        if visit.caller is None or endpoint is None or endpoint.public or response is None:
            return
        if response.status == 401:
            self._standby.rejected(visit.caller.user, visit.caller.password)
        elif outcome is Outcome.SUCCESS and response.status < 400:
            self._prove(visit, endpoint, response, result.began)

    def _prove(self, visit: Visit, endpoint: Endpoint, response: Response, began: int) -> None:
        """Whether the caller is who they say, by this answer, or by an earlier one that proved it."""
        assert visit.caller is not None
        user, password = visit.caller.user, visit.caller.password
        if self._standby.needs_proof(user, password) and vouches(
            self._contract, endpoint, visit.request, response, self._settings.max_answer
        ):
            self._standby.accepted(user, password, began)
        if self._standby.is_known(user, password):
            visit.exchange.identity = Identity.VERIFIED

    def never_sent(self, visit: Visit) -> None:
        """Settles a write of which nothing was sent; what cannot be written down now expires by itself."""
        try:
            self._settle(visit, None, Outcome.FAILURE)
        except SQLAlchemyError:
            self._standby.database_failed("a write could not be settled")

    def _settle(self, visit: Visit, response: Response | None, outcome: Outcome) -> None:
        if visit.write is not None:
            self._standby.end_write(visit.write, response, outcome, visit.user)

    def late(self, visit: Visit, inquiry: Inquiry) -> None:
        """The user is not kept waiting for it any longer: the upstream has failed."""
        inquiry.late = True
        if visit.endpoint is not None:
            self._switchboard.observe(visit.endpoint.id, False, False)

    def is_silent(self, visit: Visit) -> bool:
        """Whether it has had its deadline, and nothing comes back from its endpoint at all."""
        return time.monotonic() >= visit.until and self._crowd.is_silent(visit.exchange.endpoint_id)
