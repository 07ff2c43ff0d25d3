"""The request path, in the order of its steps: who is calling, who answers, the answer.

A read goes to the upstream until the deadline; then the standby answers if it truly knows; else the upstream is waited
for. A write goes to the upstream once, after its intent is on disk (where the database takes none, all that is known is
unverified meanwhile); where that comes to nothing, or nobody can say, the outbox takes it. What the standby does not
know is never invented: the answer is then an honest 503.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from sidecar.access.enforcement import Guard
from sidecar.clock import earliest
from sidecar.contract import Action, Contract, Endpoint, Match
from sidecar.exchange import AnsweredBy, Exchange, Identity, Outcome
from sidecar.gateway.asking import Asking
from sidecar.gateway.context import Context, Presence
from sidecar.gateway.lead import Lead
from sidecar.gateway.memory_share import MemoryShare
from sidecar.gateway.mirror import key_of
from sidecar.gateway.outside import AmbiguousMethod, may_have_changed, method_meant
from sidecar.gateway.record_line import RecordLines
from sidecar.http import problem
from sidecar.http.credentials import Credentials
from sidecar.http.headers import answer_fields, upstream_fields
from sidecar.http.long_json import LONG
from sidecar.http.messages import Request, Response
from sidecar.http.problem import RetryAfter
from sidecar.http.schemes import challenge, challenge_of, shows_credentials
from sidecar.settings import Settings
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.known_callers import Standing
from sidecar.standby.standby import Standby
from sidecar.standby.writes.intents import may_come_late
from sidecar.storage.off_loop import OffLoop
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Decision, Who
from sidecar.upstream.call import UpstreamCall
from sidecar.upstream.scheduler import Priority, Result

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)
OPERATOR: Final = "takeover"
"""The reason of a decision that is an operator's word. Any other is a preference: what the standby does not know is
still asked of the upstream, for an unlikely answer is better than none."""
OWNED: Final = "promoted"
LARGE: Final = 64 << 20
"""Bytes of spooled bodies of writes that a worker has in memory at once."""
UNSETTLED: Final = "unsettled"
WRITES: Final = frozenset(("unsettled_write", "in_doubt"))
"""Why the standby does not know, while a write is under way or unclear: one that adds a record, or changes one."""
SETTLED_LOOK: Final = 0.1
"""Seconds between looks at whether that has settled."""
SETTLED_LOOK_LATER: Final = 0.4
"""The same after some in vain, where many may wait: nobody else can answer them meanwhile."""
NOT_KEPT: Final = {
    "media_type": "its media type is not one whose meaning is known",
    "empty_body": "it changes nothing",
    "unreadable": "its body is not a JSON object",
    "unknown_field": "its body has members that the contract does not know, or wraps the record",
    "invalid_field": "a value is not exactly what the contract means, and would be cast or refused",
    "required_field": "a field is missing that was seen to be demanded",
    "precondition": "its precondition cannot be evaluated now",
    "content_coding": "its body is coded, or a part",
    "unknown_query": "what its query does is not known",
    "other_spelling": "its path is spelled in another way, of which nobody has seen that it means the same",
    "unexpected_body": "what its body does is not known",
    "method_override": "it carries another method",
    "chosen_id": "it chooses the record's id",
    "string_id": "the id that the record will have cannot be foreseen",
    "credentials": "it changes credentials, which must be confirmed first",
    "unknown_reference": "it refers to a record that is not known to be there",
    "never_seen": "the record has not been seen",
    "never_shown": "the record was not shown to its author",
    "in_doubt": "nobody can say how the record is now",
    "unverified": "what is known of the record is unverified",
    "parked": "it is about a record whose creation waits for a person's decision",
}
"""Why a write cannot be kept, for people."""
TURN_AFTER: Final = 1.0
"""Seconds beyond its deadline for which a write waits for the one before it, before the outbox is asked to take it."""
TURN_LOOK: Final = 0.01
"""Seconds between looks at whether that has ended."""


class Handler:
    """Answers requests. One per worker; on its loop."""

    def __init__(
        self, settings: Settings, contract: Contract, asking: Asking, standby: Standby, switchboard: Switchboard,
        via: str, guard: Guard, beside: OffLoop, doubts: OffLoop,
    ) -> None:  # fmt: skip
        """`doubts`: threads for those of whom it is not known from memory who they are. To find out may take a while,
        and whoever guesses passwords holds up nobody else."""
        self._guard = guard
        self._beside, self._doubts = beside, doubts
        self._settings = settings
        self._contract = contract
        self._asking = asking
        self._standby = standby
        self._switchboard = switchboard
        self._via = via
        self._lines = RecordLines()
        self._large = MemoryShare(LARGE)
        self._lead = Lead(settings.deadline / 2)

    async def answer(self, exchange: Exchange, caller: Credentials | None, presence: Presence) -> Response:
        """The answer to a whole request of this caller; fills in the exchange."""
        try:
            method = await self._method(exchange.request)
        except AmbiguousMethod as error:
            exchange.reason = "method_override"
            return problem.problem(400, str(error))
        match = self._contract.match(method, exchange.request.path)
        endpoint = match.endpoint
        if exchange.request.spool is None or endpoint is None or not endpoint.action.writes:
            return await self._answer(exchange, match, exchange.request, caller, presence)
        until = time.monotonic() + self._settings.upstream_timeout
        async with self._large.of(exchange.request.size, until) as has_room:
            if not has_room:
                exchange.reason = "overloaded"
                return problem.problem(
                    503, "Too many large writes at once; nothing was sent.", retry_after=RetryAfter.SHORTLY
                )
            # the standby and the policies look into a write, and the outbox may have to keep it
            body = await self._beside.run(exchange.request.spool.whole)
            whole = replace(exchange.request, body=body, spool=None)
            return await self._answer(exchange, match, whole, caller, presence)

    async def _method(self, request: Request) -> str:
        """Raises AmbiguousMethod."""
        return method_meant(request) if request.spool is None else await self._beside.run(method_meant, request)

    def _threads_for(self, caller: Credentials | None) -> OffLoop:
        known = caller is None or self._standby.is_known(caller.user, caller.password)
        return self._beside if known else self._doubts

    async def _look(
        self, threads: OffLoop, request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Looks into a request: here, from memory; but beside, where it is so long that others would wait."""
        if len(request.body) > LONG:
            return await threads.run(work, *args, **kwargs)
        return await threads.quick(work, *args, **kwargs)

    async def _answer(
        self, exchange: Exchange, match: Match, request: Request, caller: Credentials | None, presence: Presence
    ) -> Response:
        try:
            meant = await self._look(self._beside, request, self._standby.rewritten, match, request)
        except SQLAlchemyError:
            exchange.reason = "database"
            return problem.problem(
                503, "The record could not be looked up; nothing was sent.", retry_after=RetryAfter.MOMENT
            )
        match, until = meant.match, time.monotonic() + self._settings.deadline
        context = Context(exchange, match, meant.request, caller, until, presence, unsettled=meant.open)
        exchange.describe(self._contract, match, context.user)
        try:
            return await self._allowed(context)
        except asyncio.CancelledError:
            if presence.call is not None:
                presence.call.late = True  # what is under way comes too late for this one
                exchange.attempts = presence.call.attempts
            raise

    async def _allowed(self, context: Context) -> Response:
        """The answer to a request that is understood, if the policies allow it."""
        exchange, match, caller, request = context.exchange, context.match, context.caller, context.request
        threads = self._threads_for(caller)
        refusal = await self._look(threads, request, self._guard.refusal, exchange, match, request, caller)
        if refusal is not None:
            return refusal
        endpoint = match.endpoint
        if endpoint is None or not (endpoint.action.writes or endpoint.repeatable):
            return await self._pass(context)
        decision = await self._decide(context, endpoint)
        exchange.circuit = self._switchboard.state(endpoint.id).circuit.state.value
        if not endpoint.action.writes:
            return await self._read(context, decision)
        response = await self._change(context, decision)
        if context.write is not None and context.write.change is not None:
            exchange.change, exchange.before = context.write.change, context.write.was_record
        return response

    async def _decide(self, context: Context, endpoint: Endpoint) -> Decision:
        writes = endpoint.action.writes
        owns = self._standby.owns if writes else self._standby.owns_lately
        if endpoint.action is not Action.CALL and await self._beside.quick(owns, endpoint.resource):
            return Decision(Who.NOBODY if writes else Who.STANDBY, OWNED)
        if context.unsettled and not writes:
            return Decision(Who.STANDBY, UNSETTLED)
        return self._switchboard.decide(endpoint.id, context.user or context.request.remote, writes)

    # A read, or a call that depends on its input alone -------------------------------------------------------------

    async def _read(self, context: Context, decision: Decision) -> Response:
        """The upstream's answer in time; else what the standby truly knows; else the upstream's late one; else 503."""
        asked = decision.who is Who.STANDBY
        if asked:
            alone = decision.reason in (OPERATOR, OWNED, UNSETTLED)
            known = await self._known(context, last=alone)
            if known is not None:
                return known
            if alone:
                return self._unavailable(context, "taken_over", "The standby serves this endpoint, and does not know.")
        with self._asking.room(context, probe=decision.who is Who.PROBE) as room:
            if room:
                return await self._read_upstream(context)
        known = await self._refusal(context) if asked else await self._known(context)
        return known or self._unavailable(context, "overloaded", "More are waiting than can be answered in time.")

    async def _read_upstream(self, context: Context) -> Response:
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
            return self._left(context)
        if result is None and known is None:
            self._asking.late(context, call)
        if known is None and not _good(result):
            known = await self._known(context, last=result is not None, ours=ours)
        if known is None and result is None:
            call.hurry()
            result, known = await self._await(context, call, self._longest(context))
        if known is None and not _good(result):
            known = await self._settled(context)
        unsent = call.give_up()
        context.exchange.attempts = list(call.attempts)
        if known is not None:
            return known
        if result is not None and _good(result) and result.response is not None:
            return await self._as_users_see_it(context, result.response, began)
        refusal = await self._refusal(context)
        if refusal is not None:
            return refusal
        if result is None and unsent:
            return self._unavailable(context, "overloaded", "The upstream is busy; nothing was sent.")
        if result is None:
            return self._unavailable(context, "deadline", "The upstream did not answer in time.", RetryAfter.SHORTLY)
        return self._unavailable(
            context, _why(result), "The upstream failed, and the standby does not know the answer."
        )

    async def _await(self, context: Context, call: UpstreamCall, until: float) -> tuple[Result | None, Response | None]:
        """The upstream's result by `until`; or the standby's answer, where a write under way was all that it waited
        for, and that has settled: at its own deadline, if nothing comes back for it either."""
        silent, pause = partial(self._asking.is_silent, context, call), SETTLED_LOOK
        while context.exchange.reason in WRITES and (look := time.monotonic() + pause) < until:
            result, pause = await call.result(until, None, look), min(2 * pause, SETTLED_LOOK_LATER)
            if result is not None or call.taken_back:
                return result, None
            known = await self._known(context, last=False)
            settled = context.until + self._settings.deadline + TURN_AFTER
            if known is not None or (time.monotonic() >= settled and silent()):
                return None, known
        return await call.result(until, silent), None

    async def _settled(self, context: Context) -> Response | None:
        """What the standby knows where a write under way was all that it lacked, and that settles by the deadline: the
        upstream has failed, and to be refused is worse than to wait. For a write of which nobody knows what became
        nobody waits: it is not known soon."""
        kind = context.endpoint.resource if context.endpoint is not None else None
        written, pause = kind is not None, SETTLED_LOOK
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
        try:
            seen = await self._beside.quick(
                self._standby.overlay, context.match, context.request, response, context.user, began
            )
        except SQLAlchemyError:
            self._standby.database_failed("pending writes could not be read")
            return self._unavailable(context, "database", "Writes that are not settled could not be looked up.")
        if seen is not None and response.passed_on is not None:
            response.passed_on.close()
        if isinstance(seen, DontKnow):
            known = await self._known(context)
            return known or self._unavailable(context, seen.reason, "Writes that are not settled cannot be shown here.")
        context.exchange.as_given = seen is None
        return self._from_upstream(context, seen or response)

    async def _ours(self, context: Context) -> Answer | DontKnow:
        """What the standby says; how long that takes is remembered."""
        began = time.monotonic()
        answer = await self._beside.quick(self._standby.answer, context.match, context.request, context.user)
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
        endpoint, exchange = context.endpoint, context.exchange
        if endpoint is None:
            return None
        if not endpoint.public:
            refusal = await self._verify(context)
            if refusal is not None:
                return refusal if last else None
        answer = await (ours or self._ours(context))
        if not isinstance(answer, Answer):
            exchange.reason, context.missing = answer.reason, answer.detail
            return None
        exchange.answered_by = AnsweredBy.STANDBY
        age = max(0, int(answer.age_seconds))
        detail = "; detail=unverified" if answer.unverified else "; detail=unproven" if answer.unproven else ""
        fields = [*answer.headers, ("Age", str(age)), ("Cache-Status", f"understudy; hit; ttl=-{age}{detail}")]
        return Response(answer.status, fields, answer.body)

    async def _refusal(self, context: Context) -> Response | None:
        """After all has failed: the refusal of a caller whom we know not to be who they say."""
        if context.endpoint is None or context.endpoint.public:
            return None
        return await self._verify(context)

    async def _verify(self, context: Context) -> Response | None:
        """None for a caller whom the upstream has accepted before; else the refusal. Where the upstream asks nobody who
        they are, nobody is told that they may not."""
        refusal = await self._who(context)
        if refusal is None or context.endpoint is None or not context.endpoint.public:
            return refusal
        context.exchange.reason = "cannot_verify"
        return problem.problem(
            503,
            "Nothing was sent. A write is kept only for someone whom the upstream has accepted before; here it asks "
            "nobody who they are.",
            retry_after=RetryAfter.SHORTLY,
        )

    async def _who(self, context: Context) -> Response | None:
        """None for a caller whom the upstream has accepted before; else what anybody is told who has to be."""
        exchange = context.exchange
        if context.caller is None:
            return self._unverified(context)
        standing = await self._doubts.quick(self._standby.check, context.caller.user, context.caller.password)
        if standing is Standing.KNOWN:
            exchange.identity = Identity.VERIFIED
            return None
        if standing in (Standing.WRONG, Standing.REVOKED):
            exchange.reason = "wrong_credentials" if standing is Standing.WRONG else "revoked"
            return problem.unauthorized(challenge_of("Basic", self._contract.name), "These credentials are not valid.")
        exchange.reason = "cannot_verify"
        return problem.problem(
            503, "The upstream cannot be asked whether these credentials are valid.", retry_after=RetryAfter.SHORTLY
        )

    def _unverified(self, context: Context) -> Response:
        """The refusal of a caller without Basic credentials. A token that only the upstream can read is never called
        wrong: its owner would throw it away."""
        schemes, exchange = self._contract.schemes, context.exchange
        asked = challenge(schemes, self._contract.name)
        if asked is None or shows_credentials(schemes, context.request):
            exchange.reason = "cannot_verify"
            return problem.problem(503, "The upstream cannot be asked who you are.", retry_after=RetryAfter.SHORTLY)
        exchange.reason = "no_credentials"
        return problem.unauthorized(asked, "Credentials are needed.")

    # A write, and what is outside the contract ---------------------------------------------------------------------

    async def _change(self, context: Context, decision: Decision) -> Response:
        """Sends a write once, after its intent is on disk; the outbox takes what cannot be sent now."""
        copied = key_of(context.request.headers)
        if copied is not None:
            await self._beside.run(self._keep, lambda: self._standby.withdrawn(copied))
        if decision.who is Who.NOBODY:
            return await self._take(context, decision.reason)
        async with AsyncExitStack() as line:
            await self._line_up(context, line)
            while True:
                with self._asking.room(context, probe=decision.who is Who.PROBE) as room:
                    if not room:
                        break
                    if await self._begin(context, wait=await self._may_wait(context)):
                        await line.aclose()  # the next may look whether it can begin
                        return await self._send(context)
                await self._await_turn(context)
        return await self._take(context, "overloaded")

    def _longest(self, context: Context) -> float:
        """How long is waited for what only the upstream can answer."""
        return context.until - self._settings.deadline + self._settings.upstream_timeout

    async def _line_up(self, context: Context, line: AsyncExitStack) -> None:
        """Behind those of this process who want to write to the same record."""
        if context.match.record_id is not None:
            key = context.endpoint_resource, context.match.record_id
            await line.enter_async_context(self._lines.first(key, self._longest(context)))

    async def _may_wait(self, context: Context) -> bool:
        """Whether a write waits for the one before it, if there is one: until its deadline, and a moment more, for that
        one is answered at its own; beyond it if the outbox would not take this one. To be refused is worse."""
        now = time.monotonic()
        if context.match.record_id is None or now >= self._longest(context):
            return False
        if now < context.until + TURN_AFTER or context.caller is None:
            return True
        caller = context.caller
        known = await self._doubts.quick(self._standby.check, caller.user, caller.password) is Standing.KNOWN
        take = self._standby.would_take
        return not known or not await self._beside.run(take, context.match, context.request, caller.user)

    async def _await_turn(self, context: Context) -> None:
        """Until no other write to the record is under way; for TURN_AFTER, or until it may no longer wait."""
        until = min(self._longest(context), max(context.until, time.monotonic()) + TURN_AFTER)
        while time.monotonic() < until and await self._beside.run(self._standby.is_under_way, context.match):
            await asyncio.sleep(TURN_LOOK)

    async def _begin(self, context: Context, *, wait: bool) -> bool:
        """Writes the intent down, if that can be. False: another write to the record is under way, and this may wait
        for its end; sent past it, nobody could say which of the two was the last."""
        waits = False

        def begin() -> None:
            nonlocal waits
            context.write = self._standby.begin_write(context.match, context.request, context.user, wait=wait)
            waits = context.write is None

        context.unkept = not await self._beside.run(self._keep, begin)
        return not waits

    async def _send(self, context: Context) -> Response:
        """Of a write that was begun, or could not be written down."""
        if context.write is not None and context.write.queued:
            return await self._take(context, "queued")
        if context.write is None and (
            context.unsettled or await self._beside.quick(self._standby.is_waiting, context.endpoint_resource)
        ):
            return self._unavailable(context, "database", "The write could not be kept, and was not sent.")
        return await self._once(context)

    def _keep(self, write_down: Callable[[], None]) -> bool:
        """In a thread. Where what a write may change cannot be written down (False), all that is known is unverified:
        from now on, and anew from the write's end on."""
        try:
            write_down()
            return True
        except SQLAlchemyError:
            self._standby.database_failed("the intent of a write could not be kept")
            self._standby.mark_gap("an intent could not be kept", later=True)
        except Exception:
            log.exception(
                "the intent of a write could not be kept", extra={"fields": {"event.action": "intent_failed"}}
            )
            self._standby.mark_gap("an intent could not be kept")
        return False

    async def _take(self, context: Context, reason: str) -> Response:
        """A write that must not be sent now: the outbox takes it, or it is refused and nothing has happened."""
        context.exchange.reason = reason
        refusal = await self._verify(context)
        if refusal is None and context.write is None:
            refusal = await self._foreseen(context, reason)
            context.write = await self._beside.run(self._standby.plan, context.match, context.request)
        accepted = None if refusal is not None else await self._accept(context, sent=False)
        if accepted is None:
            await self._asking.never_sent(context)
        return accepted or refusal or self._not_taken(context, reason)

    async def _foreseen(self, context: Context, reason: str) -> Response | None:
        """The answer to a write that the outbox would not take: it need not even begin. None: it would."""
        seen = await self._beside.run(self._standby.refusal, context.match, context.request, context.user or "")
        if seen is None:
            return None
        if isinstance(seen, Answer):
            return self._taken(context, seen)
        context.not_kept = seen.reason
        return self._not_taken(context, reason)

    def _not_taken(self, context: Context, reason: str) -> Response:
        return self._unavailable(context, reason, "Nothing was sent." + _for_want_of(context))

    async def _accept(
        self, context: Context, *, sent: bool, answered: bool = False, under_way: bool = False
    ) -> Response | None:
        """The standby's answer to a write that the outbox takes, or None. The caller has been verified."""
        exchange = context.exchange
        if context.write is None or context.caller is None:
            return None
        fields = upstream_fields(context.request, exchange.request_id, exchange.traceparent, self._via)
        answer = await self._beside.run(
            self._standby.accept, context.write, context.request,
            exchange.request_id, fields, context.caller.user, context.caller.password,
            sent=sent, answered=answered, under_way=under_way,
        )  # fmt: skip
        if isinstance(answer, DontKnow):
            context.not_kept = answer.reason
        return self._taken(context, answer) if isinstance(answer, Answer) else None

    def _taken(self, context: Context, answer: Answer) -> Response:
        """What the standby says to a write: the upstream's refusal, or that it is done."""
        context.exchange.answered_by = AnsweredBy.STANDBY
        detail = "hit; ttl=0; detail=outbox" if answer.status < 400 else "hit; ttl=0"
        return Response(answer.status, [*answer.headers, ("Cache-Status", f"understudy; {detail}")], answer.body)

    async def _is_known(self, context: Context) -> bool:
        """Whether the upstream has accepted these credentials before, so that a write of theirs can be taken."""
        if context.write is None or context.caller is None:
            return False
        standing = await self._doubts.quick(self._standby.check, context.caller.user, context.caller.password)
        return standing is Standing.KNOWN

    async def _pass(self, context: Context) -> Response:
        """What the contract does not know goes through as it is; it may have changed anything."""
        with self._asking.room(context) as room:
            if not room:
                detail = "More are waiting than can be answered in time; nothing was sent."
                return self._unavailable(context, "overloaded", detail)
            answer = await self._once(context)
        attempts = context.exchange.attempts
        if may_have_changed(context.request.method, attempts, answer):
            outside = context.endpoint is None
            why = "a write outside the contract" if outside else "a call that may change anything"
            await self._beside.run(self._standby.mark_gap, why)
        return answer

    async def _once(self, context: Context) -> Response:
        """Asks the upstream a single time; at the deadline the outbox takes a write, all else waits on."""
        exchange = context.exchange
        self._asking.earn()
        call = self._asking.ask(context, Priority.ONLY_UPSTREAM, repeatable=False)
        longest = self._longest(context)
        silent = partial(self._asking.is_silent, context, call)
        result = await call.result(longest if context.write is None else context.until, silent)
        if result is None and not call.taken_back and await self._is_known(context):
            unsent = call.give_up()
            accepted = await self._accept(context, sent=not unsent, under_way=not unsent)
            if accepted is not None:
                self._asking.late(context, call)
                exchange.reason = "deadline"
                exchange.attempts = list(call.attempts)
                return accepted
            if unsent:
                call = self._asking.ask(context, Priority.ONLY_UPSTREAM, repeatable=False)
                silent = partial(self._asking.is_silent, context, call)
        if result is None and context.write is not None:
            result = await call.result(longest, silent)
        if result is None and call.taken_back:
            await self._asking.never_sent(context)
            return self._left(context)
        if result is None:
            self._asking.late(context, call)
            unsent = call.give_up()
            exchange.attempts = list(call.attempts)
            if unsent:
                await self._asking.never_sent(context)
                return self._unavailable(context, "overloaded", "The upstream is busy; nothing was sent.")
            return self._gateway_timeout(context)
        exchange.attempts = list(call.attempts)
        if not _good(result) and await self._is_known(context):
            sent = result.attempt.outcome is not Outcome.FAILURE
            accepted = await self._accept(context, sent=sent, answered=not may_come_late(result.response))
            if accepted is not None:
                exchange.reason = _why(result)
                return accepted
        if result.response is not None and (result.attempt.error in (None, "status")):
            return self._from_upstream(context, result.response)
        if result.attempt.outcome is Outcome.FAILURE:
            refusal = await self._verify(context) if context.write is not None else None
            detail = "The upstream cannot be reached; nothing was sent."
            return refusal or self._unavailable(context, _why(result), detail + _for_want_of(context))
        if result.attempt.error == "timeout":
            return self._gateway_timeout(context)
        exchange.reason = _why(result)
        return problem.problem(502, "The upstream gave no whole answer; the request may have taken effect.")

    def _left(self, context: Context) -> Response:
        """Nobody hears it."""
        context.exchange.reason = "client_aborted"
        return problem.problem(503, "The client has left, and nothing was sent.")

    def _gateway_timeout(self, context: Context) -> Response:
        context.exchange.reason = "timeout"
        return problem.problem(504, "The upstream did not answer; the request may have taken effect.")

    # Answers ------------------------------------------------------------------------------------------------------

    def _from_upstream(self, context: Context, response: Response) -> Response:
        context.exchange.answered_by = AnsweredBy.UPSTREAM
        if response.passed_on is not None:
            context.exchange.reason, context.exchange.as_given = "passed_on", False
        fields = answer_fields(response.headers)
        length = response.header("content-length")
        if context.request.method == "HEAD" and length is not None:
            fields.append(("Content-Length", length))
        word = "bypass" if context.endpoint is None else "method" if context.endpoint.method != "GET" else "miss"
        fields.append(("Cache-Status", f"understudy; fwd={word}; fwd-status={response.status}"))
        return Response(response.status, fields, response.body, response.passed_on)

    def _unavailable(
        self, context: Context, reason: str, detail: str, after: RetryAfter = RetryAfter.MOMENT
    ) -> Response:  # fmt: skip
        context.exchange.reason = reason if context.exchange.reason is None else context.exchange.reason
        missing = {"missing": context.missing} if context.missing else {}
        return problem.problem(
            503, detail, retry_after=context.again or after, reason=context.exchange.reason, **missing
        )


def _for_want_of(context: Context) -> str:
    """Why the outbox did not take the write."""
    why = NOT_KEPT.get(context.not_kept or "", context.not_kept)
    return f" The write was not taken: {why}." if why else " The write was not taken."


def _good(result: Result | None) -> bool:
    return result is not None and result.attempt.outcome is Outcome.SUCCESS


def _why(result: Result) -> str:
    status: Any = result.attempt.status
    return f"upstream_{status}" if result.attempt.error == "status" else f"upstream_{result.attempt.error}"
