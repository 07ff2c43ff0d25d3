"""Callers, known only by credentials that the upstream itself has accepted, kept as salted scrypt hashes.

Nothing here is written in the clear. scrypt is slow on purpose: it runs once per credential and process, and off the
request path where the upstream has just vouched for the caller.
"""

from __future__ import annotations

import os
import threading
import time
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select
from werkzeug.security import check_password_hash, generate_password_hash

from sidecar.standby import queries
from sidecar.standby.tables import credentials, meta, revocations

VERSION: Final = "credentials_version"
_REVOKED: Final = select(revocations.c.user)


class Standing(StrEnum):
    """What is known of a caller."""

    KNOWN = "known"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    REVOKED = "revoked"


class Callers:
    """One per process; all share the tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._key = os.urandom(32)
        self._accepted: set[bytes] = set()
        self._kept: set[bytes] = set()
        self._lock = threading.Lock()
        self._revoked: frozenset[str] = frozenset()
        self._version = 0

    def is_revoked(self, user: str) -> bool:
        """From memory: at most as old as the last refresh."""
        return user in self._revoked

    def check(self, user: str, password: str) -> Standing:
        """Whether the upstream has accepted these credentials before. May take some 60 ms, once per credential."""
        if self.is_revoked(user):
            return Standing.REVOKED
        digest = self._digest(user, password)
        if digest in self._accepted:
            return Standing.KNOWN
        with self._reader.connect() as connection, connection.begin():
            hashes = connection.scalars(select(credentials.c.hash).where(credentials.c.user == user)).all()
        if any(check_password_hash(stored, password) for stored in hashes):
            self._accepted.add(digest)
            self._kept.add(digest)
            return Standing.KNOWN
        return Standing.WRONG if hashes else Standing.UNKNOWN

    def is_new(self, user: str, password: str) -> bool:
        """Whether this process has yet to remember these credentials; the caller then calls `remember`."""
        digest = self._digest(user, password)
        with self._lock:
            if digest in self._accepted:
                return False
            self._accepted.add(digest)
            return True

    def remember(self, user: str, password: str) -> None:
        """Keeps credentials that the upstream has accepted. Slow; safe to repeat."""
        with self._reader.connect() as connection, connection.begin():
            hashes = connection.scalars(select(credentials.c.hash).where(credentials.c.user == user)).all()
        if not any(check_password_hash(stored, password) for stored in hashes):
            row = {"user": user, "hash": generate_password_hash(password, "scrypt"), "accepted_at": time.time_ns()}
            with self._engine.begin() as connection:
                connection.execute(insert(credentials).values(row))
        self._kept.add(self._digest(user, password))

    def keep(self, user: str, password: str) -> None:
        """Credentials that the upstream has accepted, and still does, are on disk when this returns. Slow once each."""
        digest = self._digest(user, password)
        if digest in self._accepted and digest not in self._kept:
            self.remember(user, password)

    def may_know(self, user: str, password: str) -> bool:
        """Whether a refusal by the upstream could be news, from memory."""
        return self._digest(user, password) in self._accepted

    def reject(self, user: str, password: str) -> None:
        """The upstream refuses these credentials: they are forgotten if they were kept. Slow."""
        with self._reader.connect() as connection, connection.begin():
            query = select(credentials.c.id, credentials.c.hash).where(credentials.c.user == user)
            stored = connection.execute(query).all()
        stale = [row.id for row in stored if check_password_hash(row.hash, password)]
        if stale:
            with self._engine.begin() as connection:
                connection.execute(delete(credentials).where(credentials.c.id.in_(stale)))
                bump(connection, VERSION)
        self._accepted.discard(self._digest(user, password))
        self._kept.discard(self._digest(user, password))

    def forget(self, connection: Connection, user: str) -> None:
        """The user's password has changed: what was accepted before no longer counts."""
        connection.execute(delete(credentials).where(credentials.c.user == user))
        bump(connection, VERSION)
        self._clear()

    def _clear(self) -> None:
        self._accepted.clear()
        self._kept.clear()

    def revoke(self, user: str) -> None:
        """Refuses the user from now on, in every process after its next refresh."""
        with self._engine.begin() as connection:
            connection.execute(delete(revocations).where(revocations.c.user == user))
            connection.execute(insert(revocations).values(user=user, at=time.time_ns()))
        self._revoked |= {user}

    def restore(self, user: str) -> None:
        """Takes a revocation back."""
        with self._engine.begin() as connection:
            connection.execute(delete(revocations).where(revocations.c.user == user))
        self._revoked -= {user}

    def refresh(self, connection: Connection) -> None:
        """Looks at what other processes did."""
        self._revoked = frozenset(connection.scalars(_REVOKED))
        version = queries.number(connection, VERSION)
        if version != self._version:
            self._version = version
            self._clear()

    def _digest(self, user: str, password: str) -> bytes:
        """Keyed, and as quick as a lookup must be: each request of a known user asks."""
        return blake2b(f"{user}\0{password}".encode("utf-8", "surrogateescape"), key=self._key, digest_size=32).digest()


def bump(connection: Connection, name: str, value: int | None = None) -> None:
    """Sets a number in `meta`: one more than it was, or `value`."""
    current = connection.scalar(select(meta.c.value).where(meta.c.name == name))
    if current is None:
        connection.execute(insert(meta).values(name=name, value=1 if value is None else value))
    else:
        new = current + 1 if value is None else value
        connection.execute(meta.update().where(meta.c.name == name).values(value=new))
