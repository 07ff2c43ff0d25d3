"""What waits of somebody who is revoked is sent no more, unless a person says so of the entry."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from sidecar.standby.known_callers import person_of, who_is_revoked
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import State


def is_revoked(connection: Connection, user: str) -> bool:
    """By the database, and not by what this process knew a moment ago."""
    return person_of(user) in who_is_revoked(connection)


def revoked_since(row: Any) -> str:
    """Why the entry is parked."""
    doubt = ", and whether it has taken effect is not known" if row.sent else ""
    return f"revoked: {row.user} is refused since it was accepted{doubt}"


def park_those_of(connection: Connection, user: str) -> None:
    """Parks what waits of theirs; what is being sent is judged by its answer."""
    for row in box.unsettled(connection, (State.PENDING, State.UNCLEAR)):
        if person_of(row.user) == person_of(user):
            box.change(connection, row.id, state=State.PARKED, reason=revoked_since(row), proposal="discard")
