# pure
"""Alerts of one cause as one incident: what burns together is one thing to be done, not ten things to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alerts.lifecycle.lifecycle import Alert, State
from dashboard.data.timeline import Moment
from dashboard.values import reasons
from sidecar.contract import Action, Contract
from sidecar.timeunits import HOUR, MINUTE

TOGETHER: Final = 30 * MINUTE
"""Alerts of one cause that fire within so long of each other are one incident."""
BEFORE: Final = HOUR
"""How far back a change may have brought it about."""
_CAUSES: Final = {"ErrorBudgetBurn": "requests", "OutboxGrowing": "requests", "NoTraffic": "requests"}
_DOINGS: Final = {
    Action.READ: "open",
    Action.LIST: "list",
    Action.CREATE: "add",
    Action.UPDATE: "change",
    Action.DELETE: "delete",
}


@dataclass(frozen=True)
class Incident:
    """Its alerts, the gravest first."""

    alerts: Sequence[Alert]

    @property
    def key(self) -> str:
        """Of the alert that it began with: stable while it lasts."""
        return min(self.alerts, key=lambda each: (each.fired_at, each.key)).key

    @property
    def since(self) -> int:
        return min(each.fired_at for each in self.alerts)

    @property
    def page(self) -> bool:
        return any(each.severity == "page" for each in self.alerts)

    @property
    def open(self) -> Sequence[Alert]:
        """Those that nobody has taken yet."""
        return [each for each in self.alerts if each.state is State.FIRING]

    @property
    def burns(self) -> bool:
        return any(each.name == "ErrorBudgetBurn" for each in self.alerts)

    @property
    def hurt(self) -> list[str]:
        """Endpoints that fail users, by name."""
        found = [each.labels.get("endpoint", "all") for each in self.alerts if each.labels.get("view") == "users"]
        return [name for name in dict.fromkeys(found) if name != "all"]

    @property
    def users_suffer(self) -> bool:
        return any(each.labels.get("view") == "users" for each in self.alerts)

    @property
    def budget(self) -> float | None:
        """The least that is left of any budget it burns, as a share; None: not known."""
        left = [float(each.notes["budget_left"]) for each in self.alerts if "budget_left" in each.notes]
        return min(left, default=None)


def grouped(burning: Iterable[Alert]) -> list[Incident]:
    """The gravest first: unacknowledged pages, then what fires, then what somebody works on."""
    groups: list[list[Alert]] = []
    for alert in sorted(burning, key=lambda each: each.fired_at):
        cause = _cause(alert)
        near = [g for g in groups if _cause(g[0]) == cause and alert.fired_at - g[-1].fired_at <= TOGETHER]
        if near:
            near[-1].append(alert)
        else:
            groups.append([alert])
    found = [Incident(sorted(group, key=_rank)) for group in groups]
    return sorted(found, key=lambda each: (not each.open, not each.page, -each.since))


def holding(burning: Iterable[Alert], key: str) -> Incident:
    """The incident of an alert. Raises LookupError."""
    for incident in grouped(burning):
        if any(alert.key == key for alert in incident.alerts):
            return incident
    raise LookupError(f"no incident has the alert {key!r} (any more)")


def _cause(alert: Alert) -> str:
    return _CAUSES.get(alert.name, alert.name)


def _rank(alert: Alert) -> tuple[bool, bool, bool, int]:
    users = alert.labels.get("view") == "users"
    return alert.state is not State.FIRING, alert.severity != "page", not users, -alert.fired_at


def cannot(contract: Contract, names: Iterable[str]) -> list[str]:
    """What users cannot do where these endpoints fail: `add notes`, `open patients`."""
    by_name = {endpoint.name: endpoint for endpoint in contract.endpoints.values()}
    said = []
    for name in names:
        endpoint = by_name.get(name)
        doing = _DOINGS.get(endpoint.action) if endpoint is not None and endpoint.action is not None else None
        if endpoint is not None and doing and endpoint.resource:
            said.append(f"{doing} {endpoint.resource}")
        elif name.endswith("/screen"):
            said.append("have images screened")
        else:
            said.append(f"use {name}")
    return list(dict.fromkeys(said))


def changed(moments: Iterable[Moment], since: int) -> list[Moment]:
    """Takeovers, releases and other marks in the hour before, the latest first."""
    found = [each for each in moments if each.kind != "alert" and since - BEFORE <= each.at <= since]
    return sorted(found, key=lambda each: -each.at)


def covered(states: Iterable[Mapping[str, Any]], names: Iterable[str], api: str) -> dict[str, tuple[str, str]]:
    """Endpoint's name → its id, and who covers it, in words."""
    wanted, found = set(names), {}
    for state in states:
        if state["name"] in wanted:
            standby = state["answered_by"] == "standby"
            able = (
                "the standby could answer it"
                if state["ready"]
                else f"not covered: {reasons.unready(state['ready_reason'], api)}"
            )
            found[str(state["name"])] = (str(state["id"]), "the standby answers it" if standby else able)
    return found
