"""What people see of the outbox, and what they decide about parked entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Engine, func, select

from sidecar.clock import stamp
from sidecar.contract import Action
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import UNSETTLED, Outbox, State, outbox
from sidecar.standby.outbox.merging import CannotMerge, merged
from sidecar.standby.outbox.sealing import Seal

SHOWN: Final = 500
IN_ANOTHERS_NAME: Final = "replay_credentials"
"""What is proposed for an entry that a person has said is to be sent with REPLAY_CREDENTIALS."""


class Undecidable(ValueError):
    """The entry is not one about which that can be decided; the message says why."""


@dataclass(frozen=True)
class Tally:
    """How many entries are not settled, how many of them are parked, and when the oldest was accepted (wall ns)."""

    entries: int
    parked: int
    oldest: int | None


class Desk:
    """Lists, shows, retries, merges, discards."""

    def __init__(self, engine: Engine, outbox: Outbox, seal: Callable[[], Seal]) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._outbox = outbox
        self._seal = seal

    def entries(self) -> dict[str, Any]:
        """`pending`: how many will be settled by themselves; `parked`: those that wait for a person; `entries`: all of
        both, and changes to a record whose creation is parked, which say so; `owned`: how many writes the standby keeps
        for a demotion."""
        with self._reader.connect() as connection, connection.begin():
            rows = box.unsettled(connection)
            owned = connection.scalar(select(func.count()).select_from(outbox).where(outbox.c.state == State.OWNED))
            shown = [_entry(row, box.real_id(connection, row.type, row.record)) for row in rows]
        parked = [entry for entry in shown if entry["state"] == State.PARKED]
        unmade = {(e["resource"], str(e["provisional_id"])): e["id"] for e in parked if e["action"] == Action.CREATE}
        behind = [e for e in shown if e["state"] != State.PARKED and (e["resource"], str(e["record_id"])) in unmade]
        for entry in behind:
            entry["reason"] = f"waits for {unmade[entry['resource'], str(entry['record_id'])]}, which is parked"
        pending = len(shown) - len(parked) - len(behind)
        return {"pending": pending, "parked": parked, "entries": shown, "owned": owned or 0}

    def tally(self) -> Tally:
        """Counted by the database, however many they are."""
        query = select(outbox.c.state, func.count(), func.min(outbox.c.accepted_at)).group_by(outbox.c.state)
        with self._reader.connect() as connection, connection.begin():
            rows = connection.execute(query.where(outbox.c.state.in_(UNSETTLED))).all()
        counts = {state: count for state, count, _ in rows}
        oldest = min((at for _, _, at in rows), default=None)
        return Tally(sum(counts.values()), counts.get(State.PARKED, 0), oldest)

    def entry(self, ident: str) -> dict[str, Any]:
        """One entry, in any state. Raises LookupError."""
        with self._reader.connect() as connection, connection.begin():
            row = connection.execute(select(outbox).where(outbox.c.id == ident)).one_or_none()
            if row is None:
                raise LookupError(ident)
            return _entry(row, row.settled_as or box.real_id(connection, row.type, row.record))

    def discarded(self) -> list[dict[str, Any]]:
        """What people decided not to make, the latest first, with who and why."""
        query = select(outbox).where(outbox.c.state == State.DISCARDED).order_by(outbox.c.settled.desc()).limit(SHOWN)
        with self._reader.connect() as connection, connection.begin():
            return [_entry(row, box.real_id(connection, row.type, row.record)) for row in connection.execute(query)]

    def merge(self, ident: str, by: str, revision: int, ours: Sequence[str]) -> dict[str, Any]:
        """A parked conflict is sent over what the upstream showed, with only `ours` of its fields. Whatever is there by
        then is looked at first: another change parks it again. `revision`: of the entry as the person saw it.

        Raises LookupError, Undecidable, SealError.
        """

        def decide(row: Any) -> dict[str, Any]:
            if row.theirs is None:
                raise Undecidable(f"entry {ident} is no conflict: there is nothing to merge it with")
            if row.revision != revision:
                raise Undecidable(f"entry {ident} has changed since you looked: look again")
            headers, body = self._seal().open(row.id, row.sealed)
            fields, theirs = orjson.loads(row.fields), orjson.loads(row.theirs)
            try:
                headers, body, chosen = merged(headers, body, fields, ours, theirs, whole=row.method == "PUT")
            except CannotMerge as error:
                raise Undecidable(str(error)) from None
            return {
                "state": State.UNCLEAR if row.sent else State.PENDING, "due": stamp(), "attempts": 0,
                "reason": f"merged by {by}", "proposal": None, "base": row.theirs, "theirs": None,
                "fields": orjson.dumps(chosen).decode(), "sealed": self._seal().close(row.id, headers, body),
            }  # fmt: skip

        return self._decide(ident, decide)

    def retry(self, ident: str, by: str, _reason: str, in_anothers_name: bool = False) -> dict[str, Any]:
        """A parked entry is tried again: first it is looked for, where it may have taken effect. `in_anothers_name`:
        with REPLAY_CREDENTIALS, since the writer's own are refused."""

        def decide(row: Any) -> dict[str, Any]:
            state = State.UNCLEAR if row.sent else State.PENDING
            how = " with REPLAY_CREDENTIALS" if in_anothers_name else ""
            proposal = IN_ANOTHERS_NAME if in_anothers_name else None
            reason = f"tried again by {by}{how}"
            return {"state": state, "due": stamp(), "attempts": 0, "reason": reason, "proposal": proposal}

        return self._decide(ident, decide)

    def discard(self, ident: str, by: str, reason: str) -> dict[str, Any]:
        """The write will not be made. What it said is kept; who it was for must be told by people."""

        def decide(_row: Any) -> dict[str, Any]:
            return {"state": State.DISCARDED, "sealed": None, "settled": stamp(), "by": by, "reason": reason or None}

        return self._decide(ident, decide)

    def _decide(self, ident: str, decide: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        with self._engine.begin() as connection:
            row = connection.execute(select(outbox).where(outbox.c.id == ident)).one_or_none()
            if row is None:
                raise LookupError(ident)
            if row.state != State.PARKED:
                raise Undecidable(f"entry {ident} is {row.state}: only parked entries wait for a decision")
            values = decide(row)
            if values["state"] == State.DISCARDED and row.action == Action.CREATE:
                for other in box.unsettled(connection, UNSETTLED):
                    if row.record in (str(value) for value in orjson.loads(other.fields).values()):
                        raise Undecidable(f"entry {other.id} refers to this one: decide about that first")
            box.change(connection, ident, **values)
        self._outbox.touch()
        return self.entry(ident)


def _entry(row: Any, real: str | None) -> dict[str, Any]:
    create = row.action == Action.CREATE
    return {
        "id": row.id,
        "seq": row.seq,
        "state": row.state,
        "endpoint": row.endpoint,
        "resource": row.type,
        "action": row.action,
        "record_id": real or (None if create else row.record),
        "provisional_id": row.record if create else None,
        "user": row.user,
        "request_id": row.request_id,
        "created_at": row.accepted_at,
        "accepted_at": row.accepted_at,
        "attempts": row.attempts,
        "reason": row.reason,
        "proposal": row.proposal,
        "payload": orjson.loads(row.fields),
        "before": None if row.base is None else orjson.loads(row.base),
        "theirs": None if row.theirs is None else orjson.loads(row.theirs),
        "revision": row.revision,
        "settled_at": None if row.state != State.DISCARDED else row.settled,
        "by": row.by,
    }
