"""PostgreSQL as the shared database: a bounded number of connections, on which no statement takes for ever.

Promises. A statement, be it a COMMIT, ends within the engine's patience: the server cancels it, and where the server
says nothing at all (its disk stalls, its machine is paused, the way to it is cut) the connection is closed on our side
a moment later. A process has at most KEPT + MORE connections for each engine, and keeps those that it needed at once:
where the server has none left for others, the threads of a process share what it has.

Behind a pooler that gives each transaction another of the server's connections (pgbouncer in transaction mode) nothing
holds from one transaction to the next. It is noticed at each new connection, for the server's session has another
number than we were told; each transaction then says its own limits, asks which life the server is in, and prepares
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from sidecar.storage import incarnation
from sidecar.storage.off_loop import OffLoopPool

QUEUED: Final = 5.0
"""Seconds, at the most, that anybody waits in the line of those who write."""
WRITERS: Final = 0x756E6465727374
"""The advisory lock of PostgreSQL's writers: any number that is ours."""
KEPT: Final = 4
"""Connections that stay open once they were needed."""
MORE: Final = 8
"""Connections beside them that a burst may open."""
TRY_AGAIN: Final = 0.5
"""Seconds after which a server that could not be reached is tried again."""
LOOK: Final = 0.02
"""Seconds between looks for a connection that comes free, where the server gives no more."""
GRACE: Final = 0.25
"""Seconds that the server has beyond the patience to say that it has cancelled a statement."""
_FRESH: Final = {
    "connect_timeout": 2,
    "target_session_attrs": "read-write",
    "tcp_user_timeout": 3000,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
"""libpq's, in s and ms: a server that is cut off is noticed, not waited for; of several hosts the primary is taken."""


def open_server(url: str, patience: float) -> Engine:
    """An engine. `patience`: seconds that a statement may take, and that a free connection is waited for."""
    engine = create_engine(
        url,
        connect_args=_FRESH,
        poolclass=Pool,
        pool_size=KEPT,
        max_overflow=MORE,
        pool_timeout=patience,
        pool_use_lifo=True,
    )
    event.listen(engine, "begin", _begin)
    event.listen(engine, "do_connect", _Way(patience).connect)
    return engine


class Pool(OffLoopPool):
    """`why_not`, where it is set, says why nobody is to have a connection now; None: they may."""

    why_not: Callable[[], str | None] | None = None

    def connect(self) -> PoolProxiedConnection:
        """A connection. Raises psycopg.OperationalError at once where there is none to be had."""
        why = self.why_not() if self.why_not is not None else None
        if why is not None:
            raise psycopg.OperationalError(why)
        return super().connect()

    def try_one(self) -> None:
        """Makes sure that one is open, whatever `why_not` says. Raises psycopg.Error, SQLAlchemyError."""
        if not self._has_any():
            super().connect().close()

    def _has_any(self) -> bool:
        return self.checkedin() + self.checkedout() > 0

    def recreate(self) -> Pool:
        made = super().recreate()
        assert isinstance(made, Pool)
        made.why_not = self.why_not
        return made

    def _do_get(self) -> ConnectionPoolEntry:
        until = time.monotonic() + self.timeout()
        while True:
            try:
                return super()._do_get()
            except psycopg.OperationalError:  # libpq does not tell which: it has none left, or is not there
                if not self._has_any() or time.monotonic() > until:
                    raise
            time.sleep(LOOK)  # another thread gives its own back, or has just done so


class _Bounded(psycopg.Connection[Any]):
    """A connection that is closed when the server says nothing for longer than `patience`."""

    patience = 0.0
    is_pooled = False
    limits = ""
    """What is said at the start of a transaction, where it is pooled."""

    def wait(self, gen: Any, *words: Any, **names: Any) -> Any:
        """psycopg's way to whatever it waits for."""
        try:
            return super().wait(_until(gen, time.monotonic() + self.patience + GRACE), *words, **names)
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server has said nothing for {self.patience + GRACE:g} s") from None


def _until(gen: Any, end: float) -> Any:
    """The same generator of psycopg's, which asks for what it waits for and is told what is ready: nothing, ten times a
    second. Raises TimeoutError where nothing is ready when it should have ended (of time.monotonic())."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > end:
                raise TimeoutError
            wanted = gen.send(ready)
    except StopIteration as ended:
        return ended.value


class _Way:
    """To new connections. A server that could not be reached is not tried again for a moment: not every request waits
    to find that out."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._until = 0.0
        self._error: Exception | None = None
        self._says_limits = True
        """Whether they are told as a connection is made: poolers may refuse that."""

    def connect(self, _dialect: Any, _record: Any, words: list[Any], names: dict[str, Any]) -> Any:
        """SQLAlchemy's."""
        if self._error is not None and time.monotonic() < self._until:
            raise self._error
        try:
            made = self._connect(words, names)
            with ExitStack() as unless_ready:
                unless_ready.callback(made.close)
                self._prepare(made)
                unless_ready.pop_all()
        except Exception as error:
            self._error, self._until = error, time.monotonic() + TRY_AGAIN
            raise
        self._error = None
        return made

    def _prepare(self, made: _Bounded) -> None:
        made.patience = self._patience
        made.is_pooled = is_pooled(made)
        if made.is_pooled:
            made.limits = "; ".join(f"SET LOCAL {name} = {value}" for name, value in limits(self._patience).items())
            made.prepare_threshold = None

    def _connect(self, words: list[Any], names: dict[str, Any]) -> _Bounded:
        if self._says_limits:
            try:
                return _Bounded.connect(*words, **names, options=_session(self._patience))
            except psycopg.OperationalError as error:
                if "unsupported startup parameter" not in str(error):
                    raise
            self._says_limits = False
        return _Bounded.connect(*words, **names)


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler is between: the server's session has another number than we were told when we came."""
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.rollback()
    return found is None or found[0] != connection.pgconn.backend_pid


def limits(patience: float) -> dict[str, int]:
    """What a transaction may take, in ms: a client that was stopped, or cut off, while it held the writers' lock must
    not stop everybody else."""
    ms = int(patience * 1000)
    return {
        "statement_timeout": ms,
        "lock_timeout": min(ms, int(QUEUED * 1000)),
        "idle_in_transaction_session_timeout": 5000,
    }


def _session(patience: float) -> str:
    """What the server is told of each session."""
    told = {
        **limits(patience),
        "tcp_keepalives_idle": 2,
        "tcp_keepalives_interval": 1,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 3000,
    }
    return " ".join(f"-c {name}={value}" for name, value in told.items())


def _begin(connection: Any) -> None:
    """Writers queue up for one lock, as SQLite's do for the file; readers get a snapshot."""
    driver, writes = connection.connection.driver_connection, connection.get_execution_options().get("writes", True)
    if writes is False:
        snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        connection.exec_driver_sql(f"{driver.limits}; {snapshot}" if driver.is_pooled else snapshot)
    elif writes and driver.is_pooled:
        connection.exec_driver_sql(driver.limits)
    if driver.is_pooled:
        incarnation.note_now(connection)
    if writes:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
