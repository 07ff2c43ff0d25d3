"""The deployment's nodes, as the shared database knows them: each keeps its row up to date by its heartbeat.

Times are the database's own, in ns: nobody's clock is trusted for how long ago another was heard of.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import BigInteger, Column, Connection, String, Table, Text
from sqlalchemy.dialects.postgresql import insert

from sidecar.storage.atomic_file import write_atomically
from sidecar.storage.database import metadata
from sidecar.storage.shared_clock import ADDED, READING, Sample

nodes: Final = Table(
    "nodes",
    metadata,
    Column("node", String(200), primary_key=True),
    Column("instance", String(40), nullable=False),
    Column("beats", BigInteger, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),
    Column("version", String(50), nullable=False),
    Column("contract", String(64), nullable=False),
    Column("control", String(200), nullable=False),
    Column("skew", BigInteger),
    Column("unshipped", BigInteger),
    Column("head", Text),
)
"""`instance`: the id in the DATA of who beats. `seen`: of its last heartbeat; `began`: when that instance first beat.
`skew`: ns by which its wall clock was ahead of the database's. `head`: how far its journal had come, as JSON;
`unshipped`: events of it that are not in the event store."""
INSTANCE: Final = "instance"


def instance_of(data: Path) -> str:
    """The id that this DATA has, made with the first call."""
    path = data / INSTANCE
    try:
        known = path.read_text().strip()
    except FileNotFoundError:
        known = ""
    if not known:
        known = uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{known}\n".encode())
    return known


def beat(connection: Connection, node: str, instance: str, told: dict[str, Any]) -> Sample | None:
    """Writes the node's row; `told`: what else it says of itself. What the database's clock showed; or None: another
    instance has the node's name."""
    before = time.monotonic_ns()
    row = {"state": "live", "version": "", "contract": "", "control": "", **told}
    made = insert(nodes).values(node=node, instance=instance, beats=1, began=READING, seen=READING, **row)
    kept = made.on_conflict_do_update(
        index_elements=[nodes.c.node],
        set_={"beats": nodes.c.beats + 1, "seen": READING, **told},
        where=nodes.c.instance == instance,
    )
    row_kept = connection.execute(kept.returning(nodes.c.seen, ADDED.label("bias"))).one_or_none()
    if row_kept is None:
        return None
    return Sample(before, time.monotonic_ns(), int(row_kept.seen), int(row_kept.bias))
