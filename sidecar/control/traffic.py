"""The control plane's part for canaries: what users of one endpoint got lately, counted by the event store.

Only people's own requests count; one whose client left is neither good nor bad. While the event store is further behind
than the time that is asked about, or cannot be asked, the figures are null: unknown, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from flask import request

from sidecar.contract import Contract
from sidecar.control.app import Problem
from sidecar.events.store import EventStore, Filter, StoreUnavailable
from sidecar.settings import duration

Route = tuple[str, str, Callable[..., Any]]


class ServedPlane:
    """Its route, for `create_control`."""

    def __init__(
        self, contract: Contract, open_store: Callable[[], EventStore], behind: Callable[[], float | None]
    ) -> None:
        """`behind`: the age in seconds of the oldest exchange that the event store does not have; None: unknown."""
        self._contract = contract
        self._open_store = open_store
        self._behind = behind

    def routes(self) -> list[Route]:
        return [("/endpoints/<endpoint>/served", "GET", self.served)]

    def served(self, endpoint: str) -> Any:
        """?since=10m: {"good", "bad"}, null where that is not known."""
        declared = self._contract.endpoints.get(endpoint)
        if declared is None:
            raise Problem(404, f"{self._contract.name} has no endpoint {endpoint!r}")
        given = request.args.get("since", "10m")
        try:
            seconds = duration(given)
        except ValueError as error:
            raise Problem(400, f"since: expected {error}; found {given!r}", "since") from None
        behind = self._behind()
        counts = None if behind is None or behind > seconds else self._counts(declared.name, seconds)
        if counts is None:
            return {"good": None, "bad": None}
        return {"good": counts.get("success", 0), "bad": counts.get("failure", 0) + counts.get("unknown", 0)}

    def _counts(self, name: str, seconds: float) -> Mapping[str, int] | None:
        """Requests by outcome, or None."""
        now = time.time_ns()
        people = {"understudy.purpose": ["user"], "understudy.client": ["user"], "understudy.endpoint": [name]}
        left = {"event.outcome": ["unknown"], "http.response.status_code": ["499"]}
        store = self._open_store()
        try:
            counts = self._count(store, people, now, seconds)
            for outcome, count in self._count(store, {**people, **left}, now, seconds).items():
                counts[outcome] -= count
            return counts
        except StoreUnavailable:
            return None
        finally:
            store.close()

    def _count(self, store: EventStore, terms: Mapping[str, list[str]], now: int, seconds: float) -> dict[str, int]:
        where = Filter(since=now - int(seconds * 1e9), until=now, terms=terms)
        return {bucket.group[0]: bucket.count for bucket in store.count(where, by=("event.outcome",))}
