"""One of many may do it: a lease in the database, with a token that fences off whoever held it before."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from sidecar.clock import stamp
from sidecar.storage.database import metadata
from sidecar.timeunits import SECOND

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)
"""Who may do what only one may do."""
TTL: Final = 5 * SECOND
"""ns for which a lease holds after it was last renewed."""
AGAIN: Final = TTL // 5
"""ns after which it is renewed."""


class Lease:
    """A lease that this process tries to hold. `token` grows with each holder."""

    def __init__(self, engine: Engine, name: str, holder: str) -> None:
        self._engine = engine
        self._name = name
        self._holder = holder
        self._lock = threading.Lock()
        self._renewed = 0
        self.token = 0

    def hold(self) -> bool:
        """Takes or renews it. True: nobody else has it for the next TTL less AGAIN."""
        now = stamp()
        if now - self._renewed < AGAIN:
            return True
        held = self._hold(now)
        self._renewed = now if held else 0
        return held

    def _hold(self, now: int) -> bool:
        mine = (leases.c.name == self._name) & (leases.c.holder == self._holder) & (leases.c.token == self.token)
        free = (leases.c.name == self._name) & (leases.c.until < now)
        with self._lock, self._engine.begin() as connection:
            values = {"holder": self._holder, "until": now + TTL}
            if connection.execute(update(leases).where(mine).values(**values)).rowcount:
                return True
            if connection.execute(update(leases).where(free).values(**values, token=leases.c.token + 1)).rowcount:
                query = select(leases.c.token).where(leases.c.name == self._name)
                self.token = int(connection.execute(query).scalar_one())
                return True
            known = connection.scalar(select(leases.c.token).where(leases.c.name == self._name))
            if known is not None:
                return False
            try:
                with connection.begin_nested():
                    connection.execute(insert(leases).values(name=self._name, token=1, **values))
            except IntegrityError:
                return False  # another was quicker
            self.token = 1
            return True

    def still_mine(self, connection: Connection) -> bool:
        """Whether nobody has taken it since, as of this transaction: asked before each step that must be fenced."""
        row = connection.execute(select(leases).where(leases.c.name == self._name).with_for_update()).one_or_none()
        return row is not None and (row.holder, row.token) == (self._holder, self.token) and row.until > stamp()

    def release(self) -> None:
        """Gives it back, if it is held."""
        mine = (leases.c.name == self._name) & (leases.c.holder == self._holder) & (leases.c.token == self.token)
        with self._lock, self._engine.begin() as connection:
            connection.execute(update(leases).where(mine).values(until=0))
            self._renewed = 0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, and for how many ns it still lasts (negative: it has ended)."""

    name: str
    left: int


def holder(engine: Engine, name: str) -> Holder | None:
    """Who took the lease last; None: nobody ever did. Raises SQLAlchemyError."""
    with engine.execution_options(writes=False).connect() as connection:
        row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None else Holder(row.holder, row.until - stamp())
