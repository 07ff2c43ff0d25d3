"""What was recorded is learned again: by the same rules as when it happened, in the same order, into an empty database.

Nothing is made up: what an answer that was recorded does not show whole stays unknown, what a write without a usable
answer may have changed is in doubt, and what was deleted since is gone. Who was refused what stays so, also where no
body was kept. All of it is unverified in the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, func, insert, select, update

from sidecar.clock import stamp
from sidecar.contract import Action, Contract, Match
from sidecar.events.redact import REDACTED
from sidecar.exchange import Outcome
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.standby import knowledge, literals, queries
from sidecar.standby.gate import Gate
from sidecar.standby.known_callers import Callers
from sidecar.standby.literals import FORBIDDEN
from sidecar.standby.numbers import bump
from sidecar.standby.observations import ListSeen, Observation, RecordSeen, observations, record_in
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import NEXT_ID, Outbox, outbox
from sidecar.standby.outbox.missing import Fate, Key, Missing
from sidecar.standby.outbox.overlay import provisional
from sidecar.standby.outbox.sealing import Seal
from sidecar.standby.rebuild.moments import Call, Lack, Moment
from sidecar.standby.tables import (
    DOUBT,
    KNOWN,
    collections,
    identities,
    meta,
    records,
    replies,
    sightings,
    views,
    writes,
)
from sidecar.standby.writes.intents import Intents, Write

LEARNED: Final = (records, collections, sightings, views, identities, replies, literals.literals)
"""The tables that are filled."""
NUMBERS: Final = (knowledge.HIGHEST, "needs:", "changed:", queries.TOUCHED)
"""Before the names of what is learned into `meta`."""
ROWS: Final = 500
"""Rows that are written at once."""


class Relearning:
    """Learns moment by moment. `engine`: a scratch database with its tables, of which `into` moves what was learned."""

    def __init__(self, contract: Contract, engine: Engine, settings: Settings) -> None:
        self._contract = contract
        self._engine = engine
        self._intents = Intents(
            contract, engine, Callers(engine), Outbox(contract, engine, None), lambda: Seal(settings.seal_key_file),
            "rebuild", Gate(contract, proof=settings.proof, serve_unproven=False),
            upstream_timeout=0, late_effect=0, serve_unverified=False,
        )  # fmt: skip
        self._began: dict[str, tuple[int, Write | None]] = {}
        self._stamps: list[int] = []
        self._times: list[int] = []
        self._shown: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._refused: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._given = 0
        self.aliases: list[tuple[str, str, str]] = []
        """Of creates that reached the upstream: resource, provisional id, real id."""
        self.lacks: Counter[Lack] = Counter()
        """Answers that nothing was learned from, by why."""
        self.learned = 0
        """Answers that something was learned from."""
        self.strangers = 0
        """Exchanges of which the contract knows nothing (any more)."""

    def apply(self, moment: Moment) -> None:
        call = moment.call
        match = self._contract.match(call.request.method, call.request.path)
        if match.endpoint is None or match.endpoint.id != call.endpoint_id or match.endpoint.resource is None:
            self.strangers += moment.begins
            return
        self._stamps.append(stamp())
        self._times.append(call.began if moment.begins else call.ended)
        if moment.begins:
            write = self._intents.begin(match, call.request, call.user) if call.writes else None
            self._began[call.id] = stamp(), write
            return
        began, write = self._began.pop(call.id)
        if write is None:
            self._read(match, call, began)
        else:
            self._written(match, write, call)

    # Reads --------------------------------------------------------------------------------------------------------

    def _read(self, match: Match, call: Call, began: int) -> None:
        assert match.endpoint is not None
        caller = "" if match.endpoint.public else call.user
        status = call.response.status
        seen = observations(self._contract, match, call.request, call.response) if call.shows else []
        lack = call.lack if status == 200 else None if call.shows else Lack.NOT_SAID
        if any(REDACTED in record.body for record in _records(seen)):
            seen, lack = [], Lack.REDACTED
        with self._engine.begin() as connection:
            self._tell_apart(connection, match, status, caller)
            if status in FORBIDDEN and caller is not None:
                literals.note_refusal(connection, match, call.request, status, caller, began)
            elif status == 200 and caller is not None:
                literals.forget_refusal(connection, match, call.request, caller)
            for observation in seen:
                knowledge.see(connection, self._contract, match.endpoint, observation, caller, began)
        if seen:
            self.learned += 1
        elif lack is not None and match.endpoint.action in (Action.LIST, Action.READ):
            self.lacks[lack] += 1

    def _tell_apart(self, connection: Connection, match: Match, status: int, caller: str | None) -> None:
        """A record that was shown, refused to another, and shown again is not everyone's: that needs no bodies."""
        kind, ident = match.endpoint.resource if match.endpoint else None, match.record_id
        if kind is None or ident is None or caller is None:
            return
        if status == 200:
            self._shown[kind][ident].add(caller)
            if self._refused[kind][ident] - {caller}:
                knowledge.tighten(connection, self._contract, kind)
        elif status in FORBIDDEN and self._shown[kind][ident] - {caller}:
            self._refused[kind][ident].add(caller)

    # Writes -------------------------------------------------------------------------------------------------------

    def _written(self, match: Match, write: Write, call: Call) -> None:
        if write.record is not None:
            self._shown[write.kind].pop(write.record, None)
            self._refused[write.kind].pop(write.record, None)
        if write.queued:  # another was under way
            with self._engine.begin() as connection:
                if write.record is not None:
                    knowledge.doubt_record(connection, write.kind, write.record, stamp())
                knowledge.unlist(connection, write.kind, stamp())
            return
        response, outcome = call.response, call.outcome
        if call.request.method == "DELETE" and response.status in (404, 410) and outcome is Outcome.SUCCESS:
            response = Response(204, [])  # there is none, whoever deleted it
        seen = record_in(self._contract.resources[write.kind], response) if response.status < 300 else None
        if seen is not None and REDACTED in seen.body:
            response, seen = replace(response, body=b""), None
            self.lacks[Lack.REDACTED] += 1
        elif seen is None and response.status < 300 and call.lack is not None and not self._deletes(match):
            self.lacks[call.lack] += 1
        else:
            self.learned += 1
        self._intents.end(write, response if outcome is Outcome.SUCCESS else None, outcome, call.user)

    def _deletes(self, match: Match) -> bool:
        return match.endpoint is not None and match.endpoint.action is Action.DELETE

    # In the end ---------------------------------------------------------------------------------------------------

    def finish(self, accepted: Sequence[Missing], done: Mapping[Key, str]) -> list[Missing]:
        """After the last moment; returns the accepted writes that were never seen to reach the upstream: nobody is
        shown what they were to change as it was before. `done`: the records that writes which reached it have made."""
        lost = [each for each in accepted if each.fate is not Fate.REACHED]
        self.aliases = self._aliases(accepted, done)
        self._given = max((int(each.record) for each in accepted if provisional(each.record)), default=0)
        with self._engine.begin() as connection:
            self._doubt_lost(connection, lost)
            self._keep_times(connection)
        return lost

    def into(self, target: Engine) -> None:
        """Moves what was learned into an empty database, as unverified. Raises NotEmpty, and SQLAlchemyError; then
        nothing was moved."""
        with self._engine.connect() as scratch, target.begin() as connection:
            refuse_known(connection)
            for table in LEARNED:
                _move(scratch, connection, table)
            for name, value in scratch.execute(select(meta.c.name, meta.c.value)):
                if name.startswith(NUMBERS):
                    bump(connection, name, value)
            for kind, ident, real in self.aliases:
                box.alias(connection, kind, ident, real)
            if self._given >= queries.number(connection, NEXT_ID):
                bump(connection, NEXT_ID, self._given + 1)
            bump(connection, queries.VERIFIED_SINCE, stamp())

    def _aliases(self, accepted: Iterable[Missing], done: Mapping[Key, str]) -> list[tuple[str, str, str]]:
        found = []
        for each in accepted:
            real = done.get((each.request_id, each.endpoint), "-")
            endpoint = self._contract.endpoints.get(each.endpoint)
            if endpoint is not None and endpoint.resource and real != "-" and provisional(each.record):
                found.append((endpoint.resource, each.record, real))
        return found

    def _doubt_lost(self, connection: Connection, lost: Iterable[Missing]) -> None:
        """What users were told is done, and nobody has done, is not shown as it was before; nor are lists whole in
        which it should be, or in which what ended unclear may be."""
        real = {(kind, ident): found for kind, ident, found in self.aliases}
        unclear = select(writes.c.type).where(writes.c.outcome == "unknown").distinct()
        for kind in connection.scalars(unclear).all():
            knowledge.unlist(connection, kind, stamp())
        for each in lost:
            endpoint = self._contract.endpoints.get(each.endpoint)
            if endpoint is None or endpoint.resource is None:
                continue
            knowledge.unlist(connection, endpoint.resource, stamp())
            ident = real.get((endpoint.resource, each.record), each.record)
            row = queries.record(connection, endpoint.resource, ident)
            if row is not None and row.state == KNOWN:
                knowledge.doubt_record(connection, endpoint.resource, ident, stamp())

    def _keep_times(self, connection: Connection) -> None:
        """What is known was observed when it was recorded, not now: Age is counted from there."""
        for table in (records, collections, views):
            keys = list(table.primary_key.columns)
            for row in connection.execute(select(*keys, table.c.stamp)).all():
                where = [column == getattr(row, column.name) for column in keys]
                connection.execute(update(table).where(*where).values(observed=self._time(row.stamp)))

    def _time(self, at: int) -> int:
        """The moment at which a stamp of ours was taken, in the time of what was recorded (ns)."""
        place = bisect_right(self._stamps, at)
        return self._times[place - 1] if place else 0


class NotEmpty(Exception):
    """The database already knows something, or has an outbox; the message is for a person."""


def refuse_known(connection: Connection) -> None:
    """Raises NotEmpty."""
    for table, what in ((records, "records"), (outbox, "writes"), (box.aliases, "ids that were given out")):
        found = connection.scalar(select(func.count()).select_from(table))
        if found:
            raise NotEmpty(f"the database is not empty: it has {found} {what}, and what was recorded is older")


def state_of(engine: Engine, contract: Contract) -> dict[str, dict[str, Any]]:
    """Per resource: how many records are `known` and `in_doubt`, whether the list is `whole`, and since when (ns) the
    oldest of what is known was not seen again (None: nothing is known)."""
    found: dict[str, dict[str, Any]] = {}
    with engine.execution_options(writes=False).connect() as connection, connection.begin():
        for name in contract.resources:
            counts = {
                row.state: row
                for row in connection.execute(
                    select(records.c.state, func.count().label("n"), func.min(records.c.observed).label("oldest"))
                    .where(records.c.type == name)
                    .group_by(records.c.state)
                )
            }
            whole = queries.collection(connection, name)
            found[name] = {
                "known": counts[KNOWN].n if KNOWN in counts else 0,
                "in_doubt": counts[DOUBT].n if DOUBT in counts else 0,
                "whole": bool(whole is not None and whole.complete and DOUBT not in counts),
                "private": knowledge.is_private(connection, contract, name),
                "oldest": counts[KNOWN].oldest if KNOWN in counts else None,
            }
    return found


def _records(seen: Iterable[Observation]) -> list[RecordSeen]:
    found: list[RecordSeen] = []
    for each in seen:
        found += [each] if isinstance(each, RecordSeen) else each.records if isinstance(each, ListSeen) else []
    return found


def _move(scratch: Connection, target: Connection, table: Table) -> None:
    rows = [dict(row._mapping) for row in scratch.execute(select(table))]
    for start in range(0, len(rows), ROWS):
        target.execute(insert(table), rows[start : start + ROWS])
