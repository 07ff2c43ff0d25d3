"""Recorded exchanges for tests of what is counted: an event of each kind, and an independent count of any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alerts.objectives.openslo import Promise
from tests.contracts.event_store import event, name

SCREEN = "POST /patients/{id}/screen"


def exchange(number: int, at: int, *, client: str = "user", purpose: str = "user", left: bool = False,
             upstream: tuple[str, ...] = ("success",), **given: Any) -> dict[str, Any]:  # fmt: skip
    """An event as the sidecar records it; `upstream`: the outcome of each attempt."""
    document = event(number, at, **({"outcome": "unknown", "status": 499} if left else {}), **given)
    given_by = next((o for o in ("success", "unknown", "failure") if o in upstream), "not_asked")
    document["understudy"] |= {
        "client": client, "purpose": purpose, "upstream_outcome": given_by,
        "attempts": [{"outcome": outcome} for outcome in upstream],
        "outcome": "client_aborted" if left else document["event"]["outcome"],
    }  # fmt: skip
    return document


def independent(events: Iterable[dict[str, Any]], promise: Promise) -> dict[str, Any]:
    """The figures by a plain reading of each event, attempts included: shares no code with what it is held against."""
    of = promise.objective
    good = total = not_asked = test = outside = 0
    for each in events:
        ours = each["understudy"]
        if ours["purpose"] != "user" or of.endpoint not in (None, ours["endpoint"]):
            continue
        if ours["client"] == "test":
            test += 1
            continue
        if ours["endpoint"] == "other":
            outside += 1
            continue
        quick = promise.within is None or each["event"]["duration"] <= promise.within
        if of.view == "users":
            if ours["outcome"] == "client_aborted":
                continue
            total += 1
            well = each["event"]["outcome"] == "success"
            open_ = of.slo == "front-door" and ours["answered_by"] != "understudy"
            good += quick and (well or open_)
        elif not ours["attempts"]:
            not_asked += 1
        else:
            total += 1
            good += quick and any(attempt["outcome"] == "success" for attempt in ours["attempts"])
    return {
        "view": of.view, "endpoint": of.endpoint, "good": good, "total": total, "not_asked": not_asked,
        "excluded": {"test": test, "outside_contract": outside},
    }  # fmt: skip


def mixture(start: int, seconds: int) -> list[dict[str, Any]]:
    """One of every kind, again and again, one a second."""
    kinds: list[dict[str, Any]] = [
        {},
        {"outcome": "failure", "status": 500, "upstream": ("failure", "failure")},
        {"answered_by": "standby", "upstream": ()},
        {"answered_by": "standby", "upstream": ("unknown",)},
        {"upstream": ("failure", "success"), "duration": 3_500_000_000},
        {"duration": 3_000_000_000, "endpoint": SCREEN},
        {"duration": 3_000_000_001, "endpoint": SCREEN},
        {"outcome": "failure", "status": 503, "answered_by": "understudy", "upstream": (), "endpoint": SCREEN},
        {"outcome": "unknown", "status": 504, "answered_by": "understudy", "upstream": ("unknown",)},
        {"left": True, "answered_by": "upstream"},
        {"left": True, "answered_by": "understudy", "upstream": ("unknown",), "duration": 9_000_000_000},
        {"client": "test", "outcome": "failure", "status": 500, "upstream": ("failure",)},
        {"purpose": "backfill"},
        {"endpoint": "other", "outcome": "failure", "status": 500, "upstream": ("failure",)},
        {"endpoint": "other", "client": "test"},
        {"status": 499},
    ]
    return [exchange(n, start + n * 10**9, **kinds[n % len(kinds)]) for n in range(seconds)]


__all__ = ["SCREEN", "exchange", "independent", "mixture", "name"]
