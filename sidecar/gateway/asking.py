"""Asking the upstream on behalf of a request: when there is room, how, and what is learned from what it says."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.contract import Contract, Endpoint
from sidecar.exchange import Identity, Outcome
from sidecar.gateway.another_try import PATIENCE, PAUSE, is_worth_it
from sidecar.gateway.context import Context
from sidecar.http.headers import upstream_fields
from sidecar.http.long_json import LONG
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.standby.standby import Standby
from sidecar.standby.writes.intents import may_come_late
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.coordinator import Switchboard
from sidecar.telemetry.metrics import Metrics
from sidecar.timeunits import SECOND
from sidecar.upstream.call import UpstreamCall
from sidecar.upstream.connection import Call, Patience
from sidecar.upstream.pace import Pace
from sidecar.upstream.passing_on import was_cut
from sidecar.upstream.scheduler import Priority, Result, RetryBudget, Upstream
from sidecar.upstream.validation import response_fault
from sidecar.upstream.vouching import vouches

log = logging.getLogger(__name__)
REFUSED: Final = frozenset(("refused", "unresolved", "connect_timeout"))
UNHEARD: Final = frozenset(("timeout", "connect_timeout", "unresolved"))
"""Errors in which there is no word of the upstream's."""


class Asking:
    """One per worker; on its loop."""

    def __init__(
        self, settings: Settings, contract: Contract, upstream: Upstream, standby: Standby, switchboard: Switchboard,
        metrics: Metrics, via: str, beside: OffLoop,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._contract = contract
        self._upstream = upstream
        self._standby = standby
        self._switchboard = switchboard
        self._metrics = metrics
        self._via = via
        self._beside = beside
        self._budget = RetryBudget(settings.retry_budget)
        self._unreached = -math.inf
        """When nobody was found there, if nobody has been since; of time.monotonic()."""
        self._numbers = {name: number for number, name in enumerate(["other", *contract.endpoints], 1)}
        self._pace = Pace(
            settings.deadline, settings.upstream_timeout, lambda name: upstream.at_once(self._numbers[name])
        )

    @contextmanager
    def room(self, context: Context, *, probe: bool = False) -> Iterator[bool]:
        """While it waits for the upstream; gives whether that may be asked: its endpoint's line can be served in time.
        A probe may always: there is one at a time, and it must find out; if it does not, the next may."""
        with self._pace.waiting(context.exchange.endpoint_id) as context.again:
            try:
                yield context.again is None or probe
            finally:
                if probe:
                    self._switchboard.release(context.exchange.endpoint_id)

    def earn(self) -> None:
        """A user's request: it adds to what repeated calls may be spent on."""
        self._budget.earn()

    def ask(self, context: Context, priority: Priority, *, repeatable: bool = True) -> UpstreamCall:
        """Begins to."""
        exchange, asked = context.exchange, context.request
        fields = upstream_fields(asked, exchange.request_id, exchange.traceparent, self._via)
        call = Call(
            asked.method, asked.target, fields, asked.body, repeatable=repeatable, spool=asked.spool,
            patience=_patience(context.endpoint),
        )  # fmt: skip
        asking = context.presence.call = UpstreamCall(
            self._upstream, call, self._numbers[exchange.endpoint_id], priority,
            lambda result, late: self._judge(context, result, late), self._budget,
            hedge_after=self._settings.hedge_after, left=context.presence.left,
        )  # fmt: skip
        return asking

    def _judge(self, context: Context, result: Result, late: bool) -> Awaitable[None] | None:
        """What the answer is worth, and what is learned from it, whether anyone still waits or not."""
        if result.response is not None and len(result.response.body) > LONG:
            return self._judge_beside(context, result, late)
        return self._judged(context, result, late, self._fault(context, result))

    async def _judge_beside(self, context: Context, result: Result, late: bool) -> None:
        """The same of an answer that takes its time to be read."""
        wrong = await self._beside.run(self._fault, context, result)
        judged = self._judged(context, result, late, wrong)
        if judged is not None:
            await judged

    def _fault(self, context: Context, result: Result) -> str | None:
        if result.response is None or result.response.passed_on is not None:
            return None
        return response_fault(context.endpoint, context.request.method, result.response, self._settings.max_answer)

    def _judged(self, context: Context, result: Result, late: bool, wrong: str | None) -> Awaitable[None] | None:
        attempt, exchange = result.attempt, context.exchange
        if result.response is not None and result.response.passed_on is not None:
            result.response.passed_on.when_over(lambda why: self._passed_on(context, why))
        elif result.response is not None:
            if wrong is not None:
                attempt.error = wrong
                repeatable = context.endpoint is not None and context.endpoint.repeatable
                attempt.outcome = Outcome.FAILURE if repeatable else Outcome.UNKNOWN
        elif context.endpoint is not None and context.endpoint.repeatable:
            attempt.outcome = Outcome.FAILURE
        ok = attempt.outcome is Outcome.SUCCESS
        if attempt.error not in UNHEARD:
            self._pace.answered(exchange.endpoint_id, attempt.duration / SECOND)
        self._unreached = time.monotonic() if attempt.error in REFUSED else -math.inf
        self._metrics.attempt(exchange.endpoint, attempt.outcome, exchange.client)
        if context.endpoint is not None and not late:
            self._switchboard.observe(context.endpoint.id, ok, attempt.error in REFUSED)
        refused = result.response is not None and result.response.status == 401
        if context.unkept:  # what was learned while it was under way may be from before its effect
            why = "a write has ended whose intent could not be kept"
            unclear = attempt.outcome is Outcome.UNKNOWN and may_come_late(result.response)
            self._standby.mark_gap(why, later=True, under_way=unclear)
        if result.response is not None and result.response.passed_on is not None:
            self._recognise(context)  # nothing else can be learned from what was not seen
            return None
        long = result.response is not None and len(result.response.body) > LONG
        if context.write is not None or refused or long:
            return self._beside.run(self._learn_all, context, result)
        try:
            self._learn(context, result)
        except Exception:
            log.exception("learning from an answer failed", extra={"fields": {"event.action": "learn_failed"}})
            return self._beside.run(self._standby.mark_gap, "learning failed")
        return None

    def _passed_on(self, context: Context, why: str | None) -> None:
        """An answer that was passed on as it came has ended: as it should, or in one word otherwise."""
        if was_cut(why) and context.endpoint is not None:
            self._switchboard.observe(context.endpoint.id, False, False)

    def _learn_all(self, context: Context, result: Result) -> None:
        """In a thread: what is written down of it is written when this returns. Raises nothing."""
        try:
            self._keep(context, partial(self._learn, context, result))
        except SQLAlchemyError:
            self._standby.database_failed("learning from an answer failed")
            self._standby.mark_gap("learning failed", later=True)
        except Exception:
            log.exception("learning from an answer failed", extra={"fields": {"event.action": "learn_failed"}})
            self._standby.mark_gap("learning failed")

    def _keep(self, context: Context, write_down: Callable[[], None]) -> None:
        """In a thread; tried again where that is worth it. Raises SQLAlchemyError."""
        until = max(context.until, time.monotonic() + PATIENCE)
        while True:
            began = time.monotonic()
            try:
                return write_down()
            except SQLAlchemyError:
                if not is_worth_it(self._standby, began, until):
                    raise
                time.sleep(PAUSE)

    def _learn(self, context: Context, result: Result) -> None:
        endpoint, response, outcome = context.endpoint, result.response, result.attempt.outcome
        if context.write is not None:
            self._settle(context, response, outcome)
        elif endpoint is not None and response is not None and outcome is Outcome.SUCCESS:
            self._standby.learn(context.match, context.request, response, context.user, result.began)
        if context.caller is None or endpoint is None or endpoint.public or response is None:
            return
        if response.status == 401:
            self._standby.rejected(context.caller.user, context.caller.password)
        elif outcome is Outcome.SUCCESS and response.status < 400:
            self._prove(context, endpoint, response, result.began)

    def _prove(self, context: Context, endpoint: Endpoint, response: Response, began: int) -> None:
        """Whether the caller is who they say, by this answer, or by an earlier one that proved it."""
        assert context.caller is not None
        user, password = context.caller.user, context.caller.password
        if self._standby.needs_proof(user, password) and vouches(
            self._contract, endpoint, context.request, response, self._settings.max_answer
        ):
            self._standby.accepted(user, password, began)
        self._recognise(context)

    def _recognise(self, context: Context) -> None:
        """A caller who has proved before who they are."""
        if context.caller is not None and self._standby.is_known(context.caller.user, context.caller.password):
            context.exchange.identity = Identity.VERIFIED

    async def never_sent(self, context: Context) -> None:
        """Settles a write of which nothing was sent; what cannot be written down now expires by itself."""
        if context.write is not None:
            await self._beside.run(self._settle_unsent, context)

    def _settle_unsent(self, context: Context) -> None:
        try:
            self._keep(context, partial(self._settle, context, None, Outcome.FAILURE))
        except SQLAlchemyError:
            self._standby.database_failed("a write could not be settled")

    def _settle(self, context: Context, response: Response | None, outcome: Outcome) -> None:
        if context.write is not None:
            self._standby.end_write(context.write, response, outcome, context.user)

    def late(self, context: Context, call: UpstreamCall) -> None:
        """The user is not kept waiting for it any longer: the upstream has failed.

        Not so where a place was all that a write lacked. It must be sent one day: an upstream that is turned away from
        because it is busy idles, and more wait than before. A read that the standby answers instead is one less."""
        call.late = True
        endpoint = context.endpoint
        if endpoint is not None and not (endpoint.action.writes and self._is_crowded(context, call)):
            self._switchboard.observe(endpoint.id, False, False)

    def _is_crowded(self, context: Context, call: UpstreamCall) -> bool:
        """Whether it has waited for a place for the larger part of its time, while others of its endpoint were answered
        as they should be."""
        deadline, endpoint = self._settings.deadline, context.exchange.endpoint_id
        return call.under_way() < deadline / 2 and self._pace.is_prompt(endpoint, context.until - deadline)

    def is_silent(self, context: Context, call: UpstreamCall) -> bool:
        """Whether it has had its deadline, and nothing comes back from its endpoint at all; or nothing of it is under
        way, and nobody is found at the upstream."""
        now = time.monotonic()
        if now < context.until:
            return False
        away = call.in_line and now - self._unreached <= self._settings.connect_timeout
        return away or self._pace.is_silent(context.exchange.endpoint_id)


def _patience(endpoint: Endpoint | None) -> Patience | None:
    """For an answer: what a write says is to be known whole, and so is what is to be stored."""
    if endpoint is None:
        return Patience(over=True)
    return None if endpoint.action.writes or endpoint.stores else Patience()
