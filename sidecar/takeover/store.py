"""Takeover's rows: how states and transitions are written, read, and compared and set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from sidecar.storage.upsert import dialect_insert
from sidecar.takeover.circuit import Circuit, State
from sidecar.takeover.routing import EndpointState, Mode
from sidecar.takeover.tables import endpoint_states, tallies

TALLIES: Final = select(tallies).where(tallies.c.second >= bindparam("since"))
STATES: Final = select(endpoint_states)


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of an endpoint's state. `before` and `after` are circuit states, or modes when a person acted."""

    at: int
    endpoint: str
    before: str
    after: str
    reason: str
    by: str

    @property
    def takeover(self) -> bool:
        """Whether the standby began to answer: a closed circuit opened, or a person said so."""
        return (self.before, self.after) == ("closed", "open") or self.after == Mode.STANDBY


def row_of(transition: Transition) -> dict[str, Any]:
    names = ("at", "endpoint", "before", "after", "reason", "by")
    return {name: str(value) if isinstance(value := getattr(transition, name), str) else value for name in names}


def compare_and_set(connection: Connection, endpoint: str, before: Circuit, after: Circuit) -> bool:
    """Sets the circuit if nobody has moved it since; True for the one process that did."""
    statement = (
        update(endpoint_states)
        .where(endpoint_states.c.endpoint == endpoint, endpoint_states.c.epoch == before.epoch)
        .values(circuit_row(after))
    )
    return connection.execute(statement).rowcount == 1


def circuit_row(circuit: Circuit) -> dict[str, Any]:
    return {
        "circuit": circuit.state.value,
        "opened": circuit.since,
        "backoff": circuit.backoff,
        "epoch": circuit.epoch,
        "circuit_reason": circuit.reason,
    }


def state_row(state: EndpointState) -> dict[str, Any]:
    return circuit_row(state.circuit) | {
        "mode": state.mode.value,
        "percent": state.percent,
        "reason": state.reason,
        "changed_at": state.changed_at,
        "changed_by": state.changed_by,
    }


def state_of(row: Any) -> EndpointState:
    circuit = Circuit(State(row.circuit), row.opened, row.backoff, row.epoch, row.circuit_reason)
    return EndpointState(Mode(row.mode), row.percent, circuit, row.reason, row.changed_at, row.changed_by)


@cache
def upsert_tallies(dialect: str) -> Any:
    """Made once: building it costs more than running it."""
    statement = dialect_insert(dialect, tallies)
    counts = {name: statement.excluded[name] for name in ("good", "bad", "refused")}
    return statement.on_conflict_do_update(index_elements=list(tallies.primary_key), set_=counts)
