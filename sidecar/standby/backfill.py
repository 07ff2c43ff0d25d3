"""Backfill: asks the upstream, gently, for what the standby has not seen, and learns from the answers as from a user's.

It lists every resource, reads what is in doubt, and asks what tells rivals apart (seeking.py). It waits between
requests, gives way to users (its calls have the least priority), and what failed PATIENCE times is left for the next
round.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from sidecar.contract import Action, Contract, Endpoint
from sidecar.http.messages import Request, Response
from sidecar.standby.standby import Standby

Ask = Callable[[str, str], "tuple[Response, int] | None"]
Progress = Callable[[str | None, int, int], None]
PATIENCE: Final = 3
"""Times that a request is tried in one round."""


class Backfill:
    """Rounds over everything, or over what is in doubt."""

    def __init__(self, contract: Contract, ask: Ask, user: str, standby: Standby, rate: float) -> None:
        self._contract = contract
        self._ask = ask
        self._user = user
        self._standby = standby
        self._pause = 1 / rate if rate > 0 else 1.0

    def run(self, stop: threading.Event, tell: Progress, only: Collection[str] | None = None) -> bool:
        """True when all that was asked was answered. `tell` gets (resource, requests done, requests in all).

        `only`: these resources, because something of them is in doubt; None: everything.
        """
        work, whole = self._work(only), True
        for done, (endpoint, target) in enumerate(work):
            tell(endpoint.resource or endpoint.id, done, len(work))
            answered = any(not stop.wait(self._pause) and self._once(target) for _ in range(PATIENCE))
            whole = whole and answered
            if stop.is_set():
                return False
        tell(None, len(work), len(work))
        return whole

    def prove(self, stop: threading.Event, targets: Sequence[str]) -> None:
        """Asks what would tell rivals apart, each once."""
        for target in targets:
            if stop.wait(self._pause):
                return
            self._once(target)

    def _work(self, only: Collection[str] | None) -> list[tuple[Endpoint, str]]:
        work = []
        for endpoint in self._contract.endpoints.values():
            if only is None and endpoint.safe and endpoint.public and "{" not in endpoint.template:
                work.append((endpoint, endpoint.template))
        for name in self._contract.resources if only is None else only:
            listing = self._contract.endpoint_for(name, Action.LIST)
            if listing is not None and "{" not in listing.template:
                work.append((listing, listing.template))
        return work

    def _once(self, target: str) -> bool:
        answered = self._ask("GET", target)
        if answered is None:
            return False
        response, began = answered
        match = self._contract.match("GET", target.partition("?")[0])
        request = Request("GET", target, [("Accept", "application/json")])
        if response.status == 401:
            return False
        user = None if match.endpoint is None or match.endpoint.public else self._user
        self._standby.learn(match, request, response, user, began)
        return True
