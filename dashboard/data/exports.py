"""Exports of the audit: exactly what is filtered, as CSV or JSON Lines, with a signed manifest beside it.

Made by a thread, in pages; how far it is stands in the database, so that any worker can tell. The manifest holds the
file's SHA-256, the filters, what the journal's verification said, and how many rows the verified journal holds just as
they are. A cell that a spreadsheet would take for a formula is made plain text.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Engine, delete, insert, select, update

from dashboard.data.export_signature import Signer
from dashboard.data.tables import exports
from dashboard.values import time_format
from dashboard.values.filters import View
from dashboard.values.sentences import at, sentence
from dashboard.values.spreadsheet import MARK, SEPARATORS, rows_of
from sidecar.events.store import Event, EventStore, Filter, pages
from sidecar.timeunits import DAY, SECOND, parse_rfc3339

log = logging.getLogger(__name__)
PAGE: Final = 500
SILENT: Final = 60 * SECOND
KEPT: Final = 2 * DAY
FORMS: Final[Mapping[str, str]] = {**SEPARATORS, "jsonl": ""}
"""What an export may be, and what separates its cells."""
COLUMNS: Final[Mapping[str, str]] = {
    "method": "http.request.method",
    "path": "url.path",
    "query": "url.query",
    "status": "http.response.status_code",
    "answered_by": "understudy.answered_by",
    "resource": "understudy.resource.type",
    "record": "understudy.resource.id",
    "patient": "understudy.patient.id",
    "address": "source.ip",
    "user_agent": "user_agent.original",
    "identity": "understudy.identity",
    "verdict": "understudy.verdict",
    "request_id": "http.request.id",
    "event_id": "event.id",
    "sequence": "event.sequence",
    "hash": "event.hash",
}


@dataclass(frozen=True)
class Export:
    """`state`: running, done or failed. `detail`: why it failed, or what the journal said."""

    id: str
    user: str
    at: int
    form: str
    view: str
    total: int | None
    done: int
    state: str
    detail: str


class Row(NamedTuple):
    """What is held against the journal: a digest of the event, its time (RFC 3339, UTC), and the node that wrote it."""

    digest: bytes
    at: str
    node: str | None


class Exports:
    """The exports in DATA/exports."""

    def __init__(
        self,
        engine: Engine,
        store: EventStore,
        data: Path,
        journal: Callable[[Mapping[str, Row]], Mapping[str, Any]],
        zone: ZoneInfo,
        clock: Callable[[], int] = time.time_ns,
        *,
        api: str,
    ) -> None:
        """`journal`: event id → each exported row, to what the journal says of them. `api`: the upstream's name."""
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._store = store
        self._directory = data / "exports"
        self._signer = Signer(data / "export.key")
        self._journal = journal
        self._zone = zone
        self._clock = clock
        self._api = api

    def start(self, user: str, view: View, form: str, where: Filter | None = None) -> str:
        """Begins an export of a view with fixed times; `where`: what it asks of the store.

        Raises ValueError while another one of the user's runs.
        """
        if form not in FORMS:
            raise ValueError(f"form: expected {', '.join(FORMS)}; found {form!r}")
        if any(export.state == "running" for export in self.latest(user)):
            raise ValueError("an export of yours is still running: wait for it to end")
        ident, now = secrets.token_hex(8), self._clock()
        where = view.filter(now, self._zone) if where is None else where
        row = {"id": ident, "user": user, "at": now, "form": form, "view": view.query(), "done": 0}
        with self._engine.begin() as connection:
            connection.execute(insert(exports).values(**row, state="running", detail="", beat=now))
        self._sweep(now)
        arguments = (self.find(ident, user), where)
        threading.Thread(target=self._make, args=arguments, name="export", daemon=True).start()
        return ident

    def proof(self, rows: Mapping[str, Row]) -> Mapping[str, Any]:
        """What the journal says of these rows, without an export."""
        return self._journal(rows)

    def find(self, ident: str, user: str) -> Export | None:
        """An export of that user's."""
        return next((export for export in self.latest(user) if export.id == ident), None)

    def latest(self, user: str) -> list[Export]:
        """The user's exports, newest first. One that has been silent for a minute has died with its process."""
        query = select(exports).where(exports.c.user == user).order_by(exports.c.at.desc()).limit(20)
        with self._reader.connect() as connection:
            rows = connection.execute(query).all()
        return [_export(row, self._clock()) for row in rows]

    def path(self, export: Export, part: str) -> Path:
        """Where a part of a finished export is: its file, or its manifest."""
        made = time_format.local(export.at, self._zone)
        ending = "jsonl" if export.form == "jsonl" else "csv"
        suffix = ending if part == "file" else f"{ending}.manifest.json"
        return self._directory / export.id / f"audit-{made:%Y-%m-%d-%H%M%S}.{suffix}"

    def _sweep(self, now: int) -> None:
        """Removes files that are two days old: what was exported is in their maker's hands."""
        for folder in self._directory.glob("*"):
            if folder.stat().st_mtime_ns < now - KEPT:
                for path in folder.glob("*"):
                    path.unlink(missing_ok=True)
                folder.rmdir()
        with self._engine.begin() as connection:
            connection.execute(delete(exports).where(exports.c.at < now - KEPT))

    def _make(self, export: Export, where: Filter) -> None:
        try:
            path = self.path(export, "file")
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._tell(export, total=sum(bucket.count for bucket in self._store.count(where)))
            rows = self._write(export, where, path)
            said = self._journal(rows)
            manifest = self._manifest(export, path, len(rows), said)
            self.path(export, "manifest").write_bytes(manifest)
            self._tell(export, state="done", done=len(rows), detail=_in_words(said))
        except Exception as error:
            log.exception("an export failed", extra={"fields": {"event.action": "export_failed", "export": export.id}})
            self._tell(export, state="failed", detail=f"it failed ({type(error).__name__}); try again")

    def _write(self, export: Export, where: Filter, path: Path) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        separator = FORMS[export.form]
        with path.open("wb") as file:
            path.chmod(0o600)
            for events, bodies in self._pages(where):
                if separator:
                    file.write(_csv(events, bodies, self._zone, not rows, self._api, separator))
                else:
                    file.write(_jsonl(events))
                rows.update((event["event"]["id"], row_of(event)) for event in events)
                self._tell(export, done=len(rows))
            if separator and not rows:
                file.write(_csv([], {}, self._zone, True, self._api, separator))
        return rows

    def _pages(self, where: Filter) -> Iterator[tuple[Sequence[Event], Mapping[str, Event]]]:
        for page in pages(self._store, where, PAGE):
            if page.events:
                yield page.events, self._store.bodies([event["event"]["id"] for event in page.events])

    def _manifest(self, export: Export, path: Path, rows: int, said: Mapping[str, Any]) -> bytes:
        content = path.read_bytes()
        return self._signer.sign(
            {
                "what": "Understudy audit export",
                "file": path.name,
                "sha256": sha256(content).hexdigest(),
                "bytes": len(content),
                "rows": rows,
                "view": f"/audit?{export.view}",
                "made_at": time_format.local(export.at, ZoneInfo("UTC")).isoformat(),
                "made_by": export.user,
                "journal": {name: value for name, value in said.items() if name != "matched_ids"},
            }
        )

    def _tell(self, export: Export, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(exports).where(exports.c.id == export.id).values(**values, beat=self._clock()))


def row_of(event: Event) -> Row:
    """An event as the journal holds it, whatever the order of its keys."""
    return Row(
        sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)).digest()[:16],
        str(event["@timestamp"]),
        at(event, "service.node.name"),
    )


def _csv(
    events: Iterable[Event], bodies: Mapping[str, Event], zone: ZoneInfo, head: bool, api: str, separator: str = ","
) -> bytes:
    rows: list[list[Any]] = []
    if head:
        rows.append(["time_utc", f"time_{zone.key}", "person", "sentence", "outcome", "duration_ms", *COLUMNS])
    for event in events:
        said = sentence(event, bodies.get(event["event"]["id"]), api)
        moment = parse_rfc3339(event["@timestamp"])
        took = (at(event, "event.duration") or 0) / 1e6
        local = time_format.field_value(moment, zone).replace("T", " ")
        cells = [event["@timestamp"], local, at(event, "user.name"), str(said), said.ending, f"{took:.1f}"]
        rows.append([*cells, *(at(event, field) for field in COLUMNS.values())])
    return (MARK if head else b"") + rows_of(rows, separator)


def _jsonl(events: Iterable[Event]) -> bytes:
    return b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events)


def _in_words(said: Mapping[str, Any]) -> str:
    if said["ok"] is None:
        return f"NOT verified: {said['why']}"
    if not said["ok"]:
        return "THE JOURNAL DOES NOT VERIFY: see the manifest"
    if said["different"]:
        return f"{said['different']} rows are NOT as the journal has them: see the manifest"
    if said["missing"]:
        return f"{said['missing']} rows are NOT in the journal, which reaches back further than they: see the manifest"
    older = said["not_in_journal"]
    text = f"journal verified up to {str(said['signed'])[:19]}Z; {said['matched']} rows are identical in it"
    return f"{text}, {older} are older than it keeps, or another node's: not verified" if older else text


def _export(row: Any, now: int) -> Export:
    dead = row.state == "running" and now - row.beat > SILENT
    state, detail = ("failed", "its process ended; try again") if dead else (row.state, row.detail)
    return Export(row.id, row.user, row.at, row.form, row.view, row.total, row.done, state, detail)
