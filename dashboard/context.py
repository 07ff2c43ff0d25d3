"""What the pages work with: the parts of the dashboard, wired once, and the visit that a request is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from flask import g
from sqlalchemy import Engine

from alerts.lifecycle.store import Alerts
from dashboard.auth.access_log import Trail
from dashboard.auth.sessions import Session, Sessions
from dashboard.auth.users import Role, Users
from dashboard.data.disclosure import Disclosures
from dashboard.data.event_queries import Queries
from dashboard.data.evidence import Packs
from dashboard.data.exports import Exports
from dashboard.data.nodes import Nodes, Plane
from dashboard.data.objectives import Promised
from dashboard.data.reviews import Reviews
from dashboard.data.slo_figures import Counted
from sidecar.contract import Contract
from sidecar.events.store import EventStore
from sidecar.settings import Settings


@dataclass(frozen=True)
class Parts:
    """Everything that lasts longer than a request. `clock` in nanoseconds since the epoch."""

    settings: Settings
    contract: Contract
    engine: Engine
    store: EventStore
    users: Users
    sessions: Sessions
    trail: Trail
    queries: Queries
    exports: Exports
    packs: Packs
    disclosures: Disclosures
    reviews: Reviews
    nodes: Nodes
    alerts: Alerts
    alerts_engine: Engine
    promised: Promised
    counted: Counted
    zone: ZoneInfo
    clock: Callable[[], int]

    @property
    def api(self) -> str:
        """What people call the API that we stand beside: its Service's displayName in the objectives."""
        return self.promised.api

    def plane(self, by: str | None = None) -> Plane:
        """The control plane, of whichever node answers; actions are written down there as `by`'s."""
        return self.nodes.plane(None if by is None else f"{by} (dashboard)")


@dataclass(frozen=True)
class Visit:
    """Who asks for a page now, from where, and the address they asked for."""

    who: Session
    address: str
    path: str = "/"
    query: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def may(self, role: Role) -> bool:
        return self.who.role.includes(role)


def visit(path: str = "/", query: str | None = "") -> Visit:
    """The visit of the request under way. The guard has let it in."""
    return Visit(g.session, g.address, path, query or "")
