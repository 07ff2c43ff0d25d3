"""One outage is one message: what is only another view of a graver alert is told inside it. Pure.

A page over a ticket, what users get over what the upstream gives, all endpoints over one: an alert that is at least as
grave in each of these, and graver in one, is told for the other. Of alerts that are alike in all of these that of the
tighter promise tells of the looser: in an outage the looser one only comes later. A page that begins long after
another, or once somebody has taken that one, is news: it may be another trouble, and is told. What burns is also told
by itself when that one ends (a page at once, a ticket where it still burns a repeat interval after it began).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from alerts.lifecycle.lifecycle import BURNING, Alert, State
from sidecar.timeunits import HOUR

BURN: Final = "ErrorBudgetBurn"
BLINDED: Final = frozenset({"NoData", "Unmeasured"})
"""What follows from a sidecar that does not answer."""
ONSET: Final = HOUR
"""ns within which the pages of one outage begin: the long window of the first level, by which all of them page."""


def inhibits(source: Alert, target: Alert) -> bool:
    """Whether telling of the one tells of the other. Never of a graver one, so that no chain of them comes round."""
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
    if target.severity == "page" and not _began_with(source, target):
        return False
    return all(found) and ("more" in found or _target(source) > _target(target))


def _began_with(source: Alert, target: Alert) -> bool:
    """Whether it began as part of the same outage. What was told inside a page stays there when that is taken."""
    known = source.state is State.FIRING or target.part_of == source.key
    return known and target.fired_at - source.fired_at <= ONSET


def _target(alert: Alert) -> float:
    return float(alert.notes.get("target", 0))


def _at_least(source: bool, target: bool) -> str:
    return "same" if source == target else "more" if source else ""


def parts(alerts: Mapping[str, Alert]) -> dict[str, str]:
    """By key: the key of the alert that tells of it, and is nobody's part. A silenced one tells of nothing, an
    acknowledged one of no new page."""
    burning = {key: alert for key, alert in alerts.items() if alert.state in BURNING}
    sources = [alert for alert in burning.values() if alert.state is not State.SILENCED]

    @cache
    def over(key: str) -> str:
        found = [each for each in sources if inhibits(each, burning[key]) and not over(each.key)]
        return min(found, key=lambda each: (each.fired_at, each.key)).key if found else ""

    return {key: whole for key in burning if (whole := over(key))}


def inside(alerts: Iterable[Alert], keys: Iterable[str]) -> list[Alert]:
    """Those that are told within any of these; only what burns is."""
    told = set(keys)
    return [alert for alert in alerts if alert.part_of in told]
