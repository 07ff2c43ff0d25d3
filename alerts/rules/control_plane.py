"""What is asked for alerts beyond the counts of requests: the control planes, and failed sign-ins in the event store.

None is unknown: it could not be asked, or answered nonsense, which ends nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerts.rules.conditions import Seen
from alerts.rules.sidecars import Sidecars
from sidecar.events.store import EventStore, Filter, StoreUnavailable
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Readings:
    """One look around."""

    endpoints: Sequence[Row] | None
    seen: Seen


def look(
    sidecars: Sidecars, store: EventStore, now: int, metrics: Collection[str], spans: Collection[int],
    bounds: Collection[float] = (),
) -> Readings:  # fmt: skip
    """`now` in Unix seconds; `metrics` by name, with these `bounds` (s) of histograms; `spans`: over how many seconds
    failed sign-ins are counted."""
    try:
        endpoints, measured = sidecars.look(metrics, bounds)
        endpoints = [row for row in endpoints if {"name", "ready"} <= row.keys()] if endpoints is not None else None
    except Exception:
        log.exception("the sidecars cannot be asked", extra={"fields": {"event.action": "evaluation_failed"}})
        endpoints = measured = None
    return Readings(endpoints, Seen(measured, failed_sign_ins(store, now, spans)))


def failed_sign_ins(store: EventStore, now: int, spans: Collection[int]) -> dict[int, Mapping[str, int] | None]:
    """Users' 401s by the name that was given ("": none), over each span."""
    found: dict[int, Mapping[str, int] | None] = {}
    terms = {"understudy.purpose": ["user"], "understudy.client": ["user"], "http.response.status_code": ["401"]}
    for span in spans:
        where = Filter(since=(now - span) * SECOND, until=(now + 1) * SECOND, terms=terms)
        try:
            found[span] = {bucket.group[0]: bucket.count for bucket in store.count(where, None, ("user.name",))}
        except StoreUnavailable:
            found[span] = None
        except Exception:
            log.exception("failed sign-ins cannot be counted", extra={"fields": {"event.action": "evaluation_failed"}})
            found[span] = None
    return found
