"""One patient's access log: everyone who opened or changed what is about them, signed, with nothing of what it says.

Older than the event store keeps, it comes from the trail that is kept on this machine. A log is never changed after it
was made; who made it sees it again, and auditors do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, insert, select

from dashboard.data.event_queries import Queries
from dashboard.data.export_signature import Signer
from dashboard.data.signed_lines import SignedLines, Unfit, handed_out, sign_lines
from dashboard.data.tables import disclosures
from dashboard.values import time_format
from dashboard.values.sentences import at, sentence
from sidecar.events import trail
from sidecar.events.store import Event, Filter
from sidecar.settings import Settings
from sidecar.timeunits import SECOND, parse_rfc3339

MOST: Final = 10_000
"""Accesses of one log: of a longer time, make several."""
LISTED: Final = 100
LISTS: Final = "lists of all patients, which show this one among others"
OLDER: Final = (
    "; of what the event store keeps no longer, all that this machine's trail does not hold: other nodes' above all"
)


@dataclass(frozen=True, kw_only=True)
class AccessLog(SignedLines):
    """A line for each access."""

    named = "access-log"
    columns = {name: name for name in ("time", "who", "did", "outcome", "from", "break_glass", "event")}
    subject: str


class Disclosures:
    """The access logs in DATABASE."""

    def __init__(
        self,
        engine: Engine,
        queries: Queries,
        signer: Signer,
        settings: Settings,
        zone: ZoneInfo,
        clock: Callable[[], int],
        api: str,
    ) -> None:
        """`api`: what people call the upstream."""
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._queries = queries
        self._signer = signer
        self._settings = settings
        self._zone = zone
        self._clock = clock
        self._api = api

    def make(self, user: str, subject: str, since: int, until: int, reason: str) -> AccessLog:
        """Of what happened from `since` until before `until`, in ns. Raises Unfit, StoreUnavailable."""
        subject, reason, now = subject.strip(), " ".join(reason.split()), self._clock()
        if not 0 < len(subject) <= 200 or not subject.isprintable():
            raise Unfit("patient: expected a patient's number")
        if not 3 <= len(reason) <= 500:
            raise Unfit(f"reason: expected 3 to 500 characters; found {len(reason)}")
        if not since < min(until, now):
            raise Unfit("to: expected a time after from, and from before now")
        rows = [self._row(event) for event in self._events(subject, since, min(until, now))]
        head = {
            "what": "Understudy access log of one patient",
            "patient": subject,
            "from": time_format.stamp(since, self._zone),
            "to": time_format.stamp(min(until, now), self._zone),
            "reason": reason,
            "made_by": user,
            "made_at": time_format.stamp(now, self._zone),
            "accesses": len(rows),
            "people": len({row["who"] for row in rows}),
            "left_out": LISTS + (OLDER if since < self._horizon() else ""),
        }
        made = AccessLog(at=now, user=user, subject=subject, **sign_lines(self._signer, AccessLog.named, head, rows))
        with self._engine.begin() as connection:
            connection.execute(insert(disclosures).values(asdict(made)))
        return made

    def _events(self, subject: str, since: int, until: int) -> Sequence[Event]:
        """The latest first, each once."""
        where = Filter(
            since=since, until=until, terms={"understudy.patient.id": [subject], "understudy.purpose": ["user"]}
        )
        found: dict[str, Event] = {}
        cursor: str | None = None
        while True:
            page = self._queries.plain(where, 500, cursor)
            found.update({str(at(event, "event.id")): event for event in page.events})
            if len(found) > MOST:
                raise Unfit(f"these are more than {MOST:,} accesses: choose a shorter time")
            if (cursor := page.cursor) is None:
                break
        for event in self._older(subject, since, until):
            found.setdefault(str(at(event, "event.id")), event)
        return sorted(found.values(), key=lambda event: str(event["@timestamp"]), reverse=True)[:MOST]

    def _horizon(self) -> int:
        return self._clock() - int(self._settings.retention * SECOND)

    def _older(self, subject: str, since: int, until: int) -> Iterator[Event]:
        """What the event store keeps no longer."""
        if since >= self._horizon():
            return
        try:
            for event in trail.everything(self._settings.data):
                mine = at(event, "understudy.patient.id") == subject and at(event, "understudy.purpose") == "user"
                if mine and since <= parse_rfc3339(str(event["@timestamp"])) < until:
                    yield event
        except (OSError, trail.DamagedTrail) as error:
            raise Unfit(f"what is older than the event store keeps cannot be read: {error}") from None

    def _row(self, event: Event) -> dict[str, Any]:
        said = sentence(event, None, self._api)
        return {
            "time": time_format.stamp(parse_rfc3339(str(event["@timestamp"])), self._zone),
            "who": str(at(event, "user.name") or "Somebody who did not sign in"),
            "did": f"{said.did} {said.subject}".strip(),
            "outcome": said.ending,
            "from": at(event, "source.ip"),
            "break_glass": at(event, "understudy.break_glass"),
            "event": at(event, "event.id"),
        }

    def handed_out(self, log: AccessLog, form: str, part: str) -> tuple[str, bytes]:
        """See signed_lines."""
        return handed_out(self._signer, log, form, part)

    def find(self, ident: str, by: str | None) -> AccessLog | None:
        """`by`: only if it is theirs; None: whoever made it."""
        with self._reader.connect() as connection:
            row = connection.execute(select(disclosures).where(disclosures.c.id == ident)).one_or_none()
        return None if row is None or by not in (None, row.user) else AccessLog(**row._mapping)

    def latest(self, by: str | None) -> Sequence[AccessLog]:
        """Newest first. `by`: only theirs; None: everybody's."""
        query = select(disclosures).order_by(disclosures.c.at.desc()).limit(LISTED)
        if by is not None:
            query = query.where(disclosures.c.user == by)
        with self._reader.connect() as connection:
            return [AccessLog(**row._mapping) for row in connection.execute(query)]
