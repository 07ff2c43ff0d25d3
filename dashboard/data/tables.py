"""The dashboard's own tables, in DATABASE beside the standby's: who may sign in, who is signed in, and who did what.

Passwords are kept as salted scrypt hashes, session tokens as SHA-256: a copy of the database signs nobody in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, Engine, Integer, MetaData, String, Table, Text, UniqueConstraint

from sidecar.storage.migrate import Schema

SCHEMA: Final = Schema("dashboard", Path(__file__).parent / "migrations")
metadata: Final = MetaData()

users: Final = Table(
    "dashboard_users",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("password", String(300)),
    Column("subject", String(500)),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("subject"),
)
"""`password` is null for people who sign in by OpenID Connect; `subject` is then issuer and subject."""

sessions: Final = Table(
    "dashboard_sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user", String(200), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(300), nullable=False),
)

attempts: Final = Table(
    "dashboard_attempts",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
)
"""Failed sign-ins in a row, per name and per address, and when the next try is allowed."""

trail: Final = Table(
    "dashboard_trail",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("user", String(200), nullable=False, index=True),
    Column("role", String(20), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", String(300), nullable=False),
    Column("previous", String(64)),
    Column("hash", String(64)),
    Column("signer", String(64)),
    Column("signature", String(128)),
)
"""What was done in the dashboard itself: looks at the audit, exports, sign-ins, and every action with its reason. A
chain, signed entry by entry; null in the last four: written before it was one."""

exports: Final = Table(
    "dashboard_exports",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("form", String(10), nullable=False),
    Column("view", Text, nullable=False),
    Column("total", Integer),
    Column("done", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("detail", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
"""Exports under way and finished. `beat`: when the one who makes it last said so; a silent one has died."""


packs: Final = Table(
    "dashboard_packs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("user", String(200), nullable=False),
    Column("title", String(200), nullable=False),
    Column("content", Text, nullable=False),
    Column("manifest", Text, nullable=False),
)
"""Evidence packs: `content` is the JSON Lines that `manifest` signs. Never changed after it was made."""

reviews: Final = Table(
    "dashboard_reviews",
    metadata,
    Column("week", String(10), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("kind", String(100), nullable=False),
    Column("said", Text, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("view", Text, nullable=False),
    Column("found_at", BigInteger, nullable=False),
    Column("signed_by", String(200)),
    Column("signed_at", BigInteger),
    Column("verdict", String(20)),
    Column("note", Text),
)
"""Findings of weeks that are over, and each week itself, as they were found when somebody first looked; `signed_by`:
who has reviewed it, null: nobody yet. Only the sign-off is ever added."""

disclosures: Final = Table(
    "dashboard_disclosures",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("user", String(200), nullable=False, index=True),
    Column("subject", String(200), nullable=False),
    Column("content", Text, nullable=False),
    Column("manifest", Text, nullable=False),
)
"""Access logs of one patient: `content` is the JSON Lines that `manifest` signs. Never changed after it was made."""


def create_all(engine: Engine) -> None:
    """Brings the tables to what this program knows. Raises SchemaError for what a later one has made."""
    SCHEMA.upgrade(engine)
