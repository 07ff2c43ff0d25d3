"""What the standby keeps: the tables. SQLite or PostgreSQL, by one code path.

The rule of every table is in knowledge.py. Stamps are sidecar.clock's; `observed` and `accepted_at` are wall time (ns).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, text

from sidecar.storage.database import metadata
from sidecar.storage.encrypted_columns import LockedBytes, LockedText

KNOWN: Final = "known"
GONE: Final = "gone"
DOUBT: Final = "doubt"
READ: Final = "read"
LIST: Final = "list"
WRITE: Final = "write"
MISSING: Final = "missing"
LAGS: Final = "lags"
"""How a record came to be known: it was read, listed, shown or made by a write, or a read said that it is not there;
or it was written, and a read since, which may be of a copy that lags behind, showed it otherwise."""

UNINDEXED: Final = text("(indexed IS NULL OR indexed <> stamp)")
"""Of `records`. In so many words: with a parameter in it, a condition does not find its partial index."""

records: Final = Table(
    "records",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("body", LockedText),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
    Column("source", String(10), nullable=False, server_default=""),
    Column("caller", String(200)),
    Column("indexed", BigInteger),
    Index("records_by_stamp", "type", "stamp"),
    Index("records_unindexed", "type", sqlite_where=UNINDEXED, postgresql_where=UNINDEXED),
    Index("records_by_state", "type", "state"),
)
"""One row a record. `body` is the JSON as the upstream wrote it, less the origin of its URL field; `stamp` orders
knowledge; `observed` is for Age; `source` (read, list, write, missing) and `caller` say how it came to be known;
`indexed`: the stamp by which its references were last indexed (by_reference.py)."""

collections: Final = Table(
    "collections",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("complete", Boolean, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
    Column("private", Boolean, nullable=False, default=False),
    Column("caller", String(200)),
    Column("digest", String(64)),
    Column("listed", Integer, nullable=False, server_default="0"),
)
"""Whether every record of a resource is known; `private` once the upstream was seen to show it to some callers only.
`caller`, `digest` and `listed` (records) are of the last list: who was shown it, what it said."""

writes: Final = Table(
    "writes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("endpoint", String(200), nullable=False),
    Column("type", String(100), nullable=False),
    Column("record", String(100)),
    Column("user", Text),
    Column("process", String(200), nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("outcome", String(10), nullable=False),
    Column("fields", Text),
    Index("writes_by_record", "type", "record"),
    Index("writes_open", "ended"),
)
"""Intents. `outcome`: open while under way, then success, failure (nothing took effect), unknown, or accepted (the
outbox has it; also `queued` until then).
`fields` are those of a create by which its resource's lists can be filtered, as JSON; None: it could be in any list."""

sightings: Final = Table(
    "sightings",
    metadata,
    Column("caller", String(200), primary_key=True),
    Column("type", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
)
"""Records that a caller was shown, or created."""

views: Final = Table(
    "views",
    metadata,
    Column("caller", String(200), primary_key=True),
    Column("type", String(100), primary_key=True),
    Column("filters", String(500), primary_key=True),
    Column("ids", Text, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
)
"""The ids of the last clean list that a caller was shown, by its filters; kept where callers see different records."""

credentials: Final = Table(
    "credentials",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("user", String(200), nullable=False, index=True),
    Column("hash", String(300), nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False, server_default="0"),
)
"""`seen_at`: when the upstream last accepted them, to half a day; of time.time_ns()."""

retirements: Final = Table(
    "retirements",
    metadata,
    Column("user", String(200), primary_key=True),
    Column("version", BigInteger, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
)
"""Per person (the name folded), the stamp before which no credential of theirs counts; `version`: of
`credentials_version` at the time, so that other processes find what is new."""

revocations: Final = Table(
    "revocations", metadata, Column("user", String(200), primary_key=True), Column("at", BigInteger, nullable=False)
)
identities: Final = Table(
    "identities", metadata, Column("caller", String(200), primary_key=True), Column("id", String(100), nullable=False)
)
"""Which record is the caller's own, from endpoints with `x-understudy-self`."""

replies: Final = Table(
    "replies",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("kind", String(40), primary_key=True),
    Column("status", Integer, nullable=False),
    Column("content_type", String(200), nullable=False),
    Column("body", LockedBytes, nullable=False),
    Column("observed", BigInteger, nullable=False),
)
"""The upstream's own words: `page` of a public endpoint, `good` (status and type only) and `missing` (its 404)."""

calls: Final = Table(
    "calls",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("input", String(64), primary_key=True),
    Column("status", Integer, nullable=False),
    Column("content_type", String(200), nullable=False),
    Column("body", LockedBytes, nullable=False),
    Column("observed", BigInteger, nullable=False, index=True),
)
"""Answers of pure calls as the release before keeps them, which may run beside this one. Nothing is answered from it:
it does not say to whom they were given."""

meta: Final = Table(
    "standby_meta", metadata, Column("name", String(100), primary_key=True), Column("value", BigInteger, nullable=False)
)
"""`verified_since`: what is known by an older stamp is unverified. `changed:<type>`, `credentials_version`."""

owners: Final = Table(
    "owners",
    metadata,
    Column("type", String(100), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Resources that the standby owns: the upstream is asked about them no longer."""
