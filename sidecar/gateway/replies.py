"""What is answered, and how it says who said so (Cache-Status, RFC 9211) and why not."""

from __future__ import annotations

from typing import Final

from sidecar.exchange import AnsweredBy, Outcome
from sidecar.gateway.context import Context
from sidecar.http.headers import answer_fields
from sidecar.http.messages import Response
from sidecar.http.problem import RetryAfter, problem
from sidecar.standby.answer import Answer
from sidecar.upstream.scheduler import Result

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
    "database": "the database cannot be written",
    "seal_key": "the key that it would be sealed with cannot be read",
}
"""Why a write cannot be kept, for people."""


def from_upstream(context: Context, response: Response) -> Response:
    """The upstream's own answer, with the fields that are for the next server taken out."""
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


def known(context: Context, answer: Answer) -> Response:
    """What the standby says to a read."""
    context.exchange.answered_by = AnsweredBy.STANDBY
    age = max(0, int(answer.age_seconds))
    detail = "; detail=unverified" if answer.unverified else "; detail=unproven" if answer.unproven else ""
    fields = [*answer.headers, ("Age", str(age)), ("Cache-Status", f"understudy; hit; ttl=-{age}{detail}")]
    return Response(answer.status, fields, answer.body)


def taken(context: Context, answer: Answer) -> Response:
    """What the standby says to a write: the upstream's refusal, or that it is done."""
    context.exchange.answered_by = AnsweredBy.STANDBY
    detail = "hit; ttl=0; detail=outbox" if answer.status < 400 else "hit; ttl=0"
    return Response(answer.status, [*answer.headers, ("Cache-Status", f"understudy; {detail}")], answer.body)


def unavailable(context: Context, reason: str, detail: str, after: RetryAfter = RetryAfter.MOMENT) -> Response:
    """The honest 503. `reason`: of the exchange, where no earlier step has found a better one."""
    context.exchange.reason = reason if context.exchange.reason is None else context.exchange.reason
    missing = {"missing": context.missing} if context.missing else {}
    return problem(503, detail, retry_after=context.again or after, reason=context.exchange.reason, **missing)


def not_taken(context: Context, reason: str) -> Response:
    """A write that was not sent, and that the outbox does not take either."""
    return unavailable(context, reason, "Nothing was sent." + for_want_of(context))


def for_want_of(context: Context) -> str:
    """Why the outbox did not take the write; a sentence that follows another."""
    why = NOT_KEPT.get(context.not_kept or "", context.not_kept)
    return f" The write was not taken: {why}." if why else " The write was not taken."


def too_late(context: Context) -> Response:
    """For what was sent, and of which nobody can say what came of it."""
    context.exchange.reason = "timeout"
    return problem(504, "The upstream did not answer; the request may have taken effect.")


def left(context: Context) -> Response:
    """For a client who is gone: nobody hears it."""
    context.exchange.reason = "client_aborted"
    return problem(503, "The client has left, and nothing was sent.")


def is_good(result: Result | None) -> bool:
    """Whether the upstream has answered as it should."""
    return result is not None and result.attempt.outcome is Outcome.SUCCESS


def why(result: Result) -> str:
    """An exchange's reason, of what came of its call."""
    if result.attempt.error == "status":
        return f"upstream_{result.attempt.status}"
    return f"upstream_{result.attempt.error}"
