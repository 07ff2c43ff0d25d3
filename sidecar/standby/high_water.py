"""A database that went back in time: how it is noticed, and how it is brought forward.

A restored backup, or a replica that was promoted before it had everything, holds writes as pending that are settled,
and would give provisional ids out a second time. Two things tell: the mark (outbox/watermark.py), which is kept outside
the database, in a file, in the journal's signed head and in the event store; and the life of the database's server
(storage/incarnation.py), which another node's mark or a lost one cannot tell in its place. A database that is behind is
brought forward before anything else is done with its outbox: ids go on above the mark, every pending entry counts as
one that may have taken effect and is looked up before it is sent, and what the standby knows is unverified.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from sidecar.clock import stamp
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.events.store.factory import open_store
from sidecar.journal.head import read_head
from sidecar.journal.keys import SigningError
from sidecar.settings import Settings
from sidecar.standby import queries
from sidecar.standby.numbers import bump
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import INCARNATION, NEXT_ID, RESTORED, VERSION, State, outbox
from sidecar.standby.outbox.watermark import Mark, parsed, read
from sidecar.storage import incarnation
from sidecar.storage.status_files import tell

log = logging.getLogger(__name__)
MARGIN: Final = 10_000
"""Ids and changes above the mark at which a database goes on: other nodes may have come further, and a power cut may
have cost the mark its last second."""
IN_STORE: Final = "outbox.mark"
"""The checkpoint of the event store that is the mark of all nodes: no segment of a journal is named so."""


@dataclass(frozen=True)
class WentBack:
    """What a database lacks: changes of the outbox, and provisional ids, as far as the mark tells; the entries that are
    looked up; whether its server was promoted or replaced."""

    changes: int
    ids: int
    entries: tuple[str, ...]
    promoted: bool = False


def kept(settings: Settings) -> Mark:
    """The highest mark that this node has: of the file, and of the journal's signed head."""
    mark = read(settings.high_water_mark_file)
    try:
        head = read_head(settings.sign_head_file)
        return mark.above(parsed(head.outbox)) if head is not None and head.outbox else mark
    except (SigningError, KeyError, TypeError, ValueError) as error:
        log.error("%s: no mark can be read in the journal's head (%s)", settings.sign_head_file, type(error).__name__)
        return mark


def in_store(settings: Settings) -> Mark:
    """The mark of all nodes, in the event store. Raises StoreUnavailable."""
    if not (settings.elasticsearch or (settings.data / "events.db").exists()):
        return Mark()  # nothing was ever kept in it
    with closing(open_store(settings)) as store:
        found = next((each for each in store.checkpoints() if each.segment == IN_STORE), None)
    try:
        return Mark() if found is None else Mark(found.sequence, int(found.hash))
    except ValueError:
        raise StoreUnavailable(f"{IN_STORE}: no mark") from None


def asked_of_store(settings: Settings, patience: float = 3.0) -> Mark:
    """The mark of all nodes, where the event store says it within so many seconds; else none, and it is said."""
    found: list[Mark] = []

    def ask() -> None:
        try:
            found.append(in_store(settings))
        except StoreUnavailable as error:
            log.warning("how far the outbox had come cannot be asked of the event store: %s", error)

    asking = threading.Thread(target=ask, name="mark", daemon=True)
    asking.start()
    asking.join(patience)
    return found[0] if found else Mark()


def keep_in_store(store: EventStore, mark: Mark) -> None:
    """Raises StoreUnavailable."""
    if mark != Mark():
        store.checkpoint(IN_STORE, mark.changes, str(mark.next_id))


def compare(connection: Connection, mark: Mark) -> WentBack | None:
    """What the database lacks; None: it is not behind."""
    now, promoted = box.reached(connection), box.is_another_life(connection)
    if now.reaches(mark) and not promoted:
        return None
    pending = connection.scalars(select(outbox.c.id).where(outbox.c.state == State.PENDING).order_by(outbox.c.seq))
    return WentBack(
        max(0, mark.changes - now.changes), max(0, mark.next_id - now.next_id), tuple(pending), promoted
    )  # fmt: skip


def bring_forward(connection: Connection, mark: Mark) -> WentBack | None:
    """Brings a database that is behind the mark to go on above it; what was found, or None."""
    found = compare(connection, mark)
    if found is None:
        adopt(connection)
        return None
    above = box.reached(connection).above(mark)
    adopt(connection)
    bump(connection, VERSION, above.changes + MARGIN)
    if above.next_id:
        bump(connection, NEXT_ID, above.next_id + MARGIN)
    for row in box.unsettled(connection):
        seen: dict[str, Any] = {"token": RESTORED, "sent": True}
        if row.state == State.PENDING:
            seen |= {"state": State.UNCLEAR, "due": stamp(), "reason": "restored: looked up first"}
        box.change(connection, row.id, **seen)
    bump(connection, queries.VERIFIED_SINCE, stamp())
    return found


def adopt(connection: Connection) -> None:
    """The outbox is looked after in this life of the server from now on."""
    life = incarnation.of(connection)
    if life and queries.number(connection, INCARNATION) != life:
        bump(connection, INCARNATION, life)


def say(settings: Settings, found: WentBack) -> None:
    """Tells people: the log, and the file that the control plane's metric is read from."""
    fields = {
        "event.action": "database_went_back",
        "understudy.changes": found.changes,
        "understudy.ids": found.ids,
        "understudy.entries": list(found.entries),
        "understudy.promoted": found.promoted,
    }
    said = "the database has gone back in time: %d changes of the outbox are not in it; %d entries are looked up first"
    if found.promoted:
        said = f"the database's server was promoted or replaced; {said}"
    log.error(said, found.changes, len(found.entries), extra={"fields": fields})
    try:
        tell(settings, "restored", {"at": time.time(), **asdict(found)})
    except OSError as error:
        log.error("that the database went back cannot be told: %s", error.strerror)
