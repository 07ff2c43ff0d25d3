"""Which nodes may use how many of the upstream's places, as the shared database knows it.

A node may use what its row grants it. It gives places up before it says so, and takes more only under a lock, and only
of those that no other row holds: together they never hold more than there are, whatever each believes of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import BigInteger, Column, Engine, Integer, Select, String, Table, delete, func, select

from sidecar.storage.database import GLANCE, metadata
from sidecar.storage.shared_clock import READING
from sidecar.storage.upsert import dialect_insert
from sidecar.timeunits import SECOND

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

place_leases: Final = Table(
    "place_leases",
    metadata,
    Column("node", String(200), primary_key=True),
    Column("granted", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("seen", BigInteger, nullable=False),
)
"""`granted`: places of the upstream that the node may have in use; `wanted`: the most that it could have used within
its last second; `seen`: when it last said so, by the database's clock, in ns."""
SILENT: Final = 4 * SECOND
"""ns after which the places of a node that says nothing are others'."""
_LOCK: Final = 0x706C6163
"""The advisory lock under which places are taken: "plac"."""


@dataclass(frozen=True)
class Told:
    """What a node says of itself."""

    granted: int
    wanted: int


def tell(engine: Engine, node: str, told: Told) -> dict[str, Told]:
    """Says it of this node, and hears of the others, in one question. Raises SQLAlchemyError."""
    with engine.execution_options(**GLANCE).connect() as connection:
        mine = _kept(node, told).returning(place_leases.c.node).cte("mine")
        rows = connection.execute(_others(node).add_cte(mine)).all()
    return {row.node: Told(row.granted, row.wanted) for row in rows}


def take(engine: Engine, node: str, wish: Told, total: int) -> int:
    """As many of the places that it wishes for as no other node holds, and one at least → what is granted now. Raises
    SQLAlchemyError."""
    with engine.execution_options(writes=None).begin() as connection:  # other writers need not be waited for
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        connection.execute(delete(place_leases).where(place_leases.c.seen <= READING - SILENT))
        held = sum(row.granted for row in connection.execute(_others(node)))
        granted = max(1, min(wish.granted, total - held))
        connection.execute(_kept(node, Told(granted, wish.wanted)))
        return int(granted)


def _kept(node: str, told: Told) -> Insert:
    row = {"granted": told.granted, "wanted": told.wanted, "seen": READING}
    made = dialect_insert("postgresql", place_leases).values(node=node, **row)
    return cast("Insert", made.on_conflict_do_update(index_elements=[place_leases.c.node], set_=row))


def _others(node: str) -> Select[tuple[str, int, int]]:
    columns = (place_leases.c.node, place_leases.c.granted, place_leases.c.wanted)
    return select(*columns).where(place_leases.c.node != node, place_leases.c.seen > READING - SILENT)
