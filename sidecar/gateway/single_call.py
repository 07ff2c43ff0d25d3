"""Asking the upstream a single time, for what must not be sent twice: a write, and what the contract does not know."""

from __future__ import annotations

from functools import partial

from sidecar.exchange import Outcome
from sidecar.gateway import replies
from sidecar.gateway.asking import Asking
from sidecar.gateway.callers import Callers
from sidecar.gateway.context import Context
from sidecar.gateway.taking import Taking
from sidecar.http.messages import Response
from sidecar.http.problem import problem
from sidecar.standby.writes.intents import may_come_late
from sidecar.upstream.scheduler import Priority, Result


class SingleCall:
    """One per worker; on its loop."""

    def __init__(self, asking: Asking, callers: Callers, taking: Taking) -> None:
        self._asking = asking
        self._callers = callers
        self._taking = taking

    async def answer(self, context: Context) -> Response:
        """At the deadline the outbox takes a write; all else waits on."""
        exchange = context.exchange
        self._asking.earn()
        call = self._asking.ask(context, Priority.ONLY_UPSTREAM, repeatable=False)
        silent = partial(self._asking.is_silent, context, call)
        result = await call.result(context.longest if context.write is None else context.until, silent)
        if result is None and not call.taken_back and await self._may_be_taken(context):
            unsent = call.give_up()
            accepted = await self._taking.accept(context, sent=not unsent, under_way=not unsent)
            if accepted is not None:
                self._asking.late(context, call)
                exchange.reason = "deadline"
                exchange.attempts = list(call.attempts)
                return accepted
            if unsent:
                call = self._asking.ask(context, Priority.ONLY_UPSTREAM, repeatable=False)
                silent = partial(self._asking.is_silent, context, call)
        if result is None and context.write is not None:
            result = await call.result(context.longest, silent)
        if result is None and call.taken_back:
            await self._asking.never_sent(context)
            return replies.left(context)
        if result is None:
            self._asking.late(context, call)
            unsent = call.give_up()
            exchange.attempts = list(call.attempts)
            if unsent:
                await self._asking.never_sent(context)
                return replies.unavailable(context, "overloaded", "The upstream is busy; nothing was sent.")
            return replies.too_late(context)
        exchange.attempts = list(call.attempts)
        return await self._of_result(context, result)

    async def _of_result(self, context: Context, result: Result) -> Response:
        """Something has come of it; of what failed, the outbox takes a write."""
        if not replies.is_good(result) and await self._may_be_taken(context):
            sent = result.attempt.outcome is not Outcome.FAILURE
            accepted = await self._taking.accept(context, sent=sent, answered=not may_come_late(result.response))
            if accepted is not None:
                context.exchange.reason = replies.why(result)
                return accepted
        if result.response is not None and (result.attempt.error in (None, "status")):
            return replies.from_upstream(context, result.response)
        if result.attempt.outcome is Outcome.FAILURE:
            refusal = await self._callers.refusal(context) if context.write is not None else None
            detail = "The upstream cannot be reached; nothing was sent." + replies.for_want_of(context)
            return refusal or replies.unavailable(context, replies.why(result), detail)
        if result.attempt.error == "timeout":
            return replies.too_late(context)
        context.exchange.reason = replies.why(result)
        return problem(502, "The upstream gave no whole answer; the request may have taken effect.")

    async def _may_be_taken(self, context: Context) -> bool:
        return context.write is not None and await self._callers.is_known(context)
