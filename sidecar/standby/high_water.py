"""How far the outbox had come, kept outside the database: so that one which goes back in time is noticed.

A restored backup, or a replica that was promoted before it had everything, holds writes as pending that are settled,
and would give provisional ids out a second time. The mark is a small file beside DATA: the outbox's count of changes,
and the next provisional id. A database behind it is brought forward: ids go on above the mark, every pending entry
counts as one that may have taken effect and is looked up before it is sent, and what the standby knows is unverified.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from sidecar.clock import stamp
from sidecar.settings import Settings
from sidecar.standby import queries
from sidecar.standby.known_callers import bump
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import NEXT_ID, VERSION, State, outbox
from sidecar.storage.atomic_file import write_atomically
from sidecar.storage.status_files import tell

log = logging.getLogger(__name__)
MARGIN: Final = 10_000
"""Ids and changes above the mark at which a database goes on: some came after the mark was last written."""
EVERY: Final = 1.0
"""Seconds between writes of the mark, at the least."""


@dataclass(frozen=True)
class Mark:
    """How far it had come. Zeros: nothing is known."""

    changes: int = 0
    next_id: int = 0


@dataclass(frozen=True)
class WentBack:
    """What a database lacks: changes of the outbox, and provisional ids; and the entries that are looked up."""

    changes: int
    ids: int
    entries: tuple[str, ...]


def read(path: Path) -> Mark:
    """The mark; one that cannot be read is none, and said."""
    try:
        found = json.loads(path.read_bytes())
        return Mark(int(found["changes"]), int(found["next_id"]))
    except FileNotFoundError:
        return Mark()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("%s: the mark cannot be read (%s)", path, type(error).__name__)
        return Mark()


def of_database(connection: Connection) -> Mark:
    return Mark(queries.number(connection, VERSION), queries.number(connection, NEXT_ID))


def compare(connection: Connection, mark: Mark) -> WentBack | None:
    """What the database lacks; None: it is not behind."""
    now = of_database(connection)
    if now.changes >= mark.changes and now.next_id >= mark.next_id:
        return None
    pending = connection.scalars(select(outbox.c.id).where(outbox.c.state == State.PENDING).order_by(outbox.c.seq))
    return WentBack(max(0, mark.changes - now.changes), max(0, mark.next_id - now.next_id), tuple(pending))


def bring_forward(connection: Connection, mark: Mark) -> WentBack | None:
    """Brings a database that is behind the mark to go on above it; what was found, or None."""
    found = compare(connection, mark)
    if found is None:
        return None
    now = of_database(connection)
    bump(connection, VERSION, max(mark.changes, now.changes) + MARGIN)
    if mark.next_id or now.next_id:
        bump(connection, NEXT_ID, max(mark.next_id, now.next_id) + MARGIN)
    for ident in found.entries:
        box.change(connection, ident, state=State.UNCLEAR, sent=True, due=stamp(), reason="restored: looked up first")
    bump(connection, queries.VERIFIED_SINCE, stamp())
    return found


def say(settings: Settings, found: WentBack) -> None:
    """Tells people: the log, and the file that the control plane's metric is read from."""
    fields = {
        "event.action": "database_went_back",
        "understudy.changes": found.changes,
        "understudy.ids": found.ids,
        "understudy.entries": list(found.entries),
    }
    said = "the database has gone back in time: %d changes of the outbox are not in it; %d entries are looked up first"
    log.error(said, found.changes, len(found.entries), extra={"fields": fields})
    try:
        tell(settings, "restored", {"at": time.time(), **asdict(found)})
    except OSError as error:
        log.error("that the database went back cannot be told: %s", error.strerror)


class HighWater:
    """The mark as one process keeps it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = read(path)
        self._written = 0.0

    @property
    def mark(self) -> Mark:
        return self._mark

    def keep(self, connection: Connection) -> bool:
        """Raises the mark to where the database is. False: the database is behind it, and must be brought forward."""
        now = of_database(connection)
        if now.changes < self._mark.changes or now.next_id < self._mark.next_id:
            return False
        if now != self._mark and not 0 <= time.monotonic() - self._written < EVERY:
            try:
                write_atomically(self._path, json.dumps(asdict(now)).encode())
            except OSError as error:
                log.error("%s: the mark cannot be written: %s", self._path, error.strerror)
            self._written = time.monotonic()
            self._mark = now
        return True
