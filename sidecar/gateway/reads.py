"""A read, or a call that depends on its input alone: the upstream's answer in time; else what the standby truly knows;
else the upstream's late one; else an honest 503."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import earliest
from sidecar.gateway import replies
from sidecar.gateway.another_try import another_try
from sidecar.gateway.asking import Asking
from sidecar.gateway.callers import Callers
from sidecar.gateway.context import Context
from sidecar.gateway.lead import Lead
from sidecar.http.messages import Response
from sidecar.http.problem import RetryAfter
from sidecar.settings import Settings
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.standby import Standby
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.routing import Who
from sidecar.upstream.call import UpstreamCall
from sidecar.upstream.scheduler import Priority, Result

OPERATOR: Final = "takeover"
OWNED: Final = "promoted"
UNSETTLED: Final = "unsettled"
ALONE: Final = frozenset((OPERATOR, OWNED, UNSETTLED))
"""The reasons of a decision after which the upstream is not asked: an operator's word, what the standby owns, a record
that only the outbox has. Any other is a preference: what the standby does not know is still asked of the upstream, for
an unlikely answer is better than none."""
WRITES: Final = frozenset(("unsettled_write", "in_doubt"))
"""Why the standby does not know, while a write is under way or unclear: one that adds a record, or changes one."""
SETTLED_LOOK: Final = 0.1
"""Seconds between looks at whether that has settled."""
SETTLED_LOOK_LATER: Final = 0.4
"""The same after some in vain, where many may wait: nobody else can answer them meanwhile."""
SETTLES_AFTER: Final = 1.0
"""Seconds beyond its deadline after which such a write is not waited for, where nothing comes back at all."""


class Reads:
    """One per worker; on its loop."""

    def __init__(self, settings: Settings, asking: Asking, standby: Standby, callers: Callers, beside: OffLoop) -> None:
        self._deadline = settings.deadline
        self._asking = asking
        self._standby = standby
        self._callers = callers
        self._beside = beside
        self._lead = Lead(settings.deadline / 2)

    async def answer(self, context: Context) -> Response:
        """By whom was decided to answer, or by the other."""
        decision = context.decision
        asked = decision.who is Who.STANDBY
        if asked:
            alone = decision.reason in ALONE
            known = await self._known(context, last=alone)
            if known is not None:
                return known
            if alone:
                detail = "The standby serves this endpoint, and does not know."
                return replies.unavailable(context, "taken_over", detail)
        with self._asking.room(context, probe=decision.who is Who.PROBE) as room:
            if room:
                return await self._by_upstream(context)
        known = await self._refusal(context) if asked else await self._known(context)
        return known or replies.unavailable(context, "overloaded", "More are waiting than can be answered in time.")

    async def _by_upstream(self, context: Context) -> Response:
        self._asking.earn()
        began = earliest()
        likely = context.endpoint is not None and self._standby.likely(context.match)
        call = self._asking.ask(context, Priority.USER if likely else Priority.ONLY_UPSTREAM)
        lead = self._lead.of(context.endpoint.id) if context.endpoint is not None else 0.0
        ours = None
        result, known = await self._await(context, call, context.until - lead)
        if lead and result is None and known is None and not call.taken_back:
            ours = asyncio.ensure_future(self._ours(context))
            result, known = await self._await(context, call, context.until)
        if call.taken_back:
            return replies.left(context)
        if result is None and known is None:
            self._asking.late(context, call)
        if known is None and not replies.is_good(result):
            known = await self._known(context, last=result is not None, ours=ours)
        if known is None and result is None:
            call.hurry()
            result, known = await self._await(context, call, context.longest)
        if known is None and not replies.is_good(result):
            known = await self._settled(context)
        unsent = call.give_up()
        context.exchange.attempts = list(call.attempts)
        if known is not None:
            return known
        if result is not None and replies.is_good(result) and result.response is not None:
            return await self._as_users_see_it(context, result.response, began)
        refusal = await self._refusal(context)
        if refusal is not None:
            return refusal
        if result is None and unsent:
            return replies.unavailable(context, "overloaded", "The upstream is busy; nothing was sent.")
        if result is None:
            detail = "The upstream did not answer in time."
            return replies.unavailable(context, "deadline", detail, RetryAfter.SHORTLY)
        detail = "The upstream failed, and the standby does not know the answer."
        return replies.unavailable(context, replies.why(result), detail)

    async def _await(self, context: Context, call: UpstreamCall, until: float) -> tuple[Result | None, Response | None]:
        """The upstream's result by `until`; or the standby's answer, where a write under way was all that it waited
        for, and that has settled: at its own deadline, if nothing comes back for it either."""
        silent, pause = partial(self._asking.is_silent, context, call), SETTLED_LOOK
        while context.exchange.reason in WRITES and (look := time.monotonic() + pause) < until:
            result, pause = await call.result(until, None, look), min(2 * pause, SETTLED_LOOK_LATER)
            if result is not None or call.taken_back:
                return result, None
            known = await self._known(context, last=False)
            settled = context.until + self._deadline + SETTLES_AFTER
            if known is not None or (time.monotonic() >= settled and silent()):
                return None, known
        return await call.result(until, silent), None

    async def _settled(self, context: Context) -> Response | None:
        """What the standby knows where a write under way was all that it lacked, and that settles by the deadline: the
        upstream has failed, and to be refused is worse than to wait. For a write of which nobody knows what became
        nobody waits: it is not known soon."""
        kind, pause = context.resource, SETTLED_LOOK
        written = kind is not None
        while written and context.exchange.reason in WRITES and (left := context.until - time.monotonic()) > 0:
            written = await self._beside.run(self._standby.is_being_written, str(kind))
            if written:
                await asyncio.sleep(min(pause, left))
            known, pause = await self._known(context, last=False), min(2 * pause, SETTLED_LOOK_LATER)
            if known is not None:
                return known
        return None

    async def _as_users_see_it(self, context: Context, response: Response, began: int) -> Response:
        """The upstream's answer, with writes laid over it that users know of and the upstream does not, yet."""
        while True:
            tried = time.monotonic()
            try:
                seen = await self._beside.quick(
                    self._standby.overlay, context.match, context.request, response, context.user, began
                )
                break
            except SQLAlchemyError:
                if await another_try(self._standby, tried, context.until):
                    continue
                self._standby.database_failed("pending writes could not be read")
                detail = "Writes that are not settled could not be looked up."
                return replies.unavailable(context, "database", detail)
        if seen is not None and response.passed_on is not None:
            response.passed_on.close()
        if isinstance(seen, DontKnow):
            known = await self._known(context)
            detail = "Writes that are not settled cannot be shown here."
            return known or replies.unavailable(context, seen.reason, detail)
        context.exchange.as_given = seen is None
        return replies.from_upstream(context, seen or response)

    async def _ours(self, context: Context) -> Answer | DontKnow:
        """What the standby says; how long that takes is remembered."""
        while True:
            began = time.monotonic()
            answer = await self._beside.quick(self._standby.answer, context.match, context.request, context.user)
            failed = isinstance(answer, DontKnow) and answer.reason == "database"
            if not (failed and await another_try(self._standby, began, context.until)):
                break
        if context.endpoint is not None and isinstance(answer, Answer):
            self._lead.took(context.endpoint.id, time.monotonic() - began)
        return answer

    async def _known(
        self, context: Context, *, last: bool = True, ours: asyncio.Future[Answer | DontKnow] | None = None
    ) -> Response | None:  # fmt: skip
        """The standby's answer for a caller that the upstream has accepted, or None when it does not know. `ours`: one
        that is being looked up.

        While the upstream may yet say who the caller is (not `last`), nobody is refused for what we do not know.
        """
        if context.endpoint is None:
            return None
        refusal = await self._refusal(context)
        if refusal is not None:
            return refusal if last else None
        answer = await (ours or self._ours(context))
        if not isinstance(answer, Answer):
            context.exchange.reason, context.missing = answer.reason, answer.detail
            return None
        return replies.known(context, answer)

    async def _refusal(self, context: Context) -> Response | None:
        """The refusal of a caller whom we do not know to be who they say, where that matters."""
        if context.endpoint is None or context.endpoint.public:
            return None
        return await self._callers.refusal(context)
