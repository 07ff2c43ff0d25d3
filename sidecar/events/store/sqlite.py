"""The embedded event store: SQLite in DATA/events.db, for those who run no Elasticsearch. Passes the same suite.

One process writes (the shipper), any number read; safe from any thread. Counts and percentiles are computed inside
SQLite, over one covering index; pages are found by (time, id), never by offset. Text is matched by FTS5: whole words,
all of them. An event is stored once by its id; whole days go by its own time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.events.document import CLEAR
from sidecar.events.store import (
    NOTHING_RECORDED,
    Appended,
    Bucket,
    Checkpoint,
    Event,
    Filter,
    Hold,
    Page,
    Rejected,
    StoreUnavailable,
)
from sidecar.events.store.sqlite_sql import (
    INDICES,
    INSERT,
    SCHEMA,
    TEXTS,
    VOLUMES,
    body_row,
    column_of,
    condition,
    counting,
    event_row,
    grouped,
    is_held,
    of_time_alone,
    source,
    whole_minutes,
)
from sidecar.storage.encryption import Vault
from sidecar.timeunits import DAY, MINUTE, SECOND

_EVER: Final = (1 << 63) - 1
SAMPLED: Final = 200_000
"""Events of which percentiles are exact; of more, they are those of about so many, taken at random, and exact for a
group that has less than a tenth of it."""
_SCATTER: Final = 2654435761
"""Knuth's multiplier: takes numbers in a row apart."""
_LATER: Final = {
    "address": "$.source.ip",
    "upstream_outcome": "$.understudy.upstream_outcome",
    "break_glass": "$.understudy.break_glass",
}
"""Columns that a store did not have at first, and where in the document their values are."""


class EmbeddedStore:
    """Exchanges in SQLite."""

    def __init__(
        self, path: Path, busy_timeout: float = 5.0, vault: Vault = CLEAR, sampled: int = SAMPLED
    ) -> None:  # fmt: skip
        self._path = path
        self._sampled = sampled
        self._busy_timeout = busy_timeout
        self._vault = vault
        self._idle: list[sqlite3.Connection] = []

    def install(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        with self._connection() as connection:
            _widen(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            try:
                # as a whole: a reader sees all tables, or none, and each index as it was until it is as it will be
                connection.executescript(f"BEGIN IMMEDIATE;{_outdated(connection)}{SCHEMA}COMMIT;")
            finally:
                connection.rollback()  # where it came to an end too soon
            with _transaction(connection):
                for statement in () if _has_volumes(connection) else VOLUMES:
                    connection.execute(statement)

    def append(self, events: Sequence[Event], bodies: Sequence[Event] = ()) -> Appended:
        rows, rejected = _accepted(events, event_row)
        body_rows, bad_bodies = _accepted(bodies, body_row)
        with self._connection() as connection, _transaction(connection):
            (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
            connection.executemany(INSERT, rows)
            connection.execute(TEXTS, [last])
            connection.executemany("INSERT OR IGNORE INTO bodies (id, at, document) VALUES (?, ?, ?)", body_rows)
        return Appended(len(rows), (), [*rejected, *bad_bodies])

    def search(self, where: Filter, size: int = 50, cursor: str | None = None) -> Page:
        conditions, values = condition(where)
        if cursor is not None:
            at, _, identity = cursor.partition(":")
            conditions += " AND (at, id) < (?, ?)"
            values += [int(at), identity]
        sql = f"SELECT at, id, document FROM events WHERE {conditions} ORDER BY at DESC, id DESC LIMIT ?"
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
        if of_time_alone(where, by, percentiles) and (interval or MINUTE) % MINUTE == 0:
            found = self._by_volumes(where, interval)
            if found is not None:
                return found
        if percentiles and (every := self._many(where) // self._sampled) > 1:
            return self._estimated(where, interval, by, percentiles, every)
        return self._counted(where, interval, by, percentiles)

    def _counted(
        self, where: Filter, interval: int | None, by: Sequence[str], percentiles: Sequence[float], every: int = 1
    ) -> Sequence[Bucket]:
        """`every`: of so many events one is looked at."""
        conditions, values = condition(where)
        if every > 1:
            conditions += f" AND seq * {_SCATTER} / 65536 % {every} = 0"
        start = f"at - at % {int(interval)}" if interval else f"{int(where.since or 0)}"
        with self._connection() as connection:
            share = 0.0 if interval or percentiles else _share(connection, where)
            table, in_order = source(where, by, share, _indices(connection))
            if in_order and not interval and not percentiles:
                rows = connection.execute(grouped(start, by[0] if by else None, table, conditions), values).fetchall()
                return [Bucket(row[0], tuple(map(str, row[1:-1])), row[-1]) for row in rows]
            columns = [f"{start} AS start", *(f"ifnull({column_of(name)}, '') AS g{n}" for n, name in enumerate(by))]
            keys = ["start", *(f"g{n}" for n in range(len(by)))]
            chosen = f"SELECT {', '.join(columns + ['duration'] * bool(percentiles))} FROM {table} WHERE {conditions}"
            rows = connection.execute(counting(chosen, keys, percentiles), values).fetchall()
        width = len(keys) + 1
        return [
            Bucket(row[0], tuple(map(str, row[1 : width - 1])), row[width - 1], _found(percentiles, row[width:]))
            for row in rows
        ]

    def _many(self, where: Filter) -> int:
        """How many events there are in the filter's time, give or take a minute."""
        found = self._by_volumes(Filter(since=where.since, until=where.until), None)
        return sum(bucket.count for bucket in found or ())

    def _estimated(
        self, where: Filter, interval: int | None, by: Sequence[str], percentiles: Sequence[float], every: int
    ) -> Sequence[Bucket]:
        """Exact counts, with percentiles of one event in `every`; of groups that are small, of all their events."""
        exact = self.count(where, interval, by)
        looked = list(self._counted(where, interval, by, percentiles, every))
        if len(by) == 1 and not interval:
            few = [bucket.group[0] for bucket in exact if bucket.group[0] and bucket.count < self._sampled // 10]
            small = replace(where, terms={**where.terms, by[0]: few})
            looked += self._counted(small, interval, by, percentiles) if few else ()
        found = {(bucket.start, bucket.group): bucket.percentiles for bucket in looked}
        return [replace(bucket, percentiles=found.get((bucket.start, bucket.group), {})) for bucket in exact]

    def _by_volumes(self, where: Filter, interval: int | None) -> Sequence[Bucket] | None:
        """Whole minutes as they are kept, at any size as quick as there are minutes, and what is beside them of events.
        None in a store that no newer sidecar has installed yet."""
        first, last = whole_minutes(where, _EVER)
        start = f"minute - minute % {int(interval)}" if interval else f"{int(where.since or 0)}"
        sql = (
            f"WITH edge (since, until) AS (VALUES (?, ?), (?, ?)) SELECT {start} AS start, sum(n) FROM"
            " (SELECT minute, events AS n FROM volumes WHERE minute >= ? AND minute < ? UNION ALL"
            f" SELECT at - at % {MINUTE}, 1 FROM edge JOIN events INDEXED BY events_page ON at >= since AND at < until)"
            " GROUP BY start HAVING sum(n) > 0 ORDER BY start"
        )
        since, until = where.since or 0, _EVER if where.until is None else where.until
        edges = [since, min(first, until), max(last, min(first, until)), until]
        with self._connection() as connection:
            if not _has_volumes(connection):
                return None
            rows = connection.execute(sql, [*edges, first, last]).fetchall()
        return [Bucket(start, (), events) for start, events in rows]

    def body(self, event_id: str) -> Event | None:
        with self._connection() as connection:
            row = connection.execute("SELECT document FROM bodies WHERE id = ?", [event_id]).fetchone()
        return self._vault.opened(orjson.loads(row[0])) if row else None

    def bodies(self, event_ids: Sequence[str]) -> Mapping[str, Event]:
        sql = "SELECT id, document FROM bodies WHERE id IN (SELECT value FROM json_each(?))"
        with self._connection() as connection:
            rows = connection.execute(sql, [orjson.dumps(list(event_ids)).decode()]).fetchall()
        return {row[0]: self._vault.opened(orjson.loads(row[1])) for row in rows}

    def drop_before(self, events_before: int, bodies_before: int) -> Sequence[str]:
        dropped = []
        held, values = is_held(self.holds())
        free = {"events": f"({held}) IS NOT 1", "bodies": f"id NOT IN (SELECT id FROM events WHERE {held})"}
        with self._connection() as connection:
            for table, name, before in (("events", "exchanges", events_before), ("bodies", "bodies", bodies_before)):
                oldest = f"SELECT at FROM {table} WHERE {free[table]} ORDER BY at LIMIT 1"
                while (row := connection.execute(oldest, values).fetchone()) is not None:
                    end = row[0] - row[0] % DAY + DAY
                    if end > before:
                        break
                    with _transaction(connection):
                        connection.execute(f"DELETE FROM {table} WHERE at < ? AND {free[table]}", [end, *values])  # nosec B608 # our own
                    day = datetime.fromtimestamp(row[0] // SECOND, UTC)
                    dropped.append(f"understudy-{name}-{day:%Y.%m.%d}")
        return dropped

    def erase(self, event_ids: Sequence[str]) -> int:
        sql = "DELETE FROM bodies WHERE id IN (SELECT value FROM json_each(?))"
        with self._connection() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            erased = connection.execute(sql, [orjson.dumps(list(event_ids)).decode()]).rowcount
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nor is it left in the log
        return erased

    def hold(self, hold: Hold) -> None:
        with self._connection() as connection:
            connection.execute("INSERT INTO holds VALUES (?, ?)", [hold.id, orjson.dumps(vars(hold)).decode()])

    def release(self, ident: str) -> None:
        with self._connection() as connection:
            connection.execute("DELETE FROM holds WHERE id = ?", [ident])

    def holds(self) -> Sequence[Hold]:
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT document FROM holds ORDER BY json_extract(document, '$.at'), id"
            ).fetchall()
        return [Hold(**orjson.loads(row[0])) for row in rows]

    def checkpoint(self, segment: str, sequence: int, hash: str) -> None:
        sql = (
            "INSERT INTO checkpoints (segment, sequence, hash) VALUES (?, ?, ?) ON CONFLICT (segment) DO UPDATE"
            " SET sequence = excluded.sequence, hash = excluded.hash WHERE excluded.sequence > sequence"
        )
        with self._connection() as connection:
            connection.execute(sql, [segment, sequence, hash])

    def checkpoints(self) -> Sequence[Checkpoint]:
        with self._connection() as connection:
            rows = connection.execute("SELECT segment, sequence, hash FROM checkpoints ORDER BY segment").fetchall()
        return [Checkpoint(*row) for row in rows]

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
        except sqlite3.DatabaseError as error:
            raise self._unavailable(error) from error
        finally:
            self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        """Opens what `install` has made: whoever reads leaves no empty store behind."""
        try:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw", uri=True,
                timeout=self._busy_timeout, isolation_level=None, check_same_thread=False,
            )  # fmt: skip
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -32000")
        except sqlite3.DatabaseError as error:
            raise self._unavailable(error) from error
        return connection

    def _unavailable(self, error: sqlite3.DatabaseError) -> StoreUnavailable:
        if not self._path.exists() or str(error).startswith("no such table"):
            return StoreUnavailable(f"{self._path}: {NOTHING_RECORDED}")
        return StoreUnavailable(f"{self._path}: {error}")


def _has_volumes(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'volumes'").fetchone() is not None


def _indices(connection: sqlite3.Connection) -> Collection[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}


def _share(connection: sqlite3.Connection, where: Filter) -> float:
    """What part of the time from the first event to the last is the filter's."""
    oldest, newest = connection.execute("SELECT (SELECT min(at) FROM events), (SELECT max(at) FROM events)").fetchone()
    if oldest is None or newest == oldest:
        return 1.0
    since = oldest if where.since is None else where.since
    until = newest if where.until is None else where.until
    inside: int = min(until, newest) - max(since, oldest)
    return inside / int(newest - oldest)


def _widen(connection: sqlite3.Connection) -> None:
    """A store made before these had columns of their own gets them, filled from the events."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(events)")}
    for name in _LATER if columns else ():
        if name not in columns:
            value = f"json_extract(document, '{_LATER[name]}')"
            with _transaction(connection):
                connection.execute(f"ALTER TABLE events ADD COLUMN {name} TEXT")
                connection.execute(f"UPDATE events SET {name} = {value} WHERE {value} IS NOT NULL")  # nosec B608 # our own columns


def _outdated(connection: sqlite3.Connection) -> str:
    """What takes away indices that were made with other columns than they have now, and are made anew."""
    drops = []
    for name, wanted in INDICES.items():
        indexed = tuple(row[2] for row in connection.execute(f"PRAGMA index_info({name})"))
        if indexed not in ((), wanted):
            drops.append(f"DROP INDEX {name};")
    return "".join(drops)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _found(percentiles: Sequence[float], values: Sequence[Any]) -> dict[float, float]:
    return {percent: value for percent, value in zip(percentiles, values, strict=True) if value is not None}


def _accepted(documents: Sequence[Event], row: Any) -> tuple[list[tuple[Any, ...]], list[Rejected]]:
    rows, rejected = [], []
    for document in documents:
        try:
            rows.append(row(document))
        except (ValueError, TypeError) as error:
            rejected.append(Rejected(document, str(error)))
    return rows, rejected
