"""The shared database's clock, as a node measures it: by how much it is ahead of the node's CLOCK_MONOTONIC.

A question and its answer enclose the moment at which the database read its clock, so each gives an interval in which
the offset lies. Those of several questions must overlap; what they have in common is what is known, and half its width
is the error. While they do, the offset is not moved: stamps go on evenly.

Where they do not overlap, the database's clock was set, or another server has taken over with a clock of its own. The
order of what has happened must not be touched by that: who notices first adds the difference, with the opposite sign,
to a bias that is kept in the database, so that the clock that all nodes go by, the sum of the two, goes on.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, cast, func, literal, select, update

from sidecar import clock
from sidecar.storage.database import metadata
from sidecar.storage.upsert import dialect_insert
from sidecar.timeunits import SECOND

clocks: Final = Table(
    "clocks",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("bias", BigInteger, nullable=False),
)
"""One row, `bias`: ns that are added to the database's own clock."""
BIAS: Final = "bias"
READING: Final = cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000_000, BigInteger)
"""PostgreSQL's clock, to the microsecond, in ns."""
ADDED: Final = func.coalesce(select(clocks.c.bias).where(clocks.c.name == BIAS).scalar_subquery(), literal(0))
QUESTIONS: Final = 4
"""Asked at the start: the first may wait for a connection, a cold cache, a busy machine."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """One answer: the database's clock at some moment between `before` and `after` (ns of CLOCK_MONOTONIC)."""

    before: int
    after: int
    reading: int
    bias: int

    @property
    def low(self) -> int:
        """The least offset that fits."""
        return self.reading - 1_000 + self.bias - self.after  # it tells whole microseconds

    @property
    def high(self) -> int:
        return self.reading + 1_000 + self.bias - self.before

    @property
    def middle(self) -> int:
        return (self.low + self.high) // 2


def fit(known: tuple[int, int], sample: Sample) -> tuple[int, int] | None:
    """Offset and error that fit both what was known (offset, error by now) and the sample; None: nothing does. The
    offset is moved no further than it must be."""
    offset, error = known
    low, high = max(offset - error, sample.low), min(offset + error, sample.high)
    if low > high:
        return None
    kept = min(max(offset, low), high)
    return kept, max(kept - low, high - kept)


def ask(connection: Connection) -> Sample:
    """One question. Raises SQLAlchemyError."""
    before = time.monotonic_ns()
    row = connection.execute(select(READING.label("reading"), ADDED.label("bias"))).one()
    return Sample(before, time.monotonic_ns(), int(row.reading), int(row.bias))


def note(engine: Engine, sample: Sample) -> None:
    """What is known with this sample. `engine` is asked only where the clock was set. Raises SQLAlchemyError."""
    shared = clock.told()
    if shared is None:
        return _follow(sample)
    fitting = fit((shared[0], clock.error()), sample)
    if fitting is not None:
        return clock.tell(*fitting, sample.bias)
    off = shared[0] - sample.middle
    if sample.bias != shared[3] and off < 0:
        return _follow(sample)  # another node has set it forward
    log.warning(
        "the database's clock was set by %.3f s: order is kept", -off / 1e9,
        extra={"fields": {"event.action": "database_clock_set", "seconds": -off / 1e9}},
    )  # fmt: skip
    with engine.begin() as connection:
        row = dialect_insert("postgresql", clocks).values(name=BIAS, bias=0).on_conflict_do_nothing()
        connection.execute(row)
        mine = (clocks.c.name == BIAS) & (clocks.c.bias == sample.bias)
        connection.execute(update(clocks).where(mine).values(bias=sample.bias + off))
    return None


def skew() -> int | None:
    """By how many ns this machine's wall clock is ahead of the database's own; None: it shares none."""
    shared = clock.told()
    return None if shared is None else time.time_ns() - (time.monotonic_ns() + shared[0] - shared[3])


def synchronise(engine: Engine, latest: int) -> None:
    """At the start: the node goes by the database's clock, which must be beyond the `latest` stamp that is kept. Raises
    SQLAlchemyError."""
    with engine.connect() as connection:
        for _ in range(QUESTIONS):
            note(engine, ask(connection))
    behind = latest + 1 - clock.earliest()
    if behind > SECOND:  # stamps of a node that went by its own clock, which was ahead
        with engine.begin() as connection:
            connection.execute(dialect_insert("postgresql", clocks).values(name=BIAS, bias=0).on_conflict_do_nothing())
            connection.execute(update(clocks).where(clocks.c.name == BIAS).values(bias=clocks.c.bias + behind))
        with engine.connect() as connection:
            note(engine, ask(connection))


def _follow(sample: Sample) -> None:
    clock.tell(sample.middle, sample.high - sample.middle, sample.bias)
