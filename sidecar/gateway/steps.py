"""The steps of the request path, each of which may answer, or find out something that the next ones need.

What a step needs is in `Parts`; what it finds out it writes into the context, and into the exchange that is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from sidecar.access.enforcement import Guard
from sidecar.access.test_traffic import TestTraffic
from sidecar.contract import Action, Contract, Endpoint
from sidecar.events.recorder import Recorder
from sidecar.gateway.another_try import another_try
from sidecar.gateway.context import Context
from sidecar.gateway.memory_share import MemoryShare
from sidecar.gateway.mirror import Copies, is_copy
from sidecar.gateway.outside import AmbiguousMethod, method_meant
from sidecar.gateway.passthrough import Passthrough
from sidecar.gateway.reads import OWNED, UNSETTLED, Reads
from sidecar.gateway.writes import Writes
from sidecar.http.credentials import parse_authorization
from sidecar.http.headers import has_passed
from sidecar.http.long_json import LONG
from sidecar.http.messages import Request, Response
from sidecar.http.problem import RetryAfter, problem
from sidecar.settings import Settings
from sidecar.standby.standby import Standby
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Decision, Who

P = ParamSpec("P")
T = TypeVar("T")
LARGE: Final = 64 << 20
"""Bytes of spooled bodies of writes that a worker has in memory at once."""


@dataclass(frozen=True)
class Parts:
    """What the steps work with. One per worker; on its loop."""

    settings: Settings
    contract: Contract
    tests: TestTraffic
    via: str
    recorder: Recorder
    copies: Copies
    standby: Standby
    guard: Guard
    switchboard: Switchboard
    reads: Reads
    writes: Writes
    passthrough: Passthrough
    large: MemoryShare
    beside: OffLoop
    doubts: OffLoop
    """Threads for those of whom it is not known from memory who they are."""


async def find_caller(parts: Parts, context: Context) -> None:
    """Who says they ask, and whether it is test traffic."""
    request = context.request
    context.caller = parse_authorization(request.header("authorization"))
    context.exchange.client = parts.tests.client(request, context.user)


async def refuse_loop(parts: Parts, context: Context) -> Response | None:
    """What has been here before."""
    if not has_passed(context.request, parts.via):
        return None
    context.exchange.reason = "loop"
    return problem(508, "The upstream's address leads back here: UNDERSTUDY_UPSTREAM must name the API itself.")


async def refuse_unrecordable(parts: Parts, context: Context) -> Response | None:
    """Where nothing is to happen that is not recorded (ON_RECORD_FAILURE=refuse)."""
    if parts.settings.on_record_failure != "refuse" or parts.recorder.ready():
        return None
    context.exchange.reason = "not_recorded"
    detail = "This cannot be recorded now, and is refused; nothing was sent."
    return problem(503, detail, retry_after=RetryAfter.SHORTLY)


async def take_copy(parts: Parts, context: Context) -> Response | None:
    """What the balancer mirrors of requests that go past us is learned from, and never sent on."""
    if not is_copy(context.request):
        return None
    return await parts.beside.run(parts.copies.take, context.exchange, context.user)


async def find_endpoint(parts: Parts, context: Context) -> Response | None:
    """Which operation of the contract the upstream will take it for."""
    request = context.request
    try:
        method = method_meant(request) if request.spool is None else await parts.beside.run(method_meant, request)
    except AmbiguousMethod as error:
        context.exchange.reason = "method_override"
        return problem(400, str(error))
    context.match = parts.contract.match(method, request.path)
    return None


async def fetch_long_write(parts: Parts, context: Context) -> Response | None:
    """The standby and the policies look into a write, and the outbox may have to keep it: its body is had whole, where
    there is room in memory."""
    request, endpoint = context.request, context.endpoint
    if request.spool is None or endpoint is None or not endpoint.action.writes:
        return None
    until = time.monotonic() + parts.settings.upstream_timeout
    if not await context.held.enter_async_context(parts.large.of(request.size, until)):
        context.exchange.reason = "overloaded"
        return problem(503, "Too many large writes at once; nothing was sent.", retry_after=RetryAfter.SHORTLY)
    body = await parts.beside.run(request.spool.whole)
    context.request = replace(request, body=body, spool=None)
    return None


async def replace_provisional_ids(parts: Parts, context: Context) -> Response | None:
    """Of records that the upstream has given an id of its own meanwhile. From here on time is counted."""
    exchange, request, began = context.exchange, context.request, time.monotonic()
    while True:
        tried = time.monotonic()
        try:
            meant = await _look(parts.beside, request, parts.standby.rewritten, context.match, request)
            break
        except SQLAlchemyError:
            if await another_try(parts.standby, tried, began + parts.settings.deadline):
                continue
            exchange.reason = "database"
            detail = "The record could not be looked up; nothing was sent."
            return problem(503, detail, retry_after=RetryAfter.MOMENT)
    context.match, context.request, context.unsettled = meant.match, meant.request, meant.open
    context.until, context.longest = began + parts.settings.deadline, began + parts.settings.upstream_timeout
    exchange.describe(parts.contract, context.match, context.user)
    return None


async def heed_policies(parts: Parts, context: Context) -> Response | None:
    """Whether they may."""
    caller, request = context.caller, context.request
    known = caller is None or parts.standby.is_known(caller.user, caller.password)
    threads = parts.beside if known else parts.doubts
    return await _look(threads, request, parts.guard.refusal, context.exchange, context.match, request, caller)


async def pass_through(parts: Parts, context: Context) -> Response | None:
    """What the contract does not know, and calls that may change anything."""
    endpoint = context.endpoint
    if endpoint is not None and (endpoint.action.writes or endpoint.repeatable):
        return None
    return await parts.passthrough.answer(context)


async def decide(parts: Parts, context: Context) -> None:
    """Who is to answer: the upstream, the standby, or nobody now."""
    assert context.endpoint is not None
    context.decision = await _decided(parts, context, context.endpoint)
    context.exchange.circuit = parts.switchboard.state(context.endpoint.id).circuit.state.value


async def read(parts: Parts, context: Context) -> Response | None:
    """Answers a read, and a call that depends on its input alone."""
    if context.endpoint is None or context.endpoint.action.writes:
        return None
    return await parts.reads.answer(context)


async def write(parts: Parts, context: Context) -> Response:
    """Answers a write."""
    return await parts.writes.answer(context)


async def _decided(parts: Parts, context: Context, endpoint: Endpoint) -> Decision:
    writes = endpoint.action.writes
    owns = parts.standby.owns if writes else parts.standby.owns_lately
    if endpoint.action is not Action.CALL and await parts.beside.quick(owns, endpoint.resource):
        return Decision(Who.NOBODY if writes else Who.STANDBY, OWNED)
    if context.unsettled and not writes:
        return Decision(Who.STANDBY, UNSETTLED)
    return parts.switchboard.decide(endpoint.id, context.user or context.request.remote, writes)


async def _look(threads: OffLoop, request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Looks into a request: here, from memory; but beside, where it is so long that others would wait."""
    if len(request.body) > LONG:
        return await threads.run(work, *args, **kwargs)
    return await threads.quick(work, *args, **kwargs)
