"""What the control plane's views ask and act through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Engine

from sidecar.access.break_glass import BreakGlass
from sidecar.access.policy_store import Rulebook
from sidecar.contract import Contract
from sidecar.control.requests import Problem
from sidecar.events.store import EventStore
from sidecar.server.phase import Phase
from sidecar.settings import Settings
from sidecar.standby.outbox.review import Desk
from sidecar.standby.promotion import Promotion
from sidecar.takeover.coordinator import Switchboard


class Standby(Protocol):
    """What the control plane asks of the standby. Completeness: resource → {"ratio": 0..1 or None, …}."""

    def completeness(self) -> Mapping[str, Any]: ...
    def ready(self, endpoint_id: str) -> tuple[bool, str]: ...
    def evidence(self) -> Mapping[str, Any]: ...
    def revoke(self, user: str) -> Any: ...
    def restore(self, user: str) -> Any: ...


class Parity(Protocol):
    """What the control plane asks of parity, per endpoint's id."""

    def ratio(self, endpoint: str) -> float | None: ...
    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        """What stands beside an endpoint's ratio: equal, different, unknown."""

    def sampled(self) -> Mapping[str, Any]:
        """Per endpoint its latest differences, masked."""


def _nothing() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class ControlServices:
    """Everything, in one value. The caller ticks `switchboard`."""

    settings: Settings
    contract: Contract
    engine: Engine
    standby: Standby
    switchboard: Switchboard
    parity: Parity
    desk: Desk
    promotion: Promotion
    policies: Rulebook
    break_glass: BreakGlass
    open_store: Callable[[], EventStore]
    phase: Callable[[], Phase]
    start_backfill: Callable[[], Any]
    why_away: Callable[[], str | None] = lambda: None
    """Why a shared database is away; None: it is not."""
    drained: Callable[[], bool] = lambda: False
    """Whether a person wants users to be sent to other nodes."""
    shipper: Callable[[], Mapping[str, Any]] = _nothing
    """As the background work tells it; at least `unshipped`: a number of events, or None."""
    background: Callable[[], str | None] = lambda: None
    """Why background work does not go on; None: it does."""
    reload: Callable[[], Mapping[str, Any]] = _nothing
    """What became of the last reload: `refused` is the reason, or None."""
    restored: Callable[[], Mapping[str, Any]] = _nothing
    """When the database was last found to have gone back in time, and what it lacked."""
    backfill: Callable[[], Mapping[str, Any]] = _nothing
    """Progress, as the backfill tells it."""

    def endpoint(self, name: str) -> str:
        """The endpoint's id. Raises Problem where the contract has none of that name."""
        if name not in self.contract.endpoints:
            raise Problem(404, f"{self.contract.name} has no endpoint {name!r}")
        return name

    def resource(self, name: str) -> str:
        """The resource's name. Raises Problem where the contract has none of that name."""
        if name not in self.contract.resources:
            raise Problem(404, f"{self.contract.name} has no resource {name!r}")
        return name

    def events_behind(self) -> float | None:
        """Seconds by which the event store is behind the journal; None: unknown."""
        return self.shipper().get("oldest_seconds")


def completeness_ratio(completeness: Any) -> float | None:
    """0 to 1 of a resource's completeness, however it is told; None: unknown."""
    ratio = completeness.get("ratio") if isinstance(completeness, Mapping) else completeness
    return None if ratio is None else float(ratio)
