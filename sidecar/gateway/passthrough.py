"""What the contract does not know goes through as it is; it may have changed anything."""

from __future__ import annotations

from sidecar.gateway import replies
from sidecar.gateway.asking import Asking
from sidecar.gateway.context import Context
from sidecar.gateway.outside import may_have_changed
from sidecar.gateway.single_call import SingleCall
from sidecar.http.messages import Response
from sidecar.standby.standby import Standby
from sidecar.standby.writes.intents import may_come_late
from sidecar.storage.off_loop import OffLoop


class Passthrough:
    """One per worker; on its loop."""

    def __init__(self, asking: Asking, standby: Standby, single: SingleCall, beside: OffLoop) -> None:
        self._asking = asking
        self._standby = standby
        self._single = single
        self._beside = beside

    async def answer(self, context: Context) -> Response:
        with self._asking.room(context) as room:
            if not room:
                detail = "More are waiting than can be answered in time; nothing was sent."
                return replies.unavailable(context, "overloaded", detail)
            answer = await self._single.answer(context)
        if may_have_changed(context.request.method, context.exchange.attempts, answer):
            outside = context.endpoint is None
            why = "a write outside the contract" if outside else "a call that may change anything"
            await self._beside.run(self._standby.mark_gap, why, under_way=may_come_late(answer))
        return answer
