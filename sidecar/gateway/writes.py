"""A write: sent once, after its intent is on disk; the outbox takes what cannot be sent now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.gateway import replies
from sidecar.gateway.another_try import PAUSE, is_worth_it
from sidecar.gateway.asking import Asking
from sidecar.gateway.callers import Callers
from sidecar.gateway.context import Context
from sidecar.gateway.mirror import key_of
from sidecar.gateway.record_line import RecordLines
from sidecar.gateway.single_call import SingleCall
from sidecar.gateway.taking import Taking
from sidecar.http.messages import Response
from sidecar.standby.standby import Standby
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.routing import Who

log = logging.getLogger(__name__)
TURN_AFTER: Final = 1.0
"""Seconds beyond its deadline for which a write waits for the one before it, before the outbox is asked to take it."""
TURN_LOOK: Final = 0.01
"""Seconds between looks at whether that has ended."""


class Writes:
    """One per worker; on its loop."""

    def __init__(
        self, asking: Asking, standby: Standby, callers: Callers, taking: Taking, single: SingleCall, beside: OffLoop
    ) -> None:
        self._asking = asking
        self._standby = standby
        self._callers = callers
        self._taking = taking
        self._single = single
        self._beside = beside
        self._lines = RecordLines()

    async def answer(self, context: Context) -> Response:
        """The upstream's, or the outbox's; what it changes is noted in the exchange."""
        response = await self._answer(context)
        if context.write is not None and context.write.change is not None:
            context.exchange.change, context.exchange.before = context.write.change, context.write.was_record
        return response

    async def _answer(self, context: Context) -> Response:
        decision = context.decision
        copied = key_of(context.request.headers)
        if copied is not None:
            await self._beside.run(self._keep, lambda: self._standby.withdrawn(copied))
        if decision.who is Who.NOBODY:
            return await self._taking.take(context, decision.reason)
        async with AsyncExitStack() as line:
            await self._line_up(context, line)
            while True:
                with self._asking.room(context, probe=decision.who is Who.PROBE) as room:
                    if not room:
                        break
                    try:
                        begun = await self._begin(context, wait=await self._may_wait(context))
                    except SQLAlchemyError:
                        begun = None  # it may be that it can be written down in a moment
                    if begun:
                        await line.aclose()  # the next may look whether it can begin
                        return await self._send(context)
                if begun is None:
                    await asyncio.sleep(PAUSE)
                else:
                    await self._await_turn(context)
        return await self._taking.take(context, "overloaded")

    async def _line_up(self, context: Context, line: AsyncExitStack) -> None:
        """Behind those of this process who want to write to the same record."""
        if context.match.record_id is not None:
            key = context.resource, context.match.record_id
            await line.enter_async_context(self._lines.first(key, context.longest))

    async def _may_wait(self, context: Context) -> bool:
        """Whether a write waits for the one before it, if there is one: until its deadline, and a moment more, for that
        one is answered at its own; beyond it if the outbox would not take this one. To be refused is worse."""
        now = time.monotonic()
        if context.match.record_id is None or now >= context.longest:
            return False
        if now < context.until + TURN_AFTER or context.caller is None:
            return True
        return not (await self._callers.is_known(context) and await self._taking.would_take(context))

    async def _await_turn(self, context: Context) -> None:
        """Until no other write to the record is under way; for TURN_AFTER, or until it may no longer wait."""
        until = min(context.longest, max(context.until, time.monotonic()) + TURN_AFTER)
        while time.monotonic() < until and await self._beside.run(self._standby.is_under_way, context.match):
            await asyncio.sleep(TURN_LOOK)

    async def _begin(self, context: Context, *, wait: bool) -> bool:
        """Writes the intent down, if that can be. False: another write to the record is under way, and this may wait
        for its end; sent past it, nobody could say which of the two was the last. Raises SQLAlchemyError where
        another try is worth it."""
        waits = False

        def begin() -> None:
            nonlocal waits
            context.write = self._standby.begin_write(context.match, context.request, context.user, wait=wait)
            waits = context.write is None

        context.unkept = not await self._beside.run(self._keep, begin, context.until)
        return not waits

    async def _send(self, context: Context) -> Response:
        """Of a write that was begun, or could not be written down."""
        if context.write is not None and context.write.queued:
            return await self._taking.take(context, "queued")
        if context.write is None and (
            context.unsettled or await self._beside.quick(self._standby.is_waiting, context.resource)
        ):
            return replies.unavailable(context, "database", "The write could not be kept, and was not sent.")
        return await self._single.answer(context)

    def _keep(self, write_down: Callable[[], None], until: float = 0.0) -> bool:
        """In a thread. Where what a write may change cannot be written down (False), all that is known is unverified:
        from now on, and anew from the write's end on. Raises SQLAlchemyError where another try before `until` is worth
        it."""
        began = time.monotonic()
        try:
            write_down()
            return True
        except SQLAlchemyError:
            if is_worth_it(self._standby, began, until):
                raise
            self._standby.database_failed("the intent of a write could not be kept")
            self._standby.mark_gap("an intent could not be kept", later=True)
        except Exception:
            log.exception(
                "the intent of a write could not be kept", extra={"fields": {"event.action": "intent_failed"}}
            )
            self._standby.mark_gap("an intent could not be kept")
        return False
