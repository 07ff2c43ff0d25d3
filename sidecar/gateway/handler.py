"""The request path, in the order of its steps: who is calling, who answers, the answer.

A read goes to the upstream until the deadline; then the standby answers if it truly knows; else the upstream is waited
for. A write goes to the upstream once, after its intent is on disk; where that comes to nothing, or nobody can say, the
outbox takes it. What the standby does not know is never invented: the answer is then an honest 503.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.access.enforcement import Guard
from sidecar.clock import earliest
from sidecar.contract import Action, Contract, Endpoint, Match
from sidecar.exchange import AnsweredBy, Exchange, Identity, Outcome
from sidecar.gateway.asking import Asking
from sidecar.gateway.inquiry import Inquiry
from sidecar.gateway.mirror import key_of
from sidecar.gateway.outside import AmbiguousMethod, may_have_changed, method_meant
from sidecar.gateway.record_line import RecordLines
from sidecar.gateway.visit import Visit
from sidecar.http import problem
from sidecar.http.credentials import Credentials
from sidecar.http.headers import answer_fields, upstream_fields
from sidecar.http.messages import Request, Response
from sidecar.http.problem import RetryAfter
from sidecar.http.schemes import challenge, shows_credentials
from sidecar.settings import Settings
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.known_callers import Standing
from sidecar.standby.standby import Standby
from sidecar.standby.writes.intents import may_come_late
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Decision, Who
from sidecar.upstream.scheduler import Priority, Result

log = logging.getLogger(__name__)
OPERATOR: Final = "takeover"
"""The reason of a decision that is an operator's word. Any other is a preference: what the standby does not know is
still asked of the upstream, for an unlikely answer is better than none."""
OWNED: Final = "promoted"
LARGE: Final = 2
"""Writes whose bodies were spooled and that a worker handles, in memory, at once."""
UNSETTLED: Final = "unsettled"
UNSETTLED_WRITE: Final = "unsettled_write"
"""Why the standby does not know, for as long as a write is under way or unclear."""
SETTLED_LOOK: Final = 0.1
"""Seconds between looks at whether that has settled."""
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
    """Answers requests. One per worker; used by all its request threads."""

    def __init__(
        self, settings: Settings, contract: Contract, asking: Asking, standby: Standby, switchboard: Switchboard,
        via: str, guard: Guard,
    ) -> None:  # fmt: skip
        self._guard = guard
        self._settings = settings
        self._contract = contract
        self._asking = asking
        self._standby = standby
        self._switchboard = switchboard
        self._via = via
        self._lines = RecordLines()
        self._large = threading.BoundedSemaphore(LARGE)

    def answer(self, exchange: Exchange, caller: Credentials | None) -> Response:
        """The answer to a whole request of this caller; fills in the exchange."""
        try:
            method = method_meant(exchange.request)
        except AmbiguousMethod as error:
            exchange.reason = "method_override"
            return problem.problem(400, str(error))
        match = self._contract.match(method, exchange.request.path)
        endpoint = match.endpoint
        if exchange.request.spool is None or endpoint is None or not endpoint.action.writes:
            return self._answer(exchange, match, exchange.request, caller)
        if not self._large.acquire(timeout=self._settings.deadline):
            exchange.reason = "overloaded"
            return problem.problem(
                503, "Too many large writes at once; nothing was sent.", retry_after=RetryAfter.SHORTLY
            )
        try:  # the standby and the policies look into a write, and the outbox may have to keep it
            whole = replace(exchange.request, body=exchange.request.spool.whole(), spool=None)
            return self._answer(exchange, match, whole, caller)
        finally:
            self._large.release()

    def _answer(self, exchange: Exchange, match: Match, request: Request, caller: Credentials | None) -> Response:
        try:
            meant = self._standby.rewritten(match, request)
        except SQLAlchemyError:
            exchange.reason = "database"
            return problem.problem(
                503, "The record could not be looked up; nothing was sent.", retry_after=RetryAfter.MOMENT
            )
        match, until = meant.match, time.monotonic() + self._settings.deadline
        visit = Visit(exchange, match, meant.request, caller, until, unsettled=meant.open)
        exchange.describe(self._contract, match, visit.user)
        refusal = self._guard.refusal(exchange, match, meant.request, caller)
        if refusal is not None:
            return refusal
        endpoint = match.endpoint
        if endpoint is None or not (endpoint.action.writes or endpoint.repeatable):
            return self._pass(visit)
        decision = self._decide(visit, endpoint)
        exchange.circuit = self._switchboard.state(endpoint.id).circuit.state.value
        if not endpoint.action.writes:
            return self._read(visit, decision)
        response = self._change(visit, decision)
        if visit.write is not None and visit.write.change is not None:
            exchange.change, exchange.before = visit.write.change, visit.write.was_record
        return response

    def _decide(self, visit: Visit, endpoint: Endpoint) -> Decision:
        writes = endpoint.action.writes
        owns = self._standby.owns if writes else self._standby.owns_lately
        if endpoint.action is not Action.CALL and owns(endpoint.resource):
            return Decision(Who.NOBODY if writes else Who.STANDBY, OWNED)
        if visit.unsettled and not writes:
            return Decision(Who.STANDBY, UNSETTLED)
        return self._switchboard.decide(endpoint.id, visit.user or visit.request.remote, writes)

    # A read, or a call that depends on its input alone -------------------------------------------------------------

    def _read(self, visit: Visit, decision: Decision) -> Response:
        """The upstream's answer in time; else what the standby truly knows; else the upstream's late one; else 503."""
        asked = decision.who is Who.STANDBY
        if asked:
            alone = decision.reason in (OPERATOR, OWNED, UNSETTLED)
            known = self._known(visit, last=alone)
            if known is not None:
                return known
            if alone:
                return self._unavailable(visit, "taken_over", "The standby serves this endpoint, and does not know.")
        with self._asking.room(visit, probe=decision.who is Who.PROBE) as room:
            if room:
                return self._read_upstream(visit)
        known = self._refusal(visit) if asked else self._known(visit)
        return known or self._unavailable(visit, "overloaded", "More are waiting than can be answered in time.")

    def _read_upstream(self, visit: Visit) -> Response:
        self._asking.earn()
        began = earliest()
        likely = visit.endpoint is not None and self._standby.likely(visit.match)
        inquiry = self._asking.ask(visit, Priority.USER if likely else Priority.ONLY_UPSTREAM)
        result, known = self._await(visit, inquiry, visit.until)
        if result is None and known is None:
            self._asking.late(visit, inquiry)
        if known is None and not _good(result):
            known = self._known(visit, last=result is not None)
        if known is None and result is None:
            result, known = self._await(visit, inquiry, self._longest(visit))
        unsent = inquiry.give_up()
        visit.exchange.attempts = list(inquiry.attempts)
        if known is not None:
            return known
        if result is not None and _good(result) and result.response is not None:
            return self._as_users_see_it(visit, result.response, began)
        refusal = self._refusal(visit)
        if refusal is not None:
            return refusal
        if result is None and unsent:
            return self._unavailable(visit, "overloaded", "The upstream is busy; nothing was sent.")
        if result is None:
            return self._unavailable(visit, "deadline", "The upstream did not answer in time.", RetryAfter.SHORTLY)
        return self._unavailable(visit, _why(result), "The upstream failed, and the standby does not know the answer.")

    def _await(self, visit: Visit, inquiry: Inquiry, until: float) -> tuple[Result | None, Response | None]:
        """The upstream's result by `until`; or the standby's answer, where a write under way was all that it waited
        for, and that has settled: at its own deadline, if nothing comes back for it either."""
        silent = partial(self._asking.is_silent, visit)
        while visit.exchange.reason == UNSETTLED_WRITE and (look := time.monotonic() + SETTLED_LOOK) < until:
            result = inquiry.wait(until, None, look)
            if result is not None:
                return result, None
            known = self._known(visit, last=False)
            settled = visit.until + self._settings.deadline + TURN_AFTER
            if known is not None or (time.monotonic() >= settled and silent()):
                return None, known
        return inquiry.wait(until, silent), None

    def _as_users_see_it(self, visit: Visit, response: Response, began: int) -> Response:
        """The upstream's answer, with writes laid over it that users know of and the upstream does not, yet."""
        try:
            seen = self._standby.overlay(visit.match, visit.request, response, visit.user, began)
        except SQLAlchemyError:
            self._standby.database_failed("pending writes could not be read")
            return self._unavailable(visit, "database", "Writes that are not settled could not be looked up.")
        if isinstance(seen, DontKnow):
            known = self._known(visit)
            return known or self._unavailable(visit, seen.reason, "Writes that are not settled cannot be shown here.")
        visit.exchange.as_given = seen is None
        return self._from_upstream(visit, seen or response)

    def _known(self, visit: Visit, *, last: bool = True) -> Response | None:
        """The standby's answer for a caller that the upstream has accepted, or None when it does not know.

        While the upstream may yet say who the caller is (not `last`), nobody is refused for what we do not know.
        """
        endpoint, exchange = visit.endpoint, visit.exchange
        if endpoint is None:
            return None
        if not endpoint.public:
            refusal = self._verify(visit)
            if refusal is not None:
                return refusal if last else None
        answer = self._standby.answer(visit.match, visit.request, visit.user)
        if not isinstance(answer, Answer):
            exchange.reason, visit.missing = answer.reason, answer.detail
            return None
        exchange.answered_by = AnsweredBy.STANDBY
        age = max(0, int(answer.age_seconds))
        detail = "; detail=unverified" if answer.unverified else "; detail=unproven" if answer.unproven else ""
        fields = [*answer.headers, ("Age", str(age)), ("Cache-Status", f"understudy; hit; ttl=-{age}{detail}")]
        return Response(answer.status, fields, answer.body)

    def _refusal(self, visit: Visit) -> Response | None:
        """After all has failed: the refusal of a caller whom we know not to be who they say."""
        if visit.endpoint is None or visit.endpoint.public:
            return None
        return self._verify(visit)

    def _verify(self, visit: Visit) -> Response | None:
        """None for a caller whom the upstream has accepted before; else the refusal."""
        exchange = visit.exchange
        if visit.caller is None:
            return self._unverified(visit)
        standing = self._standby.check(visit.caller.user, visit.caller.password)
        if standing is Standing.KNOWN:
            exchange.identity = Identity.VERIFIED
            return None
        if standing in (Standing.WRONG, Standing.REVOKED):
            exchange.reason = "wrong_credentials" if standing is Standing.WRONG else "revoked"
            return problem.unauthorized(f'Basic realm="{self._contract.name}"', "These credentials are not valid.")
        exchange.reason = "cannot_verify"
        return problem.problem(
            503, "The upstream cannot be asked whether these credentials are valid.", retry_after=RetryAfter.SHORTLY
        )

    def _unverified(self, visit: Visit) -> Response:
        """The refusal of a caller without Basic credentials. A token that only the upstream can read is never called
        wrong: its owner would throw it away."""
        schemes, exchange = self._contract.schemes, visit.exchange
        asked = challenge(schemes, self._contract.name)
        if asked is None or shows_credentials(schemes, visit.request):
            exchange.reason = "cannot_verify"
            return problem.problem(503, "The upstream cannot be asked who you are.", retry_after=RetryAfter.SHORTLY)
        exchange.reason = "no_credentials"
        return problem.unauthorized(asked, "Credentials are needed.")

    # A write, and what is outside the contract ---------------------------------------------------------------------

    def _change(self, visit: Visit, decision: Decision) -> Response:
        """Sends a write once, after its intent is on disk; the outbox takes what cannot be sent now."""
        copied = key_of(visit.request.headers)
        if copied is not None:
            self._keep(lambda: self._standby.withdrawn(copied))
        if decision.who is Who.NOBODY:
            return self._take(visit, decision.reason)
        with ExitStack() as line:
            self._line_up(visit, line)
            while True:
                with self._asking.room(visit, probe=decision.who is Who.PROBE) as room:
                    if not room:
                        break
                    if self._begin(visit, wait=self._may_wait(visit)):
                        line.close()  # the next may look whether it can begin
                        return self._send(visit)
                self._await_turn(visit)
        return self._take(visit, "overloaded")

    def _longest(self, visit: Visit) -> float:
        """How long is waited for what only the upstream can answer."""
        return visit.until - self._settings.deadline + self._settings.upstream_timeout

    def _line_up(self, visit: Visit, line: ExitStack) -> None:
        """Behind those of this process who want to write to the same record."""
        if visit.match.record_id is not None:
            with self._asking.aside():
                key = visit.endpoint_resource, visit.match.record_id
                line.enter_context(self._lines.first(key, self._longest(visit)))

    def _may_wait(self, visit: Visit) -> bool:
        """Whether a write waits for the one before it, if there is one: until its deadline, and a moment more, for that
        one is answered at its own; beyond it if the outbox would not take this one. To be refused is worse."""
        now = time.monotonic()
        if visit.match.record_id is None or now >= self._longest(visit):
            return False
        if now < visit.until + TURN_AFTER or visit.caller is None:
            return True
        known = self._standby.check(visit.caller.user, visit.caller.password) is Standing.KNOWN
        return not known or not self._standby.would_take(visit.match, visit.request, visit.caller.user)

    def _await_turn(self, visit: Visit) -> None:
        """Until no other write to the record is under way; for TURN_AFTER, or until it may no longer wait."""
        until = min(self._longest(visit), max(visit.until, time.monotonic()) + TURN_AFTER)
        with self._asking.aside():
            while time.monotonic() < until and self._standby.is_under_way(visit.match):
                time.sleep(TURN_LOOK)

    def _begin(self, visit: Visit, *, wait: bool) -> bool:
        """Writes the intent down, if that can be. False: another write to the record is under way, and this may wait
        for its end; sent past it, nobody could say which of the two was the last."""
        waits = False

        def begin() -> None:
            nonlocal waits
            visit.write = self._standby.begin_write(visit.match, visit.request, visit.user, wait=wait)
            waits = visit.write is None

        self._keep(begin)
        return not waits

    def _send(self, visit: Visit) -> Response:
        """Of a write that was begun, or could not be written down."""
        if visit.write is not None and visit.write.queued:
            return self._take(visit, "queued")
        if visit.write is None and (visit.unsettled or self._standby.is_waiting(visit.endpoint_resource)):
            return self._unavailable(visit, "database", "The write could not be kept, and was not sent.")
        return self._once(visit)

    def _keep(self, write_down: Callable[[], None]) -> None:
        """Where what a write may change cannot be written down, all that is known is unverified."""
        try:
            write_down()
        except SQLAlchemyError:
            self._standby.database_failed("the intent of a write could not be kept")
            self._standby.mark_gap("an intent could not be kept")
        except Exception:
            log.exception(
                "the intent of a write could not be kept", extra={"fields": {"event.action": "intent_failed"}}
            )
            self._standby.mark_gap("an intent could not be kept")

    def _take(self, visit: Visit, reason: str) -> Response:
        """A write that must not be sent now: the outbox takes it, or it is refused and nothing has happened."""
        visit.exchange.reason = reason
        refusal = self._verify(visit)
        if refusal is None and visit.write is None:
            refusal = self._foreseen(visit, reason)
            visit.write = self._standby.plan(visit.match, visit.request)
        accepted = None if refusal is not None else self._accept(visit, sent=False)
        if accepted is None:
            self._asking.never_sent(visit)
        return accepted or refusal or self._not_taken(visit, reason)

    def _foreseen(self, visit: Visit, reason: str) -> Response | None:
        """The answer to a write that the outbox would not take: it need not even begin. None: it would."""
        seen = self._standby.refusal(visit.match, visit.request, visit.user or "")
        if seen is None:
            return None
        if isinstance(seen, Answer):
            return self._taken(visit, seen)
        visit.not_kept = seen.reason
        return self._not_taken(visit, reason)

    def _not_taken(self, visit: Visit, reason: str) -> Response:
        return self._unavailable(visit, reason, "Nothing was sent." + _for_want_of(visit))

    def _accept(self, visit: Visit, *, sent: bool, answered: bool = False, under_way: bool = False) -> Response | None:
        """The standby's answer to a write that the outbox takes, or None. The caller has been verified."""
        exchange = visit.exchange
        if visit.write is None or visit.caller is None:
            return None
        fields = upstream_fields(visit.request, exchange.request_id, exchange.traceparent, self._via)
        answer = self._standby.accept(
            visit.write, visit.request, exchange.request_id, fields, visit.caller.user, visit.caller.password,
            sent=sent, answered=answered, under_way=under_way,
        )  # fmt: skip
        if isinstance(answer, DontKnow):
            visit.not_kept = answer.reason
        return self._taken(visit, answer) if isinstance(answer, Answer) else None

    def _taken(self, visit: Visit, answer: Answer) -> Response:
        """What the standby says to a write: the upstream's refusal, or that it is done."""
        visit.exchange.answered_by = AnsweredBy.STANDBY
        detail = "hit; ttl=0; detail=outbox" if answer.status < 400 else "hit; ttl=0"
        return Response(answer.status, [*answer.headers, ("Cache-Status", f"understudy; {detail}")], answer.body)

    def _is_known(self, visit: Visit) -> bool:
        """Whether the upstream has accepted these credentials before, so that a write of theirs can be taken."""
        if visit.write is None or visit.caller is None:
            return False
        return self._standby.check(visit.caller.user, visit.caller.password) is Standing.KNOWN

    def _pass(self, visit: Visit) -> Response:
        """What the contract does not know goes through as it is; it may have changed anything."""
        with self._asking.room(visit) as room:
            if not room:
                detail = "More are waiting than can be answered in time; nothing was sent."
                return self._unavailable(visit, "overloaded", detail)
            answer = self._once(visit)
        attempts = visit.exchange.attempts
        if may_have_changed(visit.request.method, attempts, answer):
            outside = visit.endpoint is None
            self._standby.mark_gap("a write outside the contract" if outside else "a call that may change anything")
        return answer

    def _once(self, visit: Visit) -> Response:
        """Asks the upstream a single time; at the deadline the outbox takes a write, all else waits on."""
        exchange = visit.exchange
        self._asking.earn()
        inquiry = self._asking.ask(visit, Priority.ONLY_UPSTREAM, repeatable=False)
        longest = visit.until - self._settings.deadline + self._settings.upstream_timeout
        silent = partial(self._asking.is_silent, visit)
        result = inquiry.wait(longest if visit.write is None else visit.until, silent)
        if result is None and self._is_known(visit):
            unsent = inquiry.give_up()
            accepted = self._accept(visit, sent=not unsent, under_way=not unsent)
            if accepted is not None:
                self._asking.late(visit, inquiry)
                exchange.reason = "deadline"
                exchange.attempts = list(inquiry.attempts)
                return accepted
            if unsent:
                inquiry = self._asking.ask(visit, Priority.ONLY_UPSTREAM, repeatable=False)
        if result is None and visit.write is not None:
            result = inquiry.wait(longest, silent)
        if result is None:
            self._asking.late(visit, inquiry)
            unsent = inquiry.give_up()
            exchange.attempts = list(inquiry.attempts)
            if unsent:
                self._asking.never_sent(visit)
                return self._unavailable(visit, "overloaded", "The upstream is busy; nothing was sent.")
            return self._gateway_timeout(visit)
        exchange.attempts = list(inquiry.attempts)
        if not _good(result) and self._is_known(visit):
            sent = result.attempt.outcome is not Outcome.FAILURE
            accepted = self._accept(visit, sent=sent, answered=not may_come_late(result.response))
            if accepted is not None:
                exchange.reason = _why(result)
                return accepted
        if result.response is not None and (result.attempt.error in (None, "status")):
            return self._from_upstream(visit, result.response)
        if result.attempt.outcome is Outcome.FAILURE:
            refusal = self._verify(visit) if visit.write is not None else None
            detail = "The upstream cannot be reached; nothing was sent."
            return refusal or self._unavailable(visit, _why(result), detail + _for_want_of(visit))
        if result.attempt.error == "timeout":
            return self._gateway_timeout(visit)
        exchange.reason = _why(result)
        return problem.problem(502, "The upstream gave no whole answer; the request may have taken effect.")

    def _gateway_timeout(self, visit: Visit) -> Response:
        visit.exchange.reason = "timeout"
        return problem.problem(504, "The upstream did not answer; the request may have taken effect.")

    # Answers ------------------------------------------------------------------------------------------------------

    def _from_upstream(self, visit: Visit, response: Response) -> Response:
        visit.exchange.answered_by = AnsweredBy.UPSTREAM
        fields = answer_fields(response.headers)
        length = response.header("content-length")
        if visit.request.method == "HEAD" and length is not None:
            fields.append(("Content-Length", length))
        word = "bypass" if visit.endpoint is None else "method" if visit.endpoint.method != "GET" else "miss"
        fields.append(("Cache-Status", f"understudy; fwd={word}; fwd-status={response.status}"))
        return Response(response.status, fields, response.body)

    def _unavailable(
        self, visit: Visit, reason: str, detail: str, after: RetryAfter = RetryAfter.MOMENT
    ) -> Response:  # fmt: skip
        visit.exchange.reason = reason if visit.exchange.reason is None else visit.exchange.reason
        missing = {"missing": visit.missing} if visit.missing else {}
        return problem.problem(503, detail, retry_after=visit.again or after, reason=visit.exchange.reason, **missing)


def _for_want_of(visit: Visit) -> str:
    """Why the outbox did not take the write."""
    why = NOT_KEPT.get(visit.not_kept or "", visit.not_kept)
    return f" The write was not taken: {why}." if why else " The write was not taken."


def _good(result: Result | None) -> bool:
    return result is not None and result.attempt.outcome is Outcome.SUCCESS


def _why(result: Result) -> str:
    status: Any = result.attempt.status
    return f"upstream_{status}" if result.attempt.error == "status" else f"upstream_{result.attempt.error}"
