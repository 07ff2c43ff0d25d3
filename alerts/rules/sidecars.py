"""The metrics of every sidecar of a deployment, which its nodes' control planes tell; one of them names the others.

Promises. Where there is one, nothing is different from asking it. One that does not answer at this look counts with
what it last told, so that its counters do not seem to rise when it answers again; what it had counted before it was
first asked has not risen either. A node that tells the same address as the one that is asked (both listen on their
own loopback) cannot be reached: CONTROL_ADVERTISE. Whoever is asked waits for the slowest, for TIMEOUT at the most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from alerts.rules.conditions.metrics import INSTANCE, Labels, Metrics, parse
from sidecar.control.client import ControlError

COUNTS: Final = ("_total", "_count", "_bucket", "_sum")
"""How the names of what only rises end."""
Row = Mapping[str, Any]


class Plane(Protocol):
    """One control plane; `at`: that at another address."""

    def at(self, address: str) -> Plane: ...
    def get(self, path: str) -> Any: ...
    def text(self, path: str) -> str: ...


class Sidecars:
    """Remembers who there is. `first`: the one that the settings name."""

    def __init__(self, first: Plane) -> None:
        self._first = first
        self._others: dict[str, Plane] = {}
        self._last: dict[str, Metrics] = {}
        self._before: dict[str, Metrics] = {}
        """By node, what its counters stood at when it was first asked, later than the first look, or at the look before
        its values got its name or lost it."""
        self._looked = self._several = False
        self._name = ""

    def look(
        self, wanted: Collection[str], bounds: Collection[float]
    ) -> tuple[Sequence[Row] | None, Metrics | None]:  # fmt: skip
        """Endpoints, and metrics; None: nobody could tell."""
        earlier = dict(self._last)
        endpoints, own, name = self._ask_first(wanted, bounds)
        for other in self._others.values() if own is None else ():
            endpoints, answered = self._endpoints(other)
            if answered:
                break
        found = self._ask_others(wanted, bounds) | ({} if own is None else {name: own})
        if not found:
            return endpoints, None
        for node, metrics in found.items():
            if self._looked and node not in self._last:
                self._before[node] = metrics
            self._last[node] = metrics
        several = len(self._last) > 1
        if self._looked and several is not self._several:
            self._before = self._last | earlier
        self._looked, self._several = True, several
        told = {node: _since(metrics, self._before.get(node, {})) for node, metrics in self._last.items()}
        return endpoints, next(iter(told.values())) if len(told) == 1 else _joined(told)

    def _ask_first(
        self, wanted: Collection[str], bounds: Collection[float]
    ) -> tuple[Sequence[Row] | None, Metrics | None, str]:  # fmt: skip
        """Of the one that the settings name: endpoints, metrics, and its node's name."""
        endpoints, answered = self._endpoints(self._first)
        if not answered:
            return None, None, ""
        metrics = _metrics(self._first, wanted, bounds)
        try:
            self._name = self._learn(self._first.get("/nodes"))
        except ControlError:
            pass  # it is who it was
        return endpoints, metrics, self._name

    def _endpoints(self, plane: Plane) -> tuple[Sequence[Row] | None, bool]:
        """One that gives no answer at all is asked once: waiting again would delay what burns."""
        try:
            return list(plane.get("/endpoints")), True
        except ControlError as error:
            return None, bool(error.status)

    def _learn(self, rows: Sequence[Row]) -> str:
        """Who there is now; gives the name of the one that told it."""
        own = next((str(row["node"]) for row in rows if row.get("self")), "")
        ours = {str(row["control"]) for row in rows if row.get("self")}
        known = {str(row["node"]) for row in rows} or {own}
        self._others = {
            str(row["node"]): self._others.get(str(row["node"])) or self._first.at(str(row["control"]))
            for row in rows
            if not row.get("self") and row["state"] != "silent" and row["control"] not in {"", *ours}
        }
        self._last = {node: metrics for node, metrics in self._last.items() if node in known}
        return own

    def _ask_others(self, wanted: Collection[str], bounds: Collection[float]) -> dict[str, Metrics]:
        if not self._others:
            return {}
        with ThreadPoolExecutor(len(self._others)) as pool:
            asked = pool.map(lambda plane: _metrics(plane, wanted, bounds), self._others.values())
            return {node: metrics for node, metrics in zip(self._others, asked, strict=True) if metrics is not None}


def _metrics(plane: Plane, wanted: Collection[str], bounds: Collection[float]) -> Metrics | None:
    try:
        return parse(plane.text("/metrics"), wanted, bounds)
    except (ControlError, ValueError):
        return None


def _since(metrics: Metrics, before: Metrics) -> Metrics:
    """Counters without what they stood at before; one that is lower began again."""
    if not before:
        return metrics

    def risen(name: str, labels: Labels, value: float) -> float:
        was = before.get(name, {}).get(labels, 0.0) if name.endswith(COUNTS) else 0.0
        return value - was if value >= was else value

    return {
        name: {labels: risen(name, labels, value) for labels, value in values.items()}
        for name, values in metrics.items()
    }  # fmt: skip


def _joined(told: Mapping[str, Metrics]) -> Metrics:
    """All of them, each value with its node as INSTANCE."""
    found: dict[str, dict[Labels, float]] = {}
    for node, metrics in told.items():
        for name, values in metrics.items():
            for labels, value in values.items():
                found.setdefault(name, {})[tuple(sorted((*labels, (INSTANCE, node))))] = value
    return found
