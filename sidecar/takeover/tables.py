"""The tables of takeover: each endpoint's state, what each process saw of the upstream, and what changed when."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Integer, String, Table, Text

from sidecar.storage.database import metadata

endpoint_states: Final = Table(
    "endpoint_states",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("mode", String(20), nullable=False),
    Column("percent", Float, nullable=False),
    Column("circuit", String(20), nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("backoff", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("circuit_reason", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
)
tallies: Final = Table(
    "tallies",
    metadata,
    Column("process", String(100), primary_key=True),
    Column("endpoint", String(200), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("second", BigInteger, primary_key=True, index=True),
    Column("good", Integer, nullable=False),
    Column("bad", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
)
transitions: Final = Table(
    "transitions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("before", String(20), nullable=False),
    Column("after", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(200), nullable=False),
)
