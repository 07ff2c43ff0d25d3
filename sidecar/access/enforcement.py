"""Holds every request against the policies before anything is sent, and notes what callers did afterwards.

A policy that cannot be evaluated (its database fails, it breaks) stops nobody: that is logged, and the request goes on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from sidecar.access.activity import FAILED, READ, Habits
from sidecar.access.break_glass import BreakGlass
from sidecar.access.identities import People
from sidecar.access.policies import Policy
from sidecar.access.policy_store import Rulebook
from sidecar.access.rules import Asked, Finding, findings
from sidecar.contract import Contract, Match
from sidecar.exchange import AnsweredBy, Exchange, Identity
from sidecar.http import problem
from sidecar.http.content import media_type
from sidecar.http.credentials import Credentials
from sidecar.http.messages import Request, Response
from sidecar.http.problem import RetryAfter
from sidecar.http.schemes import challenge_of
from sidecar.standby.known_callers import Standing
from sidecar.standby.standby import Standby
from sidecar.takeover.circuit import State
from sidecar.takeover.coordinator import Switchboard

log = logging.getLogger(__name__)
READING: Final = ("list", "read", "call")


class Guard:
    """One per worker."""

    def __init__(
        self, contract: Contract, rulebook: Rulebook, people: People, habits: Habits, standby: Standby,
        switchboard: Switchboard, break_glass: BreakGlass,
    ) -> None:  # fmt: skip
        self._contract = contract
        self._rulebook = rulebook
        self._people = people
        self._habits = habits
        self._standby = standby
        self._switchboard = switchboard
        self._break_glass = break_glass

    def refusal(
        self, exchange: Exchange, match: Match, request: Request, caller: Credentials | None
    ) -> Response | None:
        """The refusal of a request that an enforced policy denies; writes verdict and findings into the exchange."""
        asked = Asked(
            match, request.method, request.query, caller.user if caller else None,
            media_type(request.header("content-type")), request.size, request.body,
        )  # fmt: skip
        found = self._found(asked, _Live(self, caller))
        exchange.break_glass = self._break_glass.under(asked.user)
        verdict = self._rulebook.verdict(asked.user, found, lifted=exchange.break_glass is not None)
        exchange.verdict, exchange.findings = verdict.word, list(verdict.names)
        if verdict.decider is None:
            return None
        exchange.reason = "revoked" if verdict.decider.fixed else "policy"
        return self._refuse(verdict.decider, match)

    def _found(self, asked: Asked, known: _Live) -> list[Finding]:
        """What the policies have against the request; where one breaks, what the others have."""
        try:
            return findings(self._contract, self._rulebook.active, asked, known)
        except Exception:
            found: list[Finding] = []
        for policy in self._rulebook.active:
            try:
                found += findings(self._contract, [policy], asked, known)
            except Exception:
                fields = {"event.action": "policy_broke", "understudy.policy": policy.name}
                log.exception("a policy could not be evaluated, and stops nobody", extra={"fields": fields})
        return found

    def _refuse(self, policy: Policy, match: Match) -> Response:
        if policy.status == 401:
            return problem.unauthorized(challenge_of("Basic", self._contract.name), policy.says)
        waits = policy.status in (429, 503)
        answer = problem.problem(
            policy.status, policy.says, retry_after=RetryAfter.LATER if waits else None, policy=policy.name
        )
        if policy.status == 405 and match.allowed:
            answer.headers.append(("Allow", ", ".join(match.allowed)))
        return answer

    def observe(self, exchange: Exchange) -> None:
        """After the answer: a failed sign-in, or a subject that was read."""
        response, user = exchange.response, exchange.user
        if response is None or user is None:
            return
        if response.status == 401 and exchange.answered_by is AnsweredBy.UPSTREAM:
            self._habits.note(FAILED, user, exchange.id, exchange.started)
        elif response.status < 300 and exchange.identity is Identity.VERIFIED and exchange.patient_id is not None:
            self._read(exchange, user, exchange.patient_id)

    def _read(self, exchange: Exchange, user: str, subject: str) -> None:
        if exchange.action in READING:
            self._habits.note(READ, user, subject, exchange.started)

    def refresh(self, look: bool = True) -> None:
        """Called every quarter of a second. Raises SQLAlchemyError. `look`: whether what others know may have
        changed since the last call."""
        if look:
            self._rulebook.refresh()
            self._break_glass.refresh()
        self._habits.refresh(look)


@dataclass(frozen=True)
class _Live:
    """What is known now, for the one request that is judged."""

    guard: Guard
    caller: Credentials | None

    def own(self, user: str) -> frozenset[str] | None:
        return self.guard._people.own(user)

    def value(self, resource: str, record: str, field: str) -> str | None:
        return self.guard._people.value(resource, record, field)

    def revoked(self, user: str) -> bool:
        return self.guard._standby.is_revoked(user)

    def accepted(self, user: str) -> bool | None:
        if self.caller is None:
            return None
        return self.guard._standby.check(user, self.caller.password) is Standing.KNOWN

    def down(self, endpoint: str) -> bool:
        return self.guard._switchboard.state(endpoint).circuit.state is State.OPEN

    def failures(self, user: str, minutes: int) -> int:
        return self.guard._habits.failures(user, minutes)

    def reading(self, user: str) -> int:
        return self.guard._habits.reading(user)

    def habit(self, user: str, days: int) -> int | None:
        return self.guard._habits.habit(user, days)
