"""Who is signed in: sessions kept on the server, so that they can be ended there; and the brake on guessing.

A session ends when it was idle for too long, after twelve hours, when its user signs out (here or everywhere), is
removed, or gets a new password. A user's role is read with every request.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, insert, select, update

from dashboard.auth.users import Role, User, Users
from dashboard.data.tables import attempts, sessions, users
from sidecar.timeunits import SECOND

LONGEST: Final = 12 * 3600 * SECOND
TOUCH: Final = 30 * SECOND
"""How exact `seen_at` is: a session in use is not written with every request."""
FREE_TRIES: Final = 5
"""Of a name from one address."""
FREE_TRIES_SHARED: Final = 50
"""Of a name from anywhere, and of an address for anybody: everyone may come from one gateway, and anybody may guess at
anybody's name. Beyond them such tries are slowed down, by SLOWED at the most, so that nobody can shut others out."""
SLOWED: Final = 5 * SECOND
BROWSER_KNOWN: Final = 90 * 24 * 3600 * SECOND
"""How long a browser is known in which someone has signed in. Others' guesses do not hold it up: it has tries of its
own."""
FIRST_PAUSE: Final = 15 * SECOND
LONGEST_PAUSE: Final = 900 * SECOND


class Locked(Exception):
    """Too many failed tries; `seconds` until the next."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed sign-ins; try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Session:
    """Someone signed in. `csrf` must come back with everything that changes something."""

    id: str
    user: str
    role: Role
    csrf: str
    local: bool

    @property
    def only_own(self) -> str | None:
        """Whose access logs they may see: their own alone (their name); None: everybody's."""
        return None if self.role.includes(Role.AUDITOR) else self.user


class Sessions:
    """The sessions in DATABASE."""

    def __init__(self, engine: Engine, users: Users, idle: float, clock: Callable[[], int] = time.time_ns) -> None:
        """`idle` in seconds."""
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._users = users
        self._idle = int(idle * SECOND)
        self._clock = clock

    def sign_in(self, name: str, password: str, address: str, agent: str, browser: str | None = None) -> str | None:
        """The new session's token, or None where name or password is wrong. `browser`: what `known_browser` gave it.
        Raises Locked.

        A try is counted before it is made: many at once are no way around the brake.
        """
        user = self._proven(name, password, address, browser)
        return None if user is None else self.start(user, address, agent)

    def proves(self, name: str, password: str, address: str) -> bool:
        """Whether that is the password; wrong ones count like failed sign-ins. Raises Locked."""
        return self._proven(name, password, address) is not None

    def known_browser(self, user: str, token: str | None) -> str:
        """After a sign-in: what tells this browser from others from now on; `token`: what told it until now."""
        now, key = self._clock(), None if token is None else _browser(token, user)
        with self._engine.begin() as connection:
            old = attempts.c.key.startswith("browser ") & (attempts.c.until < now - BROWSER_KNOWN)
            connection.execute(delete(attempts).where(old))
            if key is not None and connection.scalar(select(attempts.c.key).where(attempts.c.key == key)) is not None:
                _keep(connection, key, 0, now, True)
                return str(token)
            token = secrets.token_urlsafe(32)
            _keep(connection, _browser(token, user), 0, now, False)
        return token

    def _proven(self, name: str, password: str, address: str, browser: str | None = None) -> User | None:
        keys = self._brakes(name, address, browser)
        self._count(keys)
        user = self._users.check(name, password)
        if user is not None:
            with self._engine.begin() as connection:
                connection.execute(update(attempts).where(attempts.c.key.in_(keys)).values(failures=0, until=0))
        return user

    def _brakes(self, name: str, address: str, browser: str | None) -> dict[str, tuple[int, int]]:
        """What a try counts against: its free tries, and the longest pause."""
        if browser is not None:
            key = _browser(browser, name)
            with self._reader.connect() as connection:
                if connection.scalar(select(attempts.c.key).where(attempts.c.key == key)) is not None:
                    return {key: (FREE_TRIES, LONGEST_PAUSE)}
        name = name[:200]
        return {
            f"name {name} from {address}"[:300]: (FREE_TRIES, LONGEST_PAUSE),
            f"name {name}": (FREE_TRIES_SHARED, SLOWED),
            f"address {address}": (FREE_TRIES_SHARED, SLOWED),
        }

    def _count(self, keys: dict[str, tuple[int, int]]) -> None:
        now = self._clock()
        with self._engine.begin() as connection:
            rows = {row.key: row for row in connection.execute(select(attempts).where(attempts.c.key.in_(keys)))}
            wait = max((row.until - now for row in rows.values()), default=0)
            if wait > 0:
                raise Locked(-(-wait // SECOND))
            for key, (free, longest) in keys.items():
                failures = rows[key].failures + 1 if key in rows else 1
                _keep(connection, key, failures, now + min(pause(failures - free), longest), key in rows)

    def start(self, user: User, address: str, agent: str) -> str:
        """A session for someone whose identity is proven; returns its token, which is kept nowhere."""
        token, now = secrets.token_urlsafe(32), self._clock()
        row = {
            "id": _id(token),
            "user": user.name,
            "csrf": secrets.token_urlsafe(32),
            "created_at": now,
            "seen_at": now,
            "address": address[:64],
            "agent": agent[:300],
        }
        with self._engine.begin() as connection:
            dead = (sessions.c.created_at < now - LONGEST) | (sessions.c.seen_at < now - self._idle)
            connection.execute(delete(sessions).where(dead))
            connection.execute(insert(sessions).values(row))
        return token

    def find(self, token: str, used: bool = True) -> Session | None:
        """The living session of a token. `used` False: nobody did anything, a page renewed itself."""
        now, ident = self._clock(), _id(token)
        joined = select(sessions, users.c.role, users.c.password).join(users, users.c.name == sessions.c.user)
        with self._reader.connect() as connection:
            row = connection.execute(joined.where(sessions.c.id == ident)).one_or_none()
        if row is None or now - row.created_at > LONGEST or now - row.seen_at > self._idle:
            return None
        if used and now - row.seen_at > TOUCH:
            with self._engine.begin() as connection:
                connection.execute(update(sessions).where(sessions.c.id == ident).values(seen_at=now))
        return Session(ident, row.user, Role(row.role), row.csrf, row.password is not None)

    def of(self, user: str) -> list[Any]:
        """The user's sessions, newest first: created_at, seen_at, address, agent, id."""
        query = select(sessions).where(sessions.c.user == user).order_by(sessions.c.created_at.desc())
        with self._reader.connect() as connection:
            return list(connection.execute(query))

    def end(self, session: Session) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.id == session.id))

    def end_all(self, user: str) -> int:
        """Signs the user out everywhere; returns how many sessions that were."""
        with self._engine.begin() as connection:
            return connection.execute(delete(sessions).where(sessions.c.user == user)).rowcount


def pause(over: int) -> int:
    """Nanoseconds to wait after so many failures beyond the free ones: 15 s, 30 s, 1 min, … up to 15 min."""
    if over < 0:
        return 0
    return min(FIRST_PAUSE << min(over, 20), LONGEST_PAUSE)


def _keep(connection: Connection, key: str, failures: int, until: int, known: bool) -> None:
    if known:
        connection.execute(update(attempts).where(attempts.c.key == key).values(failures=failures, until=until))
    else:
        connection.execute(insert(attempts).values(key=key, failures=failures, until=until))


def _browser(token: str, user: str) -> str:
    return f"browser {_id(token)} {user[:200]}"


def _id(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()
