"""The gauges of /metrics that tell the shared state; endpoints by name, as in the other metrics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sidecar import __version__
from sidecar.contract import Action, Endpoint
from sidecar.control.health import ask_database
from sidecar.control.services import ControlServices, completeness_ratio
from sidecar.server.certificates import expiries
from sidecar.storage.nodes import SILENT, Node, State, everyone
from sidecar.storage.shared_clock import skew
from sidecar.storage.status_files import told
from sidecar.storage.trusted_clock import jump
from sidecar.telemetry.metrics import CIRCUIT
from sidecar.timeunits import SECOND


def readings(services: ControlServices) -> dict[str, Callable[[], Any]]:
    """The gauges; endpoints by name, as in the other metrics."""
    declared = services.contract.endpoints
    states = services.switchboard.states
    return {
        "database_up": lambda: _database_up(services.engine),
        "circuit_state": lambda: {declared[n].name: CIRCUIT[s.circuit.state] for n, s in states().items()},
        "outbox_pending": lambda: services.desk.tally().entries,
        "outbox_oldest_seconds": lambda: _age(services.desk.tally().oldest),
        "outbox_parked": lambda: services.desk.tally().parked,
        "parity_ratio": lambda: {declared[name].name: services.parity.ratio(name) for name in declared},
        "standby_completeness_ratio": lambda: {
            n: completeness_ratio(v) for n, v in services.standby.completeness().items()
        },
        "certificate_expiry_timestamp_seconds": lambda: expiries(services.settings.certificates),
        "standby_ready": lambda: {
            e.name: float(services.standby.ready(n)[0]) for n, e in declared.items() if _coverable(e)
        },
        "build_info": lambda: {__version__: 1.0},
        "reload_refused": lambda: float(bool(services.reload().get("refused"))),
        "database_went_back_timestamp_seconds": lambda: services.restored().get("at"),
        "background_up": lambda: float(services.background() is None),
        "journal_verified": lambda: _verified(told(services.settings, "verified").get("ok")),
        "clock_jumped_seconds": lambda: abs(jump(services.settings)),
        "clock_skew_seconds": _skew,
        "node_silent_seconds": lambda: _silent(everyone(services.engine)),
        "journal_unshipped_events": lambda: services.shipper().get("unshipped"),
        "journal_behind_seconds": lambda: _latest(
            _behind(services.shipper()), everyone(services.engine), services.settings.node_name
        ),
        "data_free_ratio": lambda: _free(services.settings.data),
    }


def _database_up(engine: Engine) -> int:
    try:
        ask_database(engine)
    except SQLAlchemyError:
        return 0
    return 1


def _age(moment: int | None) -> float | None:
    return None if moment is None else max(0.0, (time.time_ns() - moment) / SECOND)


def _coverable(endpoint: Endpoint) -> bool:
    """What only the upstream can answer is never ready, and that is no trouble."""
    return endpoint.action is not Action.CALL and (endpoint.resource is not None or endpoint.public)


def _behind(shipper: Mapping[str, Any]) -> float | None:
    """The age of the oldest unshipped event, and of that news: a shipper that died tells nothing new."""
    if "at" not in shipper:
        return None
    return max(0.0, time.time() - float(shipper["at"])) + float(shipper.get("oldest_seconds") or 0)


def _silent(nodes: list[Node]) -> dict[str, float]:
    """Of those that are meant to serve."""
    return {node.name: node.silent / SECOND for node in nodes if node.state != State.DRAINING}


def _latest(own: float | None, nodes: list[Node], name: str) -> float | None:
    """The same, of a node that is silent, too: what it has not shipped comes when somebody brings it, if ever."""
    late = [
        node.silent / SECOND for node in nodes if node.name != name and node.silent >= SILENT and node.unshipped != 0
    ]
    return own if own is None else max(own, *late, 0.0)


def _skew() -> float | None:
    """None: the clock is nobody's but ours."""
    off = skew()
    return None if off is None else abs(off) / SECOND


def _verified(ok: object) -> float | None:
    """None: nobody has looked, or could."""
    return float(ok) if isinstance(ok, bool) else None


def _free(folder: Path) -> float | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free / usage.total
