"""When the shared state is to be looked at: when it has changed, not again and again.

PostgreSQL tells it (NOTIFY, by triggers on what is looked at, migration 0010) to a connection that each process keeps
for that. So a deployment where nothing happens asks nothing, and one where something does hears of it at once. What is
time's work alone (what expires, a message that was lost) is seen to every SOON after a change, else every SELDOM. Where
nothing can be heard (a pooler between that gives each statement another connection; no connection now) the state is
looked at every time. Of an SQLite file a connection that only watches tells whether another has written to it; time's
work is seen to every AT_LEAST.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

from sqlalchemy import Engine

if TYPE_CHECKING:
    import psycopg

AT_LEAST: Final = 1.0
"""Seconds between two looks at a file that nobody has written to."""
CHANNEL: Final = "understudy"
SOON: Final = 5.0
SETTLING: Final = 20.0
"""Seconds after a change for which it is looked at every SOON."""
SELDOM: Final = 60.0
ECHO: Final = 2.0
"""Seconds in which a message of our own must come back."""
AGAIN: Final = 1.0
"""Seconds after which a connection that was lost is made anew."""
UNHEARD: Final = 60.0
"""Seconds after which it is tried again whether anything can be heard."""
log = logging.getLogger(__name__)


class Changes(Protocol):
    """One for each loop that looks."""

    @contextmanager
    def looking(self) -> Iterator[bool]:
        """Whether to look now. What is raised within means that it was not looked at."""
        yield True

    def close(self) -> None: ...


def start_changes(engine: Engine) -> Changes:
    """Of the engine's database."""
    if engine.dialect.name != "postgresql":
        return Watching(engine.url.database) if engine.url.database else _Always()
    listening = Listening(engine)
    listening.start()
    return listening


class _Always:
    @contextmanager
    def looking(self) -> Iterator[bool]:
        yield True

    def close(self) -> None:
        """There is nothing to end."""


class Watching:
    """Watches the file. It is not closed while it is looked at."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        """Which the file had when it was last looked at; None: it has to be looked at."""
        self._looked = clock()

    @contextmanager
    def looking(self) -> Iterator[bool]:
        now, version = self._clock(), self._read()
        look = version is None or version != self._version or not 0 <= now - self._looked < AT_LEAST
        self._version = None
        yield look
        self._version = version
        if look:
            self._looked = now

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self) -> int | None:
        """A number that another connection's commit changes; None: it cannot be told."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            self.close()
            return None


class Listening:
    """Hears of changes in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._heard = threading.Event()
        self._heard.set()
        self._hears = False
        self._looked = self._changed = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(ECHO)

    @contextmanager
    def looking(self) -> Iterator[bool]:
        look = self._is_time()
        try:
            yield look
        except BaseException:
            self._heard.set()
            raise

    def _is_time(self) -> bool:
        now = time.monotonic()
        if self._heard.is_set() or not self._hears:
            self._heard.clear()
            self._changed = self._looked = now
            return True
        if now - self._looked < (SOON if now - self._changed < SETTLING else SELDOM):
            return False
        self._looked = now
        return True

    def _run(self) -> None:
        import psycopg

        words, names = self._engine.dialect.create_connect_args(self._engine.url)
        names = {**names, "autocommit": True, "connect_timeout": 2, "target_session_attrs": "read-write"}
        names = {**names, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3}
        while not self._stop.is_set():
            pause = AGAIN
            try:
                with psycopg.connect(*words, **names) as connection:
                    if self._echoes(connection):
                        self._listen(connection)
                    else:
                        log.info("changes cannot be heard of through this connection: the database is polled")
                        pause = UNHEARD
            except psycopg.Error as error:
                log.debug("changes are not heard of: %s", type(error).__name__)
            self._hears = False
            self._stop.wait(pause)

    def _echoes(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether messages come back at all. Through a pooler this one may, and no other."""
        from sidecar.storage.postgresql import is_pooled

        if is_pooled(connection):
            return False
        word = uuid4().hex
        connection.execute(f"LISTEN {CHANNEL}")
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, word))
        return any(said.payload == word for said in connection.notifies(timeout=ECHO, stop_after=1))

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        self._hears = True
        self._heard.set()  # what changed before we listened
        while not self._stop.is_set():
            for _ in connection.notifies(timeout=AGAIN, stop_after=1):
                self._heard.set()
