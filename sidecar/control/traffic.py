"""The control plane's part for canaries: what users of one endpoint got lately, counted by the event store.

Only people's own requests count; one whose client left is neither good nor bad. While the event store is further behind
than the time that is asked about, or cannot be asked, the figures are null: unknown, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, request

from sidecar.control.requests import Problem
from sidecar.control.services import ControlServices
from sidecar.events.store import EventStore, Filter, StoreUnavailable
from sidecar.settings import duration
from sidecar.timeunits import SECOND


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("traffic", __name__)

    @views.get("/endpoints/<endpoint>/served")
    def served(endpoint: str) -> Any:
        """?since=10m: {"good", "bad"}, null where that is not known."""
        declared = services.contract.endpoints[services.endpoint(endpoint)]
        given = request.args.get("since", "10m")
        try:
            seconds = duration(given)
        except ValueError as error:
            raise Problem(400, f"since: expected {error}; found {given!r}", "since") from None
        behind = services.events_behind()
        counts = None if behind is None or behind > seconds else _outcomes(services, declared.name, seconds)
        if counts is None:
            return {"good": None, "bad": None}
        return {"good": counts.get("success", 0), "bad": counts.get("failure", 0) + counts.get("unknown", 0)}

    return views


def _outcomes(services: ControlServices, name: str, seconds: float) -> Mapping[str, int] | None:
    """Requests by outcome, or None."""
    now = time.time_ns()
    people = {"understudy.purpose": ["user"], "understudy.client": ["user"], "understudy.endpoint": [name]}
    left = {"event.outcome": ["unknown"], "http.response.status_code": ["499"]}
    store = services.open_store()
    try:
        counts = _count(store, people, now, seconds)
        for outcome, count in _count(store, {**people, **left}, now, seconds).items():
            counts[outcome] -= count
        return counts
    except StoreUnavailable:
        return None
    finally:
        store.close()


def _count(store: EventStore, terms: Mapping[str, list[str]], now: int, seconds: float) -> dict[str, int]:
    where = Filter(since=now - int(seconds * SECOND), until=now, terms=terms)
    return {bucket.group[0]: bucket.count for bucket in store.count(where, by=("event.outcome",))}
