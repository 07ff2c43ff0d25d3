"""Writes that the upstream does not take now: the outbox takes them, or they are refused."""

from __future__ import annotations

import time

from sidecar.gateway import replies
from sidecar.gateway.another_try import PATIENCE, another_try
from sidecar.gateway.asking import Asking
from sidecar.gateway.callers import Callers
from sidecar.gateway.context import Context
from sidecar.http.headers import upstream_fields
from sidecar.http.messages import Response
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.standby import Standby
from sidecar.storage.off_loop import OffLoop


class Taking:
    """One per worker; on its loop."""

    def __init__(self, asking: Asking, standby: Standby, callers: Callers, via: str, beside: OffLoop) -> None:
        self._asking = asking
        self._standby = standby
        self._callers = callers
        self._via = via
        self._beside = beside

    async def take(self, context: Context, reason: str) -> Response:
        """A write that must not be sent now: the outbox takes it, or it is refused and nothing has happened."""
        context.exchange.reason = reason
        refusal = await self._callers.refusal(context)
        if refusal is None and context.write is None:
            refusal = await self._foreseen(context, reason)
            context.write = await self._beside.run(self._standby.plan, context.match, context.request)
        accepted = None if refusal is not None else await self.accept(context, sent=False)
        if accepted is None:
            await self._asking.never_sent(context)
        return accepted or refusal or replies.not_taken(context, reason)

    async def would_take(self, context: Context) -> bool:
        """Whether it would take the write of a caller who is known."""
        return await self._beside.run(self._standby.would_take, context.match, context.request, context.user or "")

    async def accept(
        self, context: Context, *, sent: bool, answered: bool = False, under_way: bool = False
    ) -> Response | None:
        """The standby's answer to a write that the outbox takes, or None. The caller has been verified."""
        exchange = context.exchange
        if context.write is None or context.caller is None:
            return None
        fields = upstream_fields(context.request, exchange.request_id, exchange.traceparent, self._via)
        until, again = max(context.until, time.monotonic() + PATIENCE), False
        while True:
            began = time.monotonic()
            answer = await self._beside.run(
                self._standby.accept, context.write, context.request,
                exchange.request_id, fields, context.caller.user, context.caller.password,
                sent=sent, answered=answered, under_way=under_way, again=again,
            )  # fmt: skip
            failed = isinstance(answer, DontKnow) and answer.reason == "database"
            if not (failed and await another_try(self._standby, began, until)):
                break
            again = True
        if isinstance(answer, DontKnow):
            context.not_kept = answer.reason
        return replies.taken(context, answer) if isinstance(answer, Answer) else None

    async def _foreseen(self, context: Context, reason: str) -> Response | None:
        """The answer to a write that the outbox would not take: it need not even begin. None: it would."""
        seen = await self._beside.run(self._standby.refusal, context.match, context.request, context.user or "")
        if seen is None:
            return None
        if isinstance(seen, Answer):
            return replies.taken(context, seen)
        context.not_kept = seen.reason
        return replies.not_taken(context, reason)
