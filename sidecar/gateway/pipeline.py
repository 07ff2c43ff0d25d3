"""The request path: PIPELINE is all of it, in its order. The first step that has an answer is the last that is taken.

A read goes to the upstream until the deadline; then the standby answers if it truly knows; else the upstream is waited
for. A write goes to the upstream once, after its intent is on disk (where the database takes none, all that is known is
unverified meanwhile); where that comes to nothing, or nobody can say, the outbox takes it. What the standby does not
know is never invented: the answer is then an honest 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from sidecar.access.enforcement import Guard
from sidecar.access.test_traffic import TestTraffic
from sidecar.contract import Contract
from sidecar.events.recorder import Recorder
from sidecar.exchange import Exchange
from sidecar.gateway import steps
from sidecar.gateway.asking import Asking
from sidecar.gateway.callers import Callers
from sidecar.gateway.context import Context, Presence
from sidecar.gateway.memory_share import MemoryShare
from sidecar.gateway.mirror import Copies
from sidecar.gateway.passthrough import Passthrough
from sidecar.gateway.reads import Reads
from sidecar.gateway.single_call import SingleCall
from sidecar.gateway.taking import Taking
from sidecar.gateway.writes import Writes
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.standby.standby import Standby
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.coordinator import Switchboard

Step = Callable[[steps.Parts, Context], Awaitable[Response | None]]
PIPELINE: Final[tuple[Step, ...]] = (
    steps.find_caller,
    steps.refuse_loop,
    steps.refuse_unrecordable,
    steps.take_copy,
    steps.find_endpoint,
    steps.fetch_long_write,
    steps.replace_provisional_ids,
    steps.heed_policies,
    steps.pass_through,
    steps.decide,
    steps.read,
    steps.write,
)
"""Every request takes these, reads and writes, with the upstream well or gone."""


class Pipeline:
    """One per worker; on its loop."""

    def __init__(
        self, settings: Settings, contract: Contract, asking: Asking, standby: Standby, switchboard: Switchboard,
        via: str, guard: Guard, recorder: Recorder, beside: OffLoop, doubts: OffLoop,
    ) -> None:  # fmt: skip
        """`doubts`: threads for those of whom it is not known from memory who they are. To find out may take a while,
        and whoever guesses passwords holds up nobody else."""
        callers = Callers(contract, standby, doubts)
        taking = Taking(asking, standby, callers, via, beside)
        single = SingleCall(asking, callers, taking)
        self._parts = steps.Parts(
            settings, contract, TestTraffic(settings), via, recorder, Copies(contract, standby), standby, guard,
            switchboard, Reads(settings, asking, standby, callers, beside),
            Writes(asking, standby, callers, taking, single, beside), Passthrough(asking, standby, single, beside),
            MemoryShare(steps.LARGE), beside, doubts,
        )  # fmt: skip

    async def answer(self, exchange: Exchange, presence: Presence) -> Response:
        """The answer to a whole request of a client who may leave; fills in the exchange."""
        async with AsyncExitStack() as held:
            context = Context(exchange, presence, held, exchange.request)
            try:
                for step in PIPELINE:
                    response = await step(self._parts, context)
                    if response is not None:
                        return response
            except asyncio.CancelledError:
                if presence.call is not None:
                    presence.call.late = True  # what is under way comes too late for this one
                    exchange.attempts = presence.call.attempts
                raise
        raise AssertionError("the last step of PIPELINE answers")
