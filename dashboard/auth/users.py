"""Who may use the dashboard, and as what: users, passwords, roles.

Passwords are checked in the same time whether the name exists or not. Nothing here knows a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.security import check_password_hash, generate_password_hash

from dashboard.data.tables import sessions, users

SCRYPT: Final = "scrypt:32768:8:1"
SHORTEST: Final = 12
LONGEST: Final = 200


class AccessError(ValueError):
    """A user, role or password that cannot be; the message is for the person who gave it."""


class Role(StrEnum):
    """Each includes the one before. `disclosure` makes the access log of a patient, and reads nothing else."""

    DISCLOSURE = "disclosure"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class User:
    """Someone who may sign in. `local`: with a password of ours; else by OpenID Connect."""

    name: str
    role: Role
    local: bool
    created_at: int


class Users:
    """The users in DATABASE."""

    def __init__(self, engine: Engine, clock: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._clock = clock
        self._nobody = _nobody()

    def add(self, name: str, role: Role, password: str) -> None:
        """Raises AccessError when the name is taken or unfit, or the password is too short."""
        row = {"name": fit_name(name), "role": str(role), "password": _hash(password), "created_at": self._clock()}
        try:
            with self._engine.begin() as connection:
                taken = connection.execute(select(users.c.name)).scalars().all()
                like = next((other for other in taken if other.casefold() == name.casefold()), None)
                if like is not None:
                    raise AccessError(f"there is a user {like!r} already")
                connection.execute(insert(users).values(row))
        except IntegrityError:
            raise AccessError(f"there is a user {name!r} already") from None

    def set_password(self, name: str, password: str) -> None:
        """Ends the user's sessions too: whoever knew the old password is out."""
        hashed = _hash(password)
        with self._engine.begin() as connection:
            changed = connection.execute(update(users).where(users.c.name == name).values(password=hashed))
            connection.execute(delete(sessions).where(sessions.c.user == name))
        _found(changed.rowcount, name)

    def set_role(self, name: str, role: Role) -> None:
        """Holds from the user's next request."""
        with self._engine.begin() as connection:
            changed = connection.execute(update(users).where(users.c.name == name).values(role=str(role)))
        _found(changed.rowcount, name)

    def remove(self, name: str) -> None:
        with self._engine.begin() as connection:
            changed = connection.execute(delete(users).where(users.c.name == name))
            connection.execute(delete(sessions).where(sessions.c.user == name))
        _found(changed.rowcount, name)

    def all(self) -> list[User]:
        with self._reader.connect() as connection:
            return [_user(row) for row in connection.execute(select(users).order_by(users.c.name))]

    def find(self, name: str) -> User | None:
        with self._reader.connect() as connection:
            row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
        return None if row is None else _user(row)

    def check(self, name: str, password: str) -> User | None:
        """The user, if that is the password."""
        with self._reader.connect() as connection:
            row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
        kept = row.password if row is not None and row.password else self._nobody
        right = check_password_hash(kept, password[: LONGEST + 1])
        return _user(row) if right and row is not None and row.password else None

    def adopt(self, subject: str, name: str, role: Role) -> User:
        """The user whom an identity provider vouches for, made at the first sign-in, with the role it gives now.

        Raises AccessError when the name belongs to someone else.
        """
        values: Mapping[str, Any] = {"name": fit_name(name), "role": str(role)}
        try:
            with self._engine.begin() as connection:
                known = connection.execute(select(users).where(users.c.subject == subject)).one_or_none()
                if known is not None:
                    connection.execute(update(users).where(users.c.subject == subject).values(role=str(role)))
                    return User(known.name, role, False, known.created_at)
                now = self._clock()
                connection.execute(insert(users).values(**values, subject=subject, created_at=now))
        except IntegrityError:
            raise AccessError(f"the name {name!r} belongs to another user of the dashboard") from None
        return User(name, role, False, now)


def fit_name(name: str) -> str:
    """Raises AccessError for a name that cannot be shown or told apart."""
    if not name or len(name) > 100 or name != " ".join(name.split()) or not name.isprintable():
        raise AccessError(f"a user's name: expected 1 to 100 printable characters; found {name!r}")
    return name


@cache
def _nobody() -> str:
    """Whose password is wrong: a name that nobody has takes as long to refuse as any other."""
    return generate_password_hash("nobody's password", SCRYPT)


def _hash(password: str) -> str:
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccessError(f"a password: expected {SHORTEST} to {LONGEST} characters; found {len(password)}")
    return generate_password_hash(password, SCRYPT)


def _found(rows: int, name: str) -> None:
    if not rows:
        raise AccessError(f"there is no user {name!r}")


def _user(row: Any) -> User:
    return User(row.name, Role(row.role), row.password is not None, row.created_at)
