"""The embedded event store: SQLite in DATA/events.db, for those who run no Elasticsearch. Passes the same suite.

One process writes (the shipper), any number read; safe from any thread. Counts and percentiles are computed inside
SQLite, over one covering index; pages are found by (time, id), never by offset. Text is matched by FTS5: whole words, all of
them. An event is stored once by its id; whole days go by its own time.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.record.event import nanoseconds
from sidecar.record.stores import Appended, Bucket, Event, Filter, Page, Rejected, StoreUnavailable

_DAY: Final = 86_400 * 1_000_000_000
_COLUMNS: Final = {
    "event.id": "id",
    "understudy.client": "client",
    "understudy.purpose": "purpose",
    "understudy.endpoint": "endpoint",
    "event.outcome": "outcome",
    "understudy.answered_by": "answered_by",
    "user.name": "user",
    "http.response.status_code": "status",
    "event.duration": "duration",
    "event.action": "action",
    "http.request.id": "request_id",
    "understudy.resource.type": "resource_type",
    "understudy.resource.id": "resource_id",
    "understudy.patient.id": "patient_id",
    "understudy.verdict": "verdict",
}
"""Fields with a column of their own; any other is read out of the document."""
_NUMBERS: Final = ("status", "duration")
_WORDS: Final = ("url.path", "url.query", "user.name", "user_agent.original", "understudy.resource.type")
_FIELD = re.compile(r"[@\w]+(\.\w+)*")
_SCHEMA: Final = f"""
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL,
    {", ".join(f"{column} {'INTEGER' if column in _NUMBERS else 'TEXT'}" for column in _COLUMNS.values())},
    document TEXT NOT NULL, words TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS events_id ON events (id);
CREATE INDEX IF NOT EXISTS events_page ON events (at, id);
CREATE INDEX IF NOT EXISTS events_count ON events
    (at, client, purpose, endpoint, outcome, answered_by, user, status, duration);
CREATE INDEX IF NOT EXISTS events_user ON events (user, at, id);
CREATE INDEX IF NOT EXISTS events_endpoint ON events (endpoint, outcome, at, id);
CREATE INDEX IF NOT EXISTS events_outcome ON events (outcome, at, id);
CREATE INDEX IF NOT EXISTS events_patient ON events (patient_id, at, id);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(words, content='events', content_rowid='seq');
CREATE TRIGGER IF NOT EXISTS events_added AFTER INSERT ON events
    BEGIN INSERT INTO words(rowid, words) VALUES (new.seq, new.words); END;
CREATE TRIGGER IF NOT EXISTS events_dropped AFTER DELETE ON events
    BEGIN INSERT INTO words(words, rowid, words) VALUES ('delete', old.seq, old.words); END;
CREATE TABLE IF NOT EXISTS bodies (id TEXT PRIMARY KEY, at INTEGER NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS bodies_at ON bodies (at);
"""
_INSERT: Final = (
    f"INSERT OR IGNORE INTO events (at, {', '.join(_COLUMNS.values())}, document, words)"
    f" VALUES ({', '.join('?' * (len(_COLUMNS) + 3))})"
)


class EmbeddedStore:
    """Exchanges in SQLite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []

    def install(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)

    def append(self, events: Sequence[Event], bodies: Sequence[Event] = ()) -> Appended:
        rows, rejected = _accepted(events, _row)
        body_rows, bad_bodies = _accepted(bodies, _body_row)
        with self._connection() as connection, _transaction(connection):
            connection.executemany(_INSERT, rows)
            connection.executemany("INSERT OR IGNORE INTO bodies (id, at, document) VALUES (?, ?, ?)", body_rows)
        return Appended(len(rows), (), [*rejected, *bad_bodies])

    def search(self, where: Filter, size: int = 50, cursor: str | None = None) -> Page:
        condition, values = _condition(where)
        if cursor is not None:
            at, _, identity = cursor.partition(":")
            condition += " AND (at, id) < (?, ?)"
            values += [int(at), identity]
        sql = f"SELECT at, id, document FROM events WHERE {condition} ORDER BY at DESC, id DESC LIMIT ?"
        with self._connection() as connection:
            rows = connection.execute(sql, [*values, size + 1]).fetchall()
        more = f"{rows[size - 1][0]}:{rows[size - 1][1]}" if len(rows) > size else None
        return Page([orjson.loads(row[2]) for row in rows[:size]], more)

    def count(
        self,
        where: Filter,
        interval: int | None = None,
        by: Sequence[str] = (),
        percentiles: Sequence[float] = (),
    ) -> Sequence[Bucket]:
        condition, values = _condition(where)
        start = f"at - at % {int(interval)}" if interval else f"{int(where.since or 0)}"
        columns = [f"{start} AS start", *(f"ifnull({_column(name)}, '') AS g{n}" for n, name in enumerate(by))]
        keys = ["start", *(f"g{n}" for n in range(len(by)))]
        source = "events INDEXED BY events_count" if _covered(where, by) else "events"
        chosen = f"SELECT {', '.join(columns)}, duration FROM {source} WHERE {condition}"
        with self._connection() as connection:
            rows = connection.execute(_counting(chosen, keys, percentiles), values).fetchall()
        width = len(keys) + 1
        return [
            Bucket(row[0], tuple(map(str, row[1 : width - 1])), row[width - 1], _found(percentiles, row[width:]))
            for row in rows
        ]

    def body(self, event_id: str) -> Event | None:
        with self._connection() as connection:
            row = connection.execute("SELECT document FROM bodies WHERE id = ?", [event_id]).fetchone()
        return orjson.loads(row[0]) if row else None

    def drop_before(self, events_before: int, bodies_before: int) -> Sequence[str]:
        dropped = []
        with self._connection() as connection:
            for table, name, before in (("events", "exchanges", events_before), ("bodies", "bodies", bodies_before)):
                while (oldest := connection.execute(f"SELECT min(at) FROM {table}").fetchone()[0]) is not None:
                    end = oldest - oldest % _DAY + _DAY
                    if end > before:
                        break
                    with _transaction(connection):
                        connection.execute(f"DELETE FROM {table} WHERE at < ?", [end])
                    day = datetime.fromtimestamp(oldest // 1_000_000_000, UTC)
                    dropped.append(f"understudy-{name}-{day:%Y.%m.%d}")
        return dropped

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use at a time; kept for the next."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        finally:
            self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32000")
        return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _counting(chosen: str, keys: list[str], percentiles: Sequence[float]) -> str:
    """Counts per key; a percentile is the smallest duration that at least so many percent do not exceed."""
    group = ", ".join(keys)
    if not percentiles:
        return f"SELECT {group}, count(*) FROM ({chosen}) GROUP BY {group} ORDER BY {group}"
    # ceil(p / 100 * n) in whole numbers, and at least 1
    ranks = [f"max(1, (n * {round(percent * 1000)} + 99999) / 100000)" for percent in percentiles]
    picks = ", ".join(f"max(CASE WHEN rank = {rank} THEN duration END)" for rank in ranks)
    window = f"PARTITION BY {group}"
    ranked = (
        f"SELECT {group}, duration, row_number() OVER ({window} ORDER BY duration) AS rank,"
        f" count(*) OVER ({window}) AS n FROM ({chosen})"
    )
    return f"SELECT {group}, max(n), {picks} FROM ({ranked}) GROUP BY {group} ORDER BY {group}"


def _found(percentiles: Sequence[float], values: Sequence[Any]) -> dict[float, float]:
    return {percent: value for percent, value in zip(percentiles, values, strict=True) if value is not None}


_COVERED: Final = {"understudy.client", "understudy.purpose", "understudy.endpoint", "event.outcome", "user.name"} | {
    "understudy.answered_by",
    "http.response.status_code",
}


def _covered(where: Filter, by: Sequence[str]) -> bool:
    """Whether the index for counting answers without looking at the events."""
    return where.text is None and _COVERED.issuperset([*where.terms, *by])


def _condition(where: Filter) -> tuple[str, list[Any]]:
    parts, values = ["1"], list[Any]()
    if where.since is not None:
        parts.append("at >= ?")
        values.append(where.since)
    if where.until is not None:
        parts.append("at < ?")
        values.append(where.until)
    for name, accepted in where.terms.items():
        column = _column(name)
        parts.append(f"{column} IN ({', '.join('?' * len(accepted))})")
        values += [int(value) if column in _NUMBERS and value.isdecimal() else value for value in accepted]
    if where.text is not None and (words := re.findall(r"[^\W_]+", where.text)):
        parts.append("seq IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" ".join(f'"{word}"' for word in words))
    return " AND ".join(parts), values


def _column(name: str) -> str:
    """A field's column, or the expression that reads it. Raises ValueError for what is no field path."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    if not _FIELD.fullmatch(name):
        raise ValueError(f"a field path such as user.name; found {name!r}")
    path = "".join(f'."{part}"' for part in name.split("."))
    return f"CAST(json_extract(document, '${path}') AS TEXT)"


def _accepted(documents: Sequence[Event], row: Any) -> tuple[list[tuple[Any, ...]], list[Rejected]]:
    rows, rejected = [], []
    for document in documents:
        try:
            rows.append(row(document))
        except (ValueError, TypeError) as error:
            rejected.append(Rejected(document, str(error)))
    return rows, rejected


def _row(document: Event) -> tuple[Any, ...]:
    at = nanoseconds(_at(document, "@timestamp"))
    values = [_at(document, name) for name in _COLUMNS]
    for name, value in zip(_COLUMNS, values, strict=True):
        kind = int if _COLUMNS[name] in _NUMBERS else str
        if value is not None and type(value) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}; found {value!r}")
    if not values[0]:
        raise ValueError("event.id: required")
    if (address := _at(document, "source.ip")) is not None:
        ip_address(address)
    words = " ".join(str(value) for name in _WORDS if (value := _at(document, name)) is not None)
    return at, *values, orjson.dumps(document).decode(), words


def _body_row(document: Event) -> tuple[Any, ...]:
    identity = _at(document, "event.id")
    if not isinstance(identity, str) or not identity:
        raise ValueError("event.id: required")
    return identity, nanoseconds(_at(document, "@timestamp")), orjson.dumps(document).decode()


def _at(document: Event, path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
