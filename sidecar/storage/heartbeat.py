"""Whether the shared database takes writes: told by how long ago one went through, never by which error came.

A database that hangs, that takes reads alone, or that has no connection left fails in ways of which half look like a
slow answer. So a row is written once every BEAT, on a connection of its own; the database is away once the last that
went through is older than AWAY. Then nobody is given a connection (`Pool.why_not`), for whatever use: no request waits
to find out again.

The processes of a node share what they know through a small file under DATA. Whoever sees that nobody has tried for
BEAT tries (AGAIN after a try that failed), so that one write a beat proves it for all, and none of them is needed for
it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sidecar.settings import Settings
from sidecar.storage.database import GLANCE, open_engine
from sidecar.storage.instance import instance_of
from sidecar.storage.nodes import State, beat
from sidecar.storage.shared_clock import ask, note, skew
from sidecar.storage.shared_map import shared_map
from sidecar.storage.status_files import told
from sidecar.timeunits import SECOND

BEAT: Final = SECOND
"""ns from one attempt to the next."""
AGAIN: Final = SECOND // 2
"""The same after one that has failed: a database that is started anew in a second is not away."""
AWAY: Final = 5 * SECOND // 2
"""ns after the last proof from which on the database is away: seen from outside within 3 s."""
LATE: Final = 3 * SECOND // 2
"""ns after the last proof from which on it may soon be away: one attempt has failed, or takes long; and ns without a
connection after which a process has none to hope for."""
LIMIT: Final = 2.0
"""Seconds that an attempt may take."""
LOOK: Final = 0.2
"""Seconds between looks of a process."""
CLOCK_EVERY: Final = 5
"""Heartbeats of a process of which one asks for the database's clock alone."""
_SERVE, _DRAIN, _TWIN = 1, 2, 3
"""What is wanted of a node: that it serves, that it sends users elsewhere, that it leaves the name to another."""
_CAUSE: Final = 160
"""Bytes of a cause that are kept."""
log = logging.getLogger(__name__)


class Proof:
    """What a node's processes know: when somebody last tried, when a write last went through, since when a process has
    had no connection; ns of time.monotonic(), which they share. What is wanted of the node, and why the last attempt
    failed."""

    def __init__(self, path: Path) -> None:
        self._map = shared_map(path, 32 + _CAUSE)

    def tried(self) -> int:
        return self._read(0)

    def proven(self) -> int:
        return self._read(8)

    def starved(self) -> int:
        return self._read(16)

    def wanted(self) -> int:
        return self._map[24]

    def cause(self) -> str:
        return self._map[32:].rstrip(b"\0").decode(errors="replace")

    def note(
        self, *, tried: int = 0, proven: int = 0, starved: int = 0, wanted: int = 0, cause: str | None = None
    ) -> None:
        """Keeps what is not 0 or None."""
        for place, value in ((0, tried), (8, proven), (16, starved)):
            if value:
                self._map[place : place + 8] = value.to_bytes(8, "little")
        if wanted:
            self._map[24] = wanted
        if cause is not None:
            self._map[32:] = cause.encode()[:_CAUSE].ljust(_CAUSE, b"\0")

    def _read(self, place: int) -> int:
        """0 for what a machine wrote before it was last started."""
        value = int.from_bytes(self._map[place : place + 8], "little")
        return value if value <= time.monotonic_ns() else 0


class Heartbeat(Protocol):
    """What the parts ask of it."""

    def why_away(self) -> str | None:
        """Why nothing is to be asked of the database now, in a sentence; None: it takes writes. From memory."""

    def is_late(self) -> bool:
        """Whether it is away, or may soon be. From memory."""

    def draining(self) -> bool:
        """Whether a person wants users to be sent to other nodes."""

    def close(self) -> None: ...


def start_heartbeat(settings: Settings, engine: Engine) -> Heartbeat:
    """Of this process. An SQLite file needs none: who has the file has the database."""
    if not settings.database:
        return Steady()
    beating = Beating(settings, engine)
    beating.start()
    return beating


class Steady:
    """Of a database that is never away."""

    def why_away(self) -> str | None:
        return None

    def is_late(self) -> bool:
        return False

    def draining(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to end."""


class Beating:
    """One per process, for the engine that it works with."""

    def __init__(self, settings: Settings, engine: Engine, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._settings, self._node, self._clock = settings, settings.node_name, clock
        self._pool = engine.pool
        self._proof = Proof(settings.data / "database.proof")
        self._instance = instance_of(settings.data)
        self._writer = open_engine(settings, LIMIT)
        self._own = self._writer.execution_options(**GLANCE)
        self._beats = 0
        self._began = clock()
        self._without = 0
        """Since when this process has had no connection, and got none; 0: it has one."""
        self._away = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Looks once, and from then on in a thread."""
        setattr(self._pool, "why_not", self.why_away)  # noqa: B010 - a Pool of ours, which mypy cannot know here
        self.look()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(LIMIT)
        self._writer.dispose()

    def why_away(self) -> str | None:
        now, age = self._clock(), self._age()
        if age >= AWAY:
            return f"no write has gone through for {age / SECOND:.1f} s ({self._proof.cause()})"
        if self._proof.wanted() == _TWIN:
            return "another instance has taken this node's name"
        if 0 <= now - self._proof.starved() < AWAY:
            return f"a process has no connection to the database ({self._proof.cause()})"
        return None

    def is_late(self) -> bool:
        return self._age() >= LATE

    def draining(self) -> bool:
        return self._proof.wanted() == _DRAIN

    def look(self) -> None:
        """Tries, if it is time to; and says what has changed. Never raises for a database that fails."""
        now, well = self._clock(), self._proof.proven() >= self._proof.tried()
        if now - self._proof.tried() >= BEAT:
            self._proof.note(tried=now, cause="it does not answer" if well else None)
            self._try()
        if self._clock() - self._proof.proven() < AWAY:
            self._keep_one()
        self._say()

    def _age(self) -> int:
        """ns since the last proof."""
        return self._clock() - (self._proof.proven() or self._began)

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            try:
                self.look()
            except Exception:
                log.exception("the heartbeat broke", extra={"fields": {"event.action": "heartbeat_failed"}})

    def _try(self) -> None:
        began = self._clock()
        try:
            try:
                self._beat()
            except DBAPIError as error:
                if not error.connection_invalidated or self._clock() - began >= AGAIN:
                    raise
                self._beat()  # the server had closed this one, which says nothing of the next
        except SQLAlchemyError as error:
            soon = self._clock() - BEAT + AGAIN
            self._proof.note(tried=max(soon, self._proof.proven() + 1), cause=_why(error))
        else:
            self._proof.note(proven=self._clock())

    def _beat(self) -> None:
        with self._own.connect() as connection:
            found = beat(connection, self._node, self._instance, self._told())
            sample = ask(connection) if self._ask_clock() else found[0] if found is not None else None
        if sample is not None:
            note(self._writer, sample)
        self._proof.note(wanted=_TWIN if found is None else _DRAIN if found[1] is State.DRAINING else _SERVE)

    def _told(self) -> dict[str, Any]:
        """What the node says of itself with each heartbeat."""
        shipper = told(self._settings, "shipper")
        return {"skew": skew(), "unshipped": shipper.get("unshipped"), "head": shipper.get("head")}

    def _ask_clock(self) -> bool:
        """Whether it is to be asked for by itself: a heartbeat's own reading is blurred by the disk."""
        self._beats += 1
        return self._beats % CLOCK_EVERY == 1

    def _keep_one(self) -> None:
        """A process that has no connection, and gets none, cannot serve, whatever others' heartbeats prove."""
        try:
            self._pool.try_one()  # type: ignore[attr-defined]
        except Exception as error:  # the driver's own: this is below SQLAlchemy's translation
            now = self._clock()
            self._without = self._without or now
            if now - self._without >= LATE:
                self._proof.note(starved=now, cause=_first_line(error))
        else:
            self._without = 0

    def _say(self) -> None:
        why = self.why_away()
        if why is not None and not self._away:
            log.error("the database is away: %s", why, extra={"fields": {"event.action": "database_away"}})
        elif why is None and self._away:
            log.warning("the database takes writes again", extra={"fields": {"event.action": "database_back"}})
        self._away = why is not None


def _why(error: SQLAlchemyError) -> str:
    return _first_line(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)


def _first_line(error: BaseException) -> str:
    """What the driver says may name hosts, and is cut to a line."""
    return " ".join(str(error).split())[:_CAUSE] or type(error).__name__
