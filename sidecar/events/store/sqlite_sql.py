"""The embedded store's SQL: its tables, and events, filters and counts in their terms. Pure: nothing is executed here.

Values are always bound; names come from a fixed list or are checked to be field paths.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from typing import Any, Final

import orjson

from sidecar.events.fields import FIELDS, Kind
from sidecar.events.store import Event, Filter, Hold
from sidecar.timeunits import MINUTE, parse_rfc3339

_COLUMNS: Final = {field.name: field.column for field in FIELDS if field.column is not None}
"""Fields with a column of their own; any other is read out of the document."""
_NUMBERS: Final = tuple(field.column for field in FIELDS if field.kind is Kind.LONG and field.column is not None)
_WORDS: Final = tuple(tuple(field.name.split(".")) for field in FIELDS if field.words)
_KINDS: Final = tuple((tuple(name.split(".")), int if column in _NUMBERS else str) for name, column in _COLUMNS.items())
"""The path of each column's value in a document, and of what kind it is."""
_TIME, _ID, _ADDRESS = ("@timestamp",), ("event", "id"), ("source", "ip")
_STATUS: Final = "http.response.status_code"
_FIELD = re.compile(r"[@\w]+(\.\w+)*")
_FILTERED: Final = (
    "user", "patient_id", "action", "outcome", "status", "address", "answered_by", "verdict", "resource_type",
)  # fmt: skip
"""The columns that people filter by. Counts need no others: an event itself is twenty times as long."""


def _counting(first: str) -> tuple[str, ...]:
    """An index in whose order values of `first` are counted, whatever is filtered, and pages of one value read."""
    return (first, "at", "id", *(column for column in _FILTERED if column != first))


INDICES: Final = {
    "events_page": ("at", "id"),
    "events_count": (
        "at", "client", "purpose", "endpoint", "outcome", "answered_by", "user", "status", "duration",
        "upstream_outcome", "patient_id", "action", "address", "verdict", "resource_type",
    ),
    "events_user": _counting("user"),
    "events_patient": _counting("patient_id"),
    "events_action": _counting("action"),
    "events_outcome": _counting("outcome"),
    "events_endpoint": ("endpoint", "outcome", "at", "id"),
    "events_status": _counting("status"),
    "events_resource": ("resource_type", "resource_id", "at", "id"),
    "events_kind": ("resource_type", "at", "id"),
    "events_address": ("address", "at", "id"),
    "events_verdict": ("verdict", "at", "id"),
    "events_glass": ("break_glass", "at", "id"),
}  # fmt: skip
"""By name; one of a store that was made before it had these columns is made anew."""
_INDICES: Final = "\n".join(
    f"CREATE INDEX IF NOT EXISTS {name} ON events ({', '.join(columns)})"
    f"{' WHERE break_glass IS NOT NULL' if name == 'events_glass' else ''};"
    for name, columns in INDICES.items()
)
SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL,
    {", ".join(f"{column} {'INTEGER' if column in _NUMBERS else 'TEXT'}" for column in _COLUMNS.values())},
    document TEXT NOT NULL, words TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS events_id ON events (id);
{_INDICES}
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5(words, content='events', content_rowid='seq');
DROP TRIGGER IF EXISTS events_added;
CREATE TRIGGER IF NOT EXISTS events_dropped AFTER DELETE ON events
    BEGIN INSERT INTO texts(texts, rowid, words) VALUES ('delete', old.seq, old.words); END;
CREATE TABLE IF NOT EXISTS bodies (id TEXT PRIMARY KEY, at INTEGER NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS bodies_at ON bodies (at);
CREATE TABLE IF NOT EXISTS holds (id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (segment TEXT PRIMARY KEY, sequence INTEGER NOT NULL, hash TEXT NOT NULL);
"""
VOLUMES: Final = (
    "CREATE TABLE volumes (minute INTEGER PRIMARY KEY, events INTEGER NOT NULL)",
    f"INSERT INTO volumes SELECT at - at % {MINUTE} AS minute, count(*) FROM events GROUP BY minute",
    f"""CREATE TRIGGER volumes_added AFTER INSERT ON events BEGIN
    INSERT OR IGNORE INTO volumes VALUES (new.at - new.at % {MINUTE}, 0);
    UPDATE volumes SET events = events + 1 WHERE minute = new.at - new.at % {MINUTE}; END""",
    f"""CREATE TRIGGER volumes_dropped AFTER DELETE ON events BEGIN
    UPDATE volumes SET events = events - 1 WHERE minute = old.at - old.at % {MINUTE}; END""",
)
"""How many events each minute holds, from what is there, and from then on as they come and go: in one transaction."""
TEXTS: Final = "INSERT INTO texts(rowid, words) SELECT seq, words FROM events WHERE seq > ?"
"""The words of a batch, once it is in: event by event, as a trigger did, took three times as long. A program of before
makes its trigger again when it starts."""
INSERT: Final = (
    f"INSERT OR IGNORE INTO events (at, {', '.join(_COLUMNS.values())}, document, words)"
    f" VALUES ({', '.join('?' * (len(_COLUMNS) + 3))})"
)


def of_time_alone(where: Filter, by: Sequence[str], percentiles: Sequence[float]) -> bool:
    """Whether it is all about when events were, which is kept by the minute as they come."""
    return not (where.terms or where.at_most or where.text or by or percentiles)


def whole_minutes(where: Filter, last: int) -> tuple[int, int]:
    """From when until when the filter's time has whole minutes; `last`: where it ends when it has no end."""
    since, until = where.since or 0, last if where.until is None else where.until
    first = since + -since % MINUTE
    return first, max(first, until - until % MINUTE)


def grouped(start: str, field: str | None, source: str, conditions: str) -> str:
    """Counts per value of one field, or of all, in the order of its index. A missing value is ""."""
    name = "NULL" if field is None else _COLUMNS[field]
    inner = f"SELECT {name} AS value, count(*) AS n FROM {source} WHERE {conditions} GROUP BY {name}"
    value = "" if field is None else ", ifnull(value, '') AS g0"
    keys = "start" if field is None else "start, g0"
    return f"SELECT {start} AS start{value}, sum(n) FROM ({inner}) GROUP BY {keys} ORDER BY {keys}"


def counting(chosen: str, keys: list[str], percentiles: Sequence[float]) -> str:
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


_COUNTED: Final = {name for name, column in _COLUMNS.items() if column in INDICES["events_count"]}
_WIDE: Final = {name for name, column in _COLUMNS.items() if column in _FILTERED}
_OWN: Final = {
    name: index
    for index, (first, *_) in INDICES.items()
    for name, column in _COLUMNS.items()
    if column == first and index != "events_glass"
}
"""Field → an index of all events in which it comes first."""
_RARE: Final = {"understudy.patient.id", "understudy.resource.id", "event.id", "http.request.id", "understudy.verdict"}
"""Fields a value of which few events have: these are looked up one by one."""
MUCH: Final = 0.1
"""The share of the kept time from which on walking through a whole index, in the order of what is counted, is quicker
than sorting what the time holds."""


def source(where: Filter, by: Sequence[str], share: float, there: Collection[str]) -> tuple[str, bool]:
    """Where counts are read, and whether in the order of what is counted, so that nothing need be sorted. `share`: of
    all the time that is kept, what the filter's time is. `there`: the store's indices; one of before may lack some."""
    index, in_order = _best_index(where, by, share)
    return (f"events INDEXED BY {index}", in_order) if index in there else ("events", False)


def _best_index(where: Filter, by: Sequence[str], share: float) -> tuple[str | None, bool]:
    used = {*where.terms, *where.at_most, *by}
    if where.text is None and _RARE & where.terms.keys():
        return None, False
    if not by and len(used) == 1 and used <= _OWN.keys() and where.text is None:
        return _OWN[next(iter(used))], True
    if used <= _WIDE and "user.name" in where.terms and where.text is None:
        return "events_user", False
    if used <= _WIDE and where.text is None and all(map(_is_error, where.terms.get(_STATUS, [""]))):
        return "events_status", False
    index = _OWN.get(by[0]) if len(by) == 1 and share >= MUCH else None
    alone = used == {*by} and where.text is None
    if index is not None and (alone or (used <= _WIDE and INDICES[index] == _counting(_COLUMNS[by[0]]))):
        return index, True
    return ("events_count" if used <= _COUNTED else None), False


def _is_error(status: str) -> bool:
    """Whether few events have this status."""
    return status >= "400"


def condition(where: Filter) -> tuple[str, list[Any]]:
    parts, values = ["1"], list[Any]()
    if where.since is not None:
        parts.append("at >= ?")
        values.append(where.since)
    if where.until is not None:
        parts.append("at < ?")
        values.append(where.until)
    for name, accepted in where.terms.items():
        given = [value for value in accepted if value]
        parts.append(_accepts(name, len(given), "" in accepted))
        values += given
    for name, most in where.at_most.items():
        column = column_of(name) if name in _COLUMNS else f"json_extract(document, '{_json_path(name)}')"
        parts.append(f"{column} <= ?")
        values.append(most)
    if where.text is not None and (words := re.findall(r"[^\W_]+", where.text)):
        # the plus: walk the pages newest first and look up, rather than sort all that match
        parts.append("+seq IN (SELECT rowid FROM texts WHERE texts MATCH ?)")
        values.append(" ".join(f'"{word}"' for word in words))
    return " AND ".join(parts), values


def _accepts(name: str, given: int, none: bool) -> str:
    """That a field has one of so many values, or `none`."""
    marks = ", ".join("?" * given)
    if name in _COLUMNS:
        some, missing = f"{_COLUMNS[name]} IN ({marks})", f"{_COLUMNS[name]} IS NULL"
    else:  # of a field with several values, any
        source = f"json_each(document, '{_json_path(name)}')"
        some = f"EXISTS (SELECT 1 FROM {source} WHERE CAST(value AS TEXT) IN ({marks}))"
        missing = f"json_extract(document, '{_json_path(name)}') IS NULL"
    if not none:
        return some
    return f"({some} OR {missing})" if given else missing


def is_held(holds: Sequence[Hold]) -> tuple[str, list[Any]]:
    """Of an event: 1 where a hold matches it, else 0 or NULL."""
    found = [condition(hold.where) for hold in holds]
    return " OR ".join(f"({sql})" for sql, _ in found) or "0", [value for _, values in found for value in values]


def column_of(name: str) -> str:
    """A field's column, or the expression that reads it."""
    return _COLUMNS.get(name) or f"CAST(json_extract(document, '{_json_path(name)}') AS TEXT)"


def _json_path(name: str) -> str:
    if not _FIELD.fullmatch(name):
        raise ValueError(f"a field path such as user.name; found {name!r}")
    return "$" + "".join(f'."{part}"' for part in name.split("."))


def event_row(document: Event) -> tuple[Any, ...]:
    at = parse_rfc3339(_at(document, _TIME))
    values = []
    for path, kind in _KINDS:
        value = _at(document, path)
        if value is not None and type(value) is not kind:
            raise ValueError(f"{'.'.join(path)}: expected {kind.__name__}; found {value!r}")
        values.append(value)
    if not values[0]:
        raise ValueError("event.id: required")
    if (address := _at(document, _ADDRESS)) is not None:
        ip_address(address)
    words = " ".join(str(value) for name in _WORDS if (value := _at(document, name)) is not None)
    return at, *values, orjson.dumps(document).decode(), words


def body_row(document: Event) -> tuple[Any, ...]:
    identity = _at(document, _ID)
    if not isinstance(identity, str) or not identity:
        raise ValueError("event.id: required")
    return identity, parse_rfc3339(_at(document, _TIME)), orjson.dumps(document).decode()


def _at(document: Event, path: Sequence[str]) -> Any:
    value: Any = document
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
