"""Callers, known only by credentials that the upstream itself has accepted, kept as salted scrypt hashes.

Nothing here is written in the clear. scrypt is slow and large on purpose (60 ms, 32 MB): it runs once per credential
and process, a few at a time whatever comes, and off the request path where the upstream has just vouched for the
caller. Of one person (whatever the spelling of the name) the newest accepted credential alone counts; one accepted by
an answer that was asked for before the person's were retired counts no more.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, insert, select, update
from werkzeug.security import check_password_hash, generate_password_hash

from sidecar.clock import earliest, stamp
from sidecar.http.credentials import folded
from sidecar.standby import queries
from sidecar.standby.numbers import bump
from sidecar.standby.tables import credentials, retirements, revocations
from sidecar.timeunits import SECOND

VERSION: Final = "credentials_version"
_REVOKED: Final = select(revocations.c.user)
AT_ONCE: Final = 2
"""scrypts at one time in a process: each takes 32 MB and a core."""
PATIENCE: Final = 1.0
"""Seconds for which a request waits for its turn at scrypt; then nobody can say who it is, for now."""
REMEMBERED: Final = 10_000
"""Credentials accepted, and as many found wrong, that a process knows by a digest; the longest unused goes."""
WRONG_FOR: Final = 10.0
"""Seconds for which a wrong password is known to be wrong without asking again: another process may have learned it."""
SEEN_EVERY: Final = 12 * 3600.0
"""Seconds after which credentials in use are noted as seen again."""
ALTERNATE: Final = 10 * SECOND
"""ns in which one person's credentials replace one another once: two that are both good would do it at each request."""
LONGEST: Final = 200
"""Characters of a user's name: the column's width."""


class Standing(StrEnum):
    """What is known of a caller."""

    KNOWN = "known"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    REVOKED = "revoked"


@dataclass
class _Accepted:
    """Credentials that the upstream accepted in an answer asked for at `began` (a stamp)."""

    person: str
    began: int
    noted: float
    """When they were taken note of, of time.monotonic()."""
    kept: bool = False
    """They are on disk."""


@dataclass
class _Scrypt:
    """Bounds the work that guesses cause: a few at once in a process, and one at a time for one name."""

    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_ONCE))
    busy: set[str] = field(default_factory=set)
    lock: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def turn(self, person: str, patience: float) -> Iterator[bool]:
        """Whether it has become our turn within so many seconds."""
        until = time.monotonic() + patience
        with self.lock:
            if not self.lock.wait_for(lambda: person not in self.busy, patience):
                yield False
                return
            self.busy.add(person)
        try:
            got = self.slots.acquire(timeout=max(0.0, until - time.monotonic()))
            try:
                yield got
            finally:
                if got:
                    self.slots.release()
        finally:
            with self.lock:
                self.busy.discard(person)
                self.lock.notify_all()


class Callers:
    """One per process; all share the tables. `keep_for`: seconds unseen after which credentials count no more."""

    def __init__(self, engine: Engine, keep_for: float = 30 * 86400.0) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._key = os.urandom(32)
        self._keep_for = int(keep_for * SECOND)
        self._accepted: OrderedDict[bytes, _Accepted] = OrderedDict()
        self._wrong: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._retired: dict[str, int] = {}
        self._scrypt = _Scrypt()
        self._lock = threading.Lock()
        self._revoked: frozenset[str] = frozenset()
        self._version = 0

    # Asked on the request path ------------------------------------------------------------------------------------

    def is_revoked(self, user: str) -> bool:
        """From memory: at most as old as the last refresh. Whatever the spelling."""
        return bool(self._revoked) and person_of(user) in self._revoked

    def is_known(self, user: str, password: str) -> bool:
        """Whether this process knows that the upstream has accepted these credentials; from memory."""
        return self._digest(user, password) in self._accepted and not self.is_revoked(user)

    def needs_proof(self, user: str, password: str) -> bool:
        """Whether an answer that proves these credentials would be news, or has not been seen for long; from memory."""
        known = self._accepted.get(self._digest(user, password))
        return known is None or not _is_fresh(known)

    def check(self, user: str, password: str) -> Standing:
        """Whether the upstream has accepted these credentials before. May take some 60 ms, once per credential.

        UNKNOWN also where too many ask at once to find out.
        """
        if self.is_revoked(user):
            return Standing.REVOKED
        digest, person = self._digest(user, password), person_of(user)
        known = self._from_memory(digest)
        if known is not None:
            return known
        began = earliest()
        hashes = [row.hash for row in self._rows(user)]
        if not hashes:
            return Standing.UNKNOWN
        with self._scrypt.turn(person, PATIENCE) as our_turn:
            known = self._from_memory(digest)  # another request may have found out while we waited
            if known is not None or not our_turn:
                return known or Standing.UNKNOWN
            good = any(check_password_hash(stored, password) for stored in hashes)
        with self._lock:
            if good and self._retired.get(person, 0) < began:
                _put(self._accepted, digest, _Accepted(person, began, time.monotonic(), kept=True))
                return Standing.KNOWN
            if not good:
                _put(self._wrong, digest, (person, time.monotonic() + WRONG_FOR))
        return Standing.UNKNOWN if good else Standing.WRONG

    def _from_memory(self, digest: bytes) -> Standing | None:
        with self._lock:
            if digest in self._accepted:
                self._accepted.move_to_end(digest)
                return Standing.KNOWN
            wrong = self._wrong.get(digest)
            if wrong is not None and wrong[1] > time.monotonic():
                self._wrong.move_to_end(digest)
                return Standing.WRONG
        return None

    # Learned from the upstream's answers --------------------------------------------------------------------------

    def is_new(self, user: str, password: str, began: int | None = None) -> bool:
        """Whether this process has yet to remember these credentials; the caller then calls `remember`, or `put_off`
        where it cannot. `began`: the stamp at which the answer that proves them was asked for; None: just now."""
        began, digest, person = earliest() if began is None else began, self._digest(user, password), person_of(user)
        if len(user) > LONGEST:
            return False
        with self._lock:
            if self._retired.get(person, 0) >= began:
                return False
            known = self._accepted.get(digest)
            if known is not None and _is_fresh(known):
                self._accepted.move_to_end(digest)
                return False
            if began - self._retired.get(person, -ALTERNATE) < ALTERNATE and any(
                other.person == person and other.kept for other in self._accepted.values()
            ):
                return False
            self._wrong.pop(digest, None)
            _put(self._accepted, digest, _Accepted(person, began, time.monotonic()))
            return True

    def put_off(self, user: str, password: str) -> None:
        """They could not be remembered now: the next answer that proves them is another chance."""
        with self._lock:
            self._accepted.pop(self._digest(user, password), None)

    def remember(self, user: str, password: str) -> None:
        """Keeps credentials that the upstream has accepted, instead of the person's others. Slow; safe to repeat."""
        digest, person = self._digest(user, password), person_of(user)
        known = self._accepted.get(digest)
        if known is None:
            return  # retired meanwhile
        stored = self._rows(user)
        same = next((row.id for row in stored if check_password_hash(row.hash, password)), None)
        new = None if same is not None else hashed(password)
        now = time.time_ns()
        with self._engine.begin() as connection:
            retired = connection.scalar(select(retirements.c.at).where(retirements.c.user == person)) or 0
            others = [row for row in self._of(connection, person) if row.id != same]
            if retired >= known.began or (others and known.began - retired < ALTERNATE):
                self.put_off(user, password)
                return
            if others:
                connection.execute(delete(credentials).where(credentials.c.id.in_([row.id for row in others])))
                self._note_retired(connection, person, known.began - 1)
            if new is not None:
                row = {"user": user, "hash": new, "accepted_at": now, "seen_at": now}
                connection.execute(insert(credentials).values(row))
            else:
                connection.execute(update(credentials).where(credentials.c.id == same).values(seen_at=now))
        with self._lock:
            if others:
                self._retired[person] = max(self._retired.get(person, 0), known.began - 1)
                self._drop(person, but=digest)
            known.kept = True

    def keep(self, user: str, password: str) -> None:
        """Credentials that the upstream has accepted, and still does, are on disk when this returns. Slow once each."""
        known = self._accepted.get(self._digest(user, password))
        if known is not None and not known.kept:
            self.remember(user, password)

    def reject(self, user: str, password: str) -> None:
        """The upstream refuses these credentials: they are forgotten if they were kept. Slow."""
        person = person_of(user)
        stale = [row.id for row in self._rows(user) if check_password_hash(row.hash, password)]
        if stale:
            with self._engine.begin() as connection:
                connection.execute(delete(credentials).where(credentials.c.id.in_(stale)))
                self._note_retired(connection, person, stamp())
        with self._lock:
            self._accepted.pop(self._digest(user, password), None)
            if stale:
                self._drop(person)

    def replace(self, connection: Connection, user: str, hash: str) -> None:
        """From now on the person signs in with the password of this `hashed`, by a write that we ourselves confirm."""
        self.forget(connection, user)
        now = time.time_ns()
        connection.execute(insert(credentials).values(user=user, hash=hash, accepted_at=now, seen_at=now))

    def has(self, connection: Connection, user: str) -> bool:
        """Whether anything is kept of the person."""
        return bool(self._of(connection, person_of(user)))

    def forget(self, connection: Connection, user: str) -> None:
        """The person's password has changed, or the person is gone: what was accepted before no longer counts."""
        person = person_of(user)
        ids = [row.id for row in self._of(connection, person)]
        connection.execute(delete(credentials).where(credentials.c.id.in_(ids)))
        self._note_retired(connection, person, stamp())
        with self._lock:
            self._retired[person] = stamp()
            self._drop(person)

    # Revocation, and what other processes did ----------------------------------------------------------------------

    def revoke(self, user: str) -> None:
        """Refuses the user from now on, in every process after its next refresh."""
        with self._engine.begin() as connection:
            connection.execute(delete(revocations).where(revocations.c.user == user))
            connection.execute(insert(revocations).values(user=user, at=time.time_ns()))
        self._revoked |= {person_of(user)}

    def restore(self, user: str) -> None:
        """Takes a revocation back, however it was spelled."""
        person = person_of(user)
        with self._engine.begin() as connection:
            names = [name for name in connection.scalars(_REVOKED) if person_of(name) == person]
            connection.execute(delete(revocations).where(revocations.c.user.in_(names)))
        self._revoked -= {person}

    def refresh(self, connection: Connection) -> None:
        """Looks at what other processes did."""
        self._revoked = who_is_revoked(connection)
        version = queries.number(connection, VERSION)
        if version == self._version:
            return
        rows = connection.execute(select(retirements).where(retirements.c.version > self._version)).all()
        with self._lock:
            for row in rows:
                if row.at > self._retired.get(row.user, 0):
                    self._retired[row.user] = row.at
                    self._drop(row.user, since=row.at)
        self._version = version

    def expire(self) -> None:
        """Removes credentials that nobody has used for CREDENTIALS_FOR."""
        latest = time.time_ns() - self._keep_for
        unseen = (credentials.c.accepted_at < latest) & (credentials.c.seen_at < latest)
        with self._reader.connect() as connection:
            gone = connection.scalars(select(credentials.c.user).where(unseen)).all()
        if gone:
            with self._engine.begin() as connection:
                connection.execute(delete(credentials).where(unseen))

    # ---------------------------------------------------------------------------------------------------------------

    def _rows(self, user: str) -> list[Any]:
        """What is kept for exactly this name, and has been seen not too long ago."""
        query = select(credentials).where(credentials.c.user == user)
        latest = time.time_ns() - self._keep_for
        with self._reader.connect() as connection, connection.begin():
            rows = connection.execute(query).all()
        return [row for row in rows if max(row.accepted_at, row.seen_at) >= latest]

    def _of(self, connection: Connection, person: str) -> list[Any]:
        """What is kept for the person, under any spelling of the name."""
        rows: Iterable[Any] = connection.execute(select(credentials.c.id, credentials.c.user))
        return [row for row in rows if person_of(row.user) == person]

    def _note_retired(self, connection: Connection, person: str, at: int) -> None:
        version = bump(connection, VERSION)
        connection.execute(delete(retirements).where(retirements.c.user == person))
        connection.execute(insert(retirements).values(user=person, version=version, at=at))

    def _drop(self, person: str, but: bytes | None = None, since: int | None = None) -> None:
        """With the lock held: what is remembered of the person, all or what was accepted up to `since`, is not so."""
        for digest, known in list(self._accepted.items()):
            if known.person == person and digest != but and (since is None or known.began <= since):
                del self._accepted[digest]
        for digest in [digest for digest, wrong in self._wrong.items() if wrong[0] == person]:
            del self._wrong[digest]

    def _digest(self, user: str, password: str) -> bytes:
        """Keyed, and as quick as a lookup must be: each request of a known user asks."""
        return blake2b(f"{user}\0{password}".encode("utf-8", "surrogateescape"), key=self._key, digest_size=32).digest()


def hashed(password: str) -> str:
    """A salted scrypt hash. Slow."""
    return generate_password_hash(password, "scrypt")


def who_is_revoked(connection: Connection) -> frozenset[str]:
    """As `person_of` gives them."""
    return frozenset(person_of(user) for user in connection.scalars(_REVOKED))


def person_of(user: str) -> str:
    """Whose name it is, however spelled."""
    return folded(user)[:LONGEST]


def _is_fresh(known: _Accepted) -> bool:
    return time.monotonic() - known.noted < SEEN_EVERY


def _put(known: OrderedDict[bytes, Any], digest: bytes, value: Any) -> None:
    """Into a memory that evicts what was not used for longest."""
    known[digest] = value
    known.move_to_end(digest)
    while len(known) > REMEMBERED:
        known.popitem(last=False)
