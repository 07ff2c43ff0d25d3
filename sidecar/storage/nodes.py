"""The deployment's nodes, as the shared database knows them: each keeps its row up to date by its heartbeat.

Times are the database's own, in ns: nobody's clock is trusted for how long ago another was heard of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, Text, delete, select, update

from sidecar.settings import PREFIX, SettingError
from sidecar.storage.database import GLANCE, metadata
from sidecar.storage.shared_clock import ADDED, READING, Sample
from sidecar.storage.upsert import dialect_insert
from sidecar.timeunits import SECOND

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
WATCH: Final = 3.0
"""Seconds for which the heartbeats of another instance are watched: it beats every second."""
SILENT: Final = 10 * SECOND
"""ns after its last heartbeat from which on a node counts as silent."""


class State(StrEnum):
    LIVE = "live"
    DRAINING = "draining"


class Twin(SettingError):
    """Another instance that is alive has the node's name."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What is known of a node. `silent`: ns since its last heartbeat."""

    name: str
    instance: str
    state: str
    version: str
    contract: str
    control: str
    silent: int
    skew: int | None
    unshipped: int | None
    head: str | None


def register(engine: Engine, node: str, instance: str, told: dict[str, Any]) -> None:
    """At the start: the node's name is this instance's. Raises Twin, SQLAlchemyError."""
    beats = _beats(engine, node, instance)
    if beats is not None:
        time.sleep(WATCH)
        if _beats(engine, node, instance) != beats:
            raise Twin(f"{PREFIX}NODE: another sidecar that runs is called {node!r}; give each a name of its own")
    row = {"instance": instance, "beats": 0, "began": READING, "seen": READING, "state": State.LIVE, **told}
    made = dialect_insert("postgresql", nodes).values(node=node, **row)
    with engine.begin() as connection:
        connection.execute(made.on_conflict_do_update(index_elements=[nodes.c.node], set_=row))


def everyone(engine: Engine) -> list[Node]:
    """By name. Empty where the database is a file. Raises SQLAlchemyError."""
    if engine.dialect.name != "postgresql":
        return []
    with engine.execution_options(**GLANCE).connect() as connection:
        rows = connection.execute(select(nodes, READING.label("now")).order_by(nodes.c.node)).all()
    return [
        Node(
            name=row.node, instance=row.instance, state=row.state, version=row.version, contract=row.contract,
            control=row.control, silent=max(0, row.now - row.seen), skew=row.skew, unshipped=row.unshipped,
            head=row.head,
        )
        for row in rows
    ]  # fmt: skip


def drain(engine: Engine, node: str) -> bool:
    """From its next heartbeat on its health check sends users elsewhere, until it is started anew. False: there is no
    such node. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        changed = update(nodes).where(nodes.c.node == node).values(state=State.DRAINING)
        return connection.execute(changed).rowcount == 1


def remove(engine: Engine, node: str) -> None:
    """It is no longer expected. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        connection.execute(delete(nodes).where(nodes.c.node == node))


def is_beating(engine: Engine, node: str) -> bool:
    """Whether it is heard of within the next three seconds: one that was stopped is not. Raises SQLAlchemyError."""
    before = _beats(engine, node, "")
    time.sleep(WATCH)
    return _beats(engine, node, "") != before


def _beats(engine: Engine, node: str, instance: str) -> int | None:
    """How often another instance has beaten; None: the name is free, or ours."""
    with engine.connect() as connection:
        row = connection.execute(select(nodes).where(nodes.c.node == node)).one_or_none()
    return None if row is None or row.instance == instance else int(row.beats)


def beat(connection: Connection, node: str, instance: str, told: dict[str, Any]) -> tuple[Sample, State] | None:
    """Writes the node's row; `told`: what else it says of itself. What the database's clock showed, and what people
    want of the node; or None: another instance has the node's name."""
    before = time.monotonic_ns()
    row = {"state": State.LIVE, "version": "", "contract": "", "control": "", **told}
    made = dialect_insert("postgresql", nodes).values(
        node=node, instance=instance, beats=1, began=READING, seen=READING, **row
    )
    kept = made.on_conflict_do_update(
        index_elements=[nodes.c.node],
        set_={"beats": nodes.c.beats + 1, "seen": READING, **told},
        where=nodes.c.instance == instance,
    )
    now = connection.execute(kept.returning(nodes.c.seen, nodes.c.state, ADDED.label("bias"))).one_or_none()
    if now is None:
        return None
    return Sample(before, time.monotonic_ns(), int(now.seen), int(now.bias)), State(now.state)
