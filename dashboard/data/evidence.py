"""Evidence packs: events that a reviewer chose, with fixed times, what the journal says of each, and the notes.

A pack is made once, signed, and never changed: what it says later is what was said then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, insert, select

from dashboard.data.event_queries import Queries
from dashboard.data.export_signature import Signer
from dashboard.data.exports import Row, row_of
from dashboard.data.signed_lines import SignedLines, Unfit, handed_out, sign_lines
from dashboard.data.tables import packs
from dashboard.values import time_format
from dashboard.values.filters import View
from dashboard.values.sentences import at, sentence
from sidecar.events.store import Event, Filter
from sidecar.timeunits import parse_rfc3339

MOST: Final = 500
"""Events of a pack: more are not read by anybody; an export holds them."""
NOTES: Final = 5000


@dataclass(frozen=True, kw_only=True)
class Pack(SignedLines):
    """A line for each event."""

    named = "evidence"
    columns = {
        "time": "time",
        "sentence": "sentence",
        "outcome": "outcome",
        "address": "address",
        "written": "written",
        "journal": "journal",
        "event_id": "event.event.id",
        "request_id": "event.http.request.id",
        "hash": "event.event.hash",
    }
    title: str


class Packs:
    """The packs in DATABASE, for everyone who may see the audit."""

    def __init__(
        self,
        engine: Engine,
        queries: Queries,
        signer: Signer,
        journal: Callable[[Mapping[str, Row]], Mapping[str, Any]],
        zone: ZoneInfo,
        clock: Callable[[], int],
        api: str,
    ) -> None:
        """`journal`: event id → each row, to what the journal says of them. `api`: what people call the upstream."""
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._queries = queries
        self._signer = signer
        self._journal = journal
        self._zone = zone
        self._clock = clock
        self._api = api

    def make(self, user: str, view: View, title: str, notes: str) -> Pack:
        """Of the view's events, its times fixed now. Raises Unfit, ViewError, StoreUnavailable."""
        title, notes = " ".join(title.split()), notes.strip()
        if not 3 <= len(title) <= 200:
            raise Unfit(f"title: expected 3 to 200 characters; found {len(title)}")
        if len(notes) > NOTES:
            raise Unfit(f"notes: expected at most {NOTES} characters; found {len(notes)}")
        now = self._clock()
        fixed = view.fixed(now, self._zone)
        where = self._queries.where(fixed, now, self._zone)
        events, bodies = self._events(where)
        if not events:
            raise Unfit("there is no event in this view")
        said = self._journal({event["event"]["id"]: row_of(event) for event in events})
        rows = [self._row(event, bodies.get(event["event"]["id"]), said) for event in events]
        head = {
            "what": "Understudy evidence pack",
            "title": title,
            "notes": notes,
            "made_by": user,
            "made_at": time_format.stamp(now, self._zone),
            "filters": fixed.words(self._api),
            "view": f"/audit?{fixed.query(after='')}",
            "events": len(rows),
            "journal_verifies": said["ok"],
        }
        pack = Pack(at=now, user=user, title=title, **sign_lines(self._signer, Pack.named, head, rows))
        with self._engine.begin() as connection:
            connection.execute(insert(packs).values(asdict(pack)))
        return pack

    def _events(self, where: Filter) -> tuple[list[Event], dict[str, Event]]:
        events: list[Event] = []
        bodies: dict[str, Event] = {}
        cursor: str | None = None
        while True:
            page = self._queries.rows(where, 250, cursor)
            events += page.events
            bodies |= page.bodies
            if len(events) > MOST:
                raise Unfit(f"these are more than {MOST} events: narrow them down, or export them")
            if (cursor := page.cursor) is None:
                return events, bodies

    def _row(self, event: Event, bodies: Event | None, said: Mapping[str, Any]) -> dict[str, Any]:
        spoken = sentence(event, bodies, self._api)
        written = at(bodies, "http.request.body.content") if bodies else None
        return {
            "time": time_format.stamp(parse_rfc3339(event["@timestamp"]), self._zone),
            "sentence": str(spoken),
            "outcome": spoken.ending,
            "address": at(event, "source.ip"),
            "written": written,
            "journal": status(event["event"]["id"], said),
            "event": event,
        }

    def handed_out(self, pack: Pack, form: str, part: str) -> tuple[str, bytes]:
        """See signed_lines."""
        return handed_out(self._signer, pack, form, part)

    def find(self, ident: str) -> Pack | None:
        with self._reader.connect() as connection:
            row = connection.execute(select(packs).where(packs.c.id == ident)).one_or_none()
        return None if row is None else Pack(**row._mapping)

    def latest(self) -> Sequence[Pack]:
        """Newest first, at most a hundred."""
        with self._reader.connect() as connection:
            rows = connection.execute(select(packs).order_by(packs.c.at.desc()).limit(100)).all()
        return [Pack(**row._mapping) for row in rows]


def status(ident: str, said: Mapping[str, Any]) -> str:
    """What the journal says of one event: proven, different, not in it, or that it cannot tell."""
    if said["ok"] is None:
        return "not compared: the journal is not on this machine"
    if ident in said.get("different_ids", ()):
        return "DIFFERENT in the journal"
    if ident not in said.get("matched_ids", ()):
        return "not in the journal"
    return "proven" if said["ok"] else "in the journal, which does NOT verify"
