"""What the outbox keeps, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, select

from sidecar.database import create_all
from sidecar.standby import outbox as box
from sidecar.standby.outbox import CLAIMS, KEPT, State

HOUR = 3600 * 10**9


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    create_all(engine)
    with engine.begin() as connection:
        yield connection


def entry(connection: Connection, ident: str, state: State, at: int, *, sent: bool = False) -> None:
    blank: dict[str, Any] = {
        "endpoint": "notes.create", "type": "notes", "action": "create", "record": ident, "user": "Dr Holt",
        "method": "POST", "target": "/notes", "request_id": "r", "fields": "{}", "whole": False, "attempts": 0,
        "due": 0, "token": 0,
    }  # fmt: skip
    connection.execute(insert(box.outbox).values(id=ident, state=state, accepted_at=at, sent=sent, **blank))


def test_old_settled_entries_go_and_what_is_unsettled_stays(connection: Connection) -> None:
    now = time.time_ns()
    for state in State:
        entry(connection, f"old {state}", state, now - KEPT - HOUR)
        entry(connection, f"new {state}", state, now - HOUR)
    box.prune(connection, now)
    left = set(connection.scalars(select(box.outbox.c.id)))
    gone = {f"old {State.SETTLED}", f"old {State.DISCARDED}"}
    assert left == {f"{age} {state}" for age in ("old", "new") for state in State} - gone


@pytest.mark.parametrize("unclear", [False, True])
def test_made_ids_stay_while_an_unclear_create_could_take_one_for_its_own(
    connection: Connection, unclear: bool
) -> None:
    now = time.time_ns()
    entry(connection, "unclear", State.UNCLEAR, now - 3 * HOUR, sent=unclear)
    for ident, at in (("1", now - 5 * HOUR), ("2", now - 2 * HOUR), ("3", now - CLAIMS // 2)):
        connection.execute(insert(box.made).values(type="notes", id=ident, stamp=at))
    box.prune(connection, now)
    assert set(connection.scalars(select(box.made.c.id))) == ({"2", "3"} if unclear else {"3"})
