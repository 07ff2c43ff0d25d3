"""One of many may do it: a lease in the database, with a token that fences off whoever held it before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    String,
    Table,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from sidecar import clock
from sidecar.storage.database import GLANCE, metadata
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
_LOOK: Final = select(leases).where(leases.c.name == bindparam("lease"))
_KEEP: Final = _LOOK.with_for_update()


class Lease:
    """A lease that this process tries to hold. `token` grows with each holder.

    Another no longer holds it when it has not been renewed for TTL by this process's own monotonic clock, seen from
    here; or, where both go by one clock, a file's machine's or the shared database's, when it has ended by that.
    """

    def __init__(
        self, engine: Engine, name: str, holder: str, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._engine = engine
        self._glance = engine.execution_options(**GLANCE)
        self._name = name
        self._holder = holder
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._renewed: int | None = None
        """When this process began to take or renew it, as long as it holds it."""
        self._tried: int | None = None
        self._seen: tuple[tuple[int, int], int] | None = None
        """Another's last renewal that was seen, its token and `until`, and since when it has been the last."""
        self.token = 0

    def hold(self) -> bool:
        """Takes or renews it. True: nobody else has it for the next TTL less AGAIN."""
        now = self._monotonic()
        if self._renewed is not None and now - self._renewed < AGAIN:
            return True
        if self._renewed is None and self._tried is not None and now - self._tried < AGAIN:
            return False
        self._tried = now
        self._renewed = now if self._renew() or self._take() else None
        return self._renewed is not None

    def _renew(self) -> bool:
        """By one statement: it must not wait for other writers."""
        if not self.token:
            return False
        with self._lock, self._glance.connect() as connection:
            values = {"holder": self._holder, "until": clock.stamp() + TTL}
            return bool(connection.execute(update(leases).where(self._mine()).values(**values)).rowcount)

    def _take(self) -> bool:
        """Looks, and takes it where it is free."""
        with self._glance.connect() as connection:
            row = connection.execute(select(leases).where(leases.c.name == self._name)).one_or_none()
        if row is not None and not self._is_free(row):
            return False
        with self._lock, self._engine.begin() as connection:
            values = {"holder": self._holder, "until": clock.stamp() + TTL}
            row = connection.execute(select(leases).where(leases.c.name == self._name)).one_or_none()
            if row is None:
                return self._first(connection, values)
            if not self._is_free(row):
                return False
            was = (leases.c.name == self._name) & (leases.c.token == row.token) & (leases.c.until == row.until)
            if not connection.execute(update(leases).where(was).values(**values, token=row.token + 1)).rowcount:
                return False  # another was quicker
            self.token = int(row.token) + 1
            return True

    def _is_free(self, row: Any) -> bool:
        """Whether it was given back or has ended, or nobody has renewed it for TTL."""
        one_clock = self._engine.dialect.name == "sqlite" or clock.told() is not None
        if row.until == 0 or (one_clock and row.until < clock.earliest()):
            return True
        now, state = self._monotonic(), (int(row.token), int(row.until))
        if self._seen is None or self._seen[0] != state:
            self._seen = state, now
        return now - self._seen[1] >= TTL

    def _first(self, connection: Connection, values: dict[str, Any]) -> bool:
        try:
            with connection.begin_nested():
                connection.execute(insert(leases).values(name=self._name, token=1, **values))
        except IntegrityError:
            return False  # another was quicker
        self.token = 1
        return True

    def still_mine(self, connection: Connection, *, look: bool = False) -> bool:
        """Whether nobody has taken it since, as of this transaction: asked before each step that must be fenced. Nobody
        takes it before a transaction has ended that writes; from one that only reads, to `look`, nobody is kept."""
        row = connection.execute(_LOOK if look else _KEEP, {"lease": self._name}).one_or_none()
        if row is None or (row.holder, row.token) != (self._holder, self.token) or row.until <= clock.stamp():
            return False
        return self._renewed is not None and self._monotonic() - self._renewed < TTL

    def release(self) -> None:
        """Gives it back, if it is held."""
        with self._lock, self._engine.begin() as connection:
            connection.execute(update(leases).where(self._mine()).values(until=0))
            self._renewed = None

    def _mine(self) -> ColumnElement[bool]:
        return (leases.c.name == self._name) & (leases.c.holder == self._holder) & (leases.c.token == self.token)


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, and for how many ns it still lasts (negative: it has ended)."""

    name: str
    left: int


def holder(engine: Engine, name: str) -> Holder | None:
    """Who took the lease last; None: nobody ever did. Raises SQLAlchemyError."""
    with engine.execution_options(writes=False).connect() as connection:
        row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None else Holder(row.holder, row.until - clock.stamp())
