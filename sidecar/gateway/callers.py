"""Who is asking, where the upstream cannot be asked: known only if it has accepted them before."""

from __future__ import annotations

from sidecar.contract import Contract
from sidecar.exchange import Identity
from sidecar.gateway.context import Context
from sidecar.http.messages import Response
from sidecar.http.problem import RetryAfter, problem, unauthorized
from sidecar.http.schemes import challenge, challenge_of, shows_credentials
from sidecar.standby.known_callers import Standing
from sidecar.standby.standby import Standby
from sidecar.storage.off_loop import OffLoop


class Callers:
    """One per worker; on its loop."""

    def __init__(self, contract: Contract, standby: Standby, doubts: OffLoop) -> None:
        """`doubts`: threads for those of whom it is not known from memory who they are. To find out may take a while,
        and whoever guesses passwords holds up nobody else."""
        self._contract = contract
        self._standby = standby
        self._doubts = doubts

    async def is_known(self, context: Context) -> bool:
        """Whether the upstream has accepted these credentials before, so that a write of theirs can be taken."""
        return context.caller is not None and await self._standing(context) is Standing.KNOWN

    async def refusal(self, context: Context) -> Response | None:
        """None for a caller whom the upstream has accepted before; else the refusal. Where the upstream asks nobody who
        they are, nobody is told that they may not."""
        refusal = await self._who(context)
        if refusal is None or context.endpoint is None or not context.endpoint.public:
            return refusal
        context.exchange.reason = "cannot_verify"
        return problem(
            503,
            "Nothing was sent. A write is kept only for someone whom the upstream has accepted before; here it asks "
            "nobody who they are.",
            retry_after=RetryAfter.SHORTLY,
        )

    async def _standing(self, context: Context) -> Standing:
        assert context.caller is not None
        return await self._doubts.quick(self._standby.check, context.caller.user, context.caller.password)

    async def _who(self, context: Context) -> Response | None:
        """None for a caller whom the upstream has accepted before; else what anybody is told who has to be."""
        exchange = context.exchange
        if context.caller is None:
            return self._unverified(context)
        standing = await self._standing(context)
        if standing is Standing.KNOWN:
            exchange.identity = Identity.VERIFIED
            return None
        if standing in (Standing.WRONG, Standing.REVOKED):
            exchange.reason = "wrong_credentials" if standing is Standing.WRONG else "revoked"
            return unauthorized(challenge_of("Basic", self._contract.name), "These credentials are not valid.")
        exchange.reason = "cannot_verify"
        return problem(
            503, "The upstream cannot be asked whether these credentials are valid.", retry_after=RetryAfter.SHORTLY
        )

    def _unverified(self, context: Context) -> Response:
        """The refusal of a caller without Basic credentials. A token that only the upstream can read is never called
        wrong: its owner would throw it away."""
        schemes, exchange = self._contract.schemes, context.exchange
        asked = challenge(schemes, self._contract.name)
        if asked is None or shows_credentials(schemes, context.request):
            exchange.reason = "cannot_verify"
            return problem(503, "The upstream cannot be asked who you are.", retry_after=RetryAfter.SHORTLY)
        exchange.reason = "no_credentials"
        return unauthorized(asked, "Credentials are needed.")
