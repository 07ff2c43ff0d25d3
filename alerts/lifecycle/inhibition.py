"""One outage is one message: what is only another view of a graver alert is told inside it. Pure.

A page over a ticket, what users get over what the upstream gives, all endpoints over one: an alert that is at least as
grave in each of these, and graver in one, is told for the other. Of alerts that are alike in all of these that of the
tighter promise tells of the looser: in an outage the looser one only comes later. What burns is also told by itself
when that one ends (a page at once, a ticket where it still burns a repeat interval after it began).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from alerts.lifecycle.lifecycle import BURNING, Alert, State

BURN: Final = "ErrorBudgetBurn"
BLINDED: Final = frozenset({"NoData", "Unmeasured"})
"""What follows from a sidecar that does not answer."""


def inhibits(source: Alert, target: Alert) -> bool:
    """Whether telling of the one tells of the other."""
    if source.name == "SidecarUnreachable":
        return target.name in BLINDED
    if source.key == target.key or source.name != BURN or target.name != BURN:
        return False
    severity = _at_least(source.severity == "page", target.severity == "page")
    view = _at_least(source.labels.get("view") == "users", target.labels.get("view") == "users")
    whole = source.labels.get("endpoint") == "all"
    same = source.labels.get("endpoint") == target.labels.get("endpoint")
    endpoint = "same" if same else "more" if whole else ""
    found = (severity, view, endpoint)
    return all(found) and ("more" in found or _target(source) > _target(target))


def _target(alert: Alert) -> float:
    return float(alert.notes.get("target", 0))


def _at_least(source: bool, target: bool) -> str:
    return "same" if source == target else "more" if source else ""


def parts(alerts: Mapping[str, Alert]) -> dict[str, str]:
    """By key: the key of the alert that tells of it. Silenced and acknowledged ones tell of others too: the outage is
    known."""
    burning = [alert for alert in alerts.values() if alert.state in BURNING]
    told = [alert for alert in burning if alert.state is not State.SILENCED]
    found = {}
    for target in burning:
        over = [source for source in told if inhibits(source, target)]
        if over:
            found[target.key] = min(over, key=lambda each: (each.fired_at, each.key)).key
    return _ends(found)


def _ends(found: dict[str, str]) -> dict[str, str]:
    """Of chains the end: what is told at all."""

    def end(key: str) -> str:
        while key in found:
            key = found[key]
        return key

    return {key: end(over) for key, over in found.items()}


def inside(alerts: Iterable[Alert], keys: Iterable[str]) -> list[Alert]:
    """Those that are told within any of these."""
    told = set(keys)
    return [alert for alert in alerts if alert.part_of in told and alert.state in BURNING]
