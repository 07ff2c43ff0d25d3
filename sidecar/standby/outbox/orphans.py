"""Pending writes that a contract has no place for any more: their endpoint, or their resource, is not in it.

They cannot be sent, for nobody can say what they would change. A contract that would make some is refused before it is
taken; where it was taken all the same, they are parked for a person, and everything else goes on.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, select

from sidecar.contract import Contract
from sidecar.settings import PREFIX, SettingError
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import UNSETTLED, State, outbox

NAMED: Final = 10
"""Entries that a refusal names; of the others it says how many."""
WAITING: Final = tuple(state for state in UNSETTLED if state is not State.PARKED)
_FACTS: Final = select(outbox.c.id, outbox.c.endpoint, outbox.c.type, outbox.c.action, outbox.c.state).order_by(
    outbox.c.seq
)


def has_place(contract: Contract, row: Any) -> bool:
    """Whether the contract still has the endpoint of an entry, for the same resource and action."""
    endpoint = contract.endpoints.get(row.endpoint)
    return endpoint is not None and (endpoint.resource, endpoint.action) == (row.type, row.action)


def orphans(connection: Connection, contract: Contract) -> list[Any]:
    """The entries that would be sent, and have no place; in order. (id, endpoint, type, action, state)"""
    rows = connection.execute(_FACTS.where(outbox.c.state.in_(WAITING))).all()
    return [row for row in rows if not has_place(contract, row)]


def refuse_orphans(engine: Engine, contract: Contract) -> None:
    """Raises SettingError, naming the entries, where the contract would leave pending writes without a place."""
    with engine.execution_options(writes=False).connect() as connection, connection.begin():
        found = orphans(connection, contract) if inspect(connection).has_table(outbox.name) else []
    if found:
        named = ", ".join(f"{row.id} ({row.endpoint})" for row in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise SettingError(
            f"{PREFIX}CONTRACT: {contract.name}: writes are pending for endpoints that this contract does not have:"
            f" {named}{more}; let them settle, or keep the endpoints until they have"
        )


def park_orphans(connection: Connection, contract: Contract) -> int:
    """Parks those that nothing was sent of, or nothing is being sent of. Returns how many."""
    found = orphans(connection, contract)
    for row in found:
        reason = f"contract: it no longer has {row.endpoint}"
        box.change(connection, row.id, state=State.PARKED, reason=reason, proposal="retry")
    return len(found)
