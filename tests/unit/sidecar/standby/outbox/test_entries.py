"""What the outbox keeps, and for how long."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from sidecar.clock import stamp
from sidecar.contract import Contract
from sidecar.standby.known_callers import Callers, Standing
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.dependencies import Holds
from sidecar.standby.outbox.entries import CLAIMS, KEPT, Outbox, State
from sidecar.standby.outbox.snapshot import Snapshot
from sidecar.storage.database import open_file
from tests.support.tables import lay

HOUR = 3600 * 10**9


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    lay(engine)
    with engine.begin() as connection:
        yield connection


def entry(connection: Connection, ident: str, state: State, at: int, *, sent: bool = False, **given: Any) -> None:
    blank: dict[str, Any] = {
        "endpoint": "notes.create", "type": "notes", "action": "create", "record": ident, "user": "Dr Holt",
        "method": "POST", "target": "/notes", "request_id": "r", "fields": "{}", "whole": False, "attempts": 0,
        "due": 0, "token": 0, "revision": box.changed(connection),
    }  # fmt: skip
    connection.execute(
        insert(box.outbox).values(id=ident, state=state, accepted_at=at, sent=sent, **{**blank, **given})
    )


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


def test_a_deletion_is_of_the_record_that_its_provisional_id_became(connection: Connection) -> None:
    for ident in ("7", "2000000001", "2000000002"):
        entry(connection, ident, State.UNCLEAR, time.time_ns(), sent=True)
    connection.execute(box.outbox.update().values(action="delete"))
    box.alias(connection, "notes", "2000000001", "8")
    box.alias(connection, "patients", "2000000002", "9")
    assert box.deleting(connection, "notes") == {"7", "8", "2000000002"}
    assert box.deleting(connection, "patients") == set()


def test_a_look_shows_what_provisional_ids_have_become_since(tmp_path: Path) -> None:
    engine = open_file(tmp_path / "understudy.db")
    lay(engine)
    outbox = Outbox(Contract.load("hosp"), engine, tmp_path / "outbox.version")
    with engine.begin() as connection:
        entry(connection, "a", State.PENDING, 1, action="update", record="2000000001")
        entry(connection, "b", State.PENDING, 2, record="2000000003", fields='{"patient_id": 2000000002}')
        entry(connection, "c", State.PENDING, 3, action="update", record="2000000002")
    before = [(write.record, write.fields) for write in outbox.snapshot().pending("notes")]
    with engine.begin() as connection:
        box.alias(connection, "notes", "2000000001", "7")
        box.alias(connection, "patients", "2000000002", "8")  # of another resource than the third entry's
    outbox.touch()
    after = [(write.record, write.fields) for write in outbox.snapshot().pending("notes")]
    assert before == [("2000000001", {}), ("2000000003", {"patient_id": 2000000002}), ("2000000002", {})]
    assert after == [("7", {}), ("2000000003", {"patient_id": 8}), ("2000000002", {})]


@pytest.mark.parametrize("seed", range(2))
def test_what_is_read_of_changes_alone_is_what_reading_everything_shows(tmp_path: Path, seed: int) -> None:
    engine, chance = open_file(tmp_path / "understudy.db"), random.Random(seed)
    lay(engine)
    contract, shared = Contract.load("hosp"), tmp_path / "outbox.version"
    often, seldom = (Outbox(contract, engine, shared) for _ in range(2))
    seen = [False] * 7
    for step in range(60):
        with engine.begin() as connection:
            for _ in range(chance.randrange(1, 4)):
                upset(connection, chance, step)
        often.touch()
        whole = Outbox(contract, engine, shared).snapshot()
        assert told(often.snapshot()) == told(whole)
        if chance.random() < 0.1:
            seldom.expire() if chance.random() < 0.3 else None
            assert told(seldom.snapshot()) == told(whole)
        seen = [before or bool(now) for before, now in zip(seen, told(whole)[1:], strict=True)]
    assert all(seen)


def upset(connection: Connection, chance: random.Random, step: int) -> None:
    """Some change that sidecars make to the outbox."""
    ids = connection.scalars(select(box.outbox.c.id).where(box.outbox.c.settled.is_(None))).all()
    kind = chance.choice(["notes", "patients"])
    some = str(2000000000 + chance.randrange(40))
    what = chance.choices(range(5), (5, 1, 2, 3, 1))[0] if ids else 0
    if what == 0:
        action = chance.choice(["create", "update", "delete"])
        fields = f'{{"patient_id": {some}}}' if chance.random() < 0.5 else "{}"
        entry(connection, f"{step}-{chance.random()}", State.PENDING, step, type=kind, action=action, record=some,
              fields=fields, sent=chance.random() < 0.2)  # fmt: skip
    elif what == 1:
        box.alias(connection, kind, some, str(chance.randrange(100)))
    elif what == 2:
        box.change(connection, chance.choice(ids), state=State.SETTLED, settled=stamp(), settled_as="7")
    elif what == 3:
        box.change(connection, chance.choice(ids), state=chance.choice(list(State)), sent=chance.random() < 0.5)
    else:
        box.claim(connection, kind, str(chance.randrange(100)))
        box.changed(connection)


def told(snapshot: Snapshot) -> tuple[object, ...]:
    recent = {kind: sorted(set(settled)) for kind, settled in snapshot.recent.items()}
    entries = sorted(snapshot.entries.items(), key=lambda each: each[1].seq)
    pending = [snapshot.pending(kind) for kind in ("notes", "patients") if snapshot.waits(kind)]
    about = [snapshot.about(kind, str(2000000000 + n)) for kind in ("notes", "patients") for n in range(40)]
    naming = {name: set(snapshot.naming(name)) for name in (("patients", str(2000000000 + n)) for n in range(40))}
    held = Holds()
    for needs in snapshot.needs.values():
        held = held.plus(needs)
    assert held == snapshot.holds
    return (
        snapshot.revision, pending, recent, snapshot.claimed, entries, any(naming.values()) and naming,
        any(about) and about, snapshot.sent,
    )  # fmt: skip


def test_a_transaction_of_before_sees_the_outbox_of_before(tmp_path: Path) -> None:
    engine = open_file(tmp_path / "understudy.db")
    lay(engine)
    outbox = Outbox(Contract.load("hosp"), engine, tmp_path / "outbox.version")
    with engine.begin() as connection:
        entry(connection, "a", State.PENDING, 1)
    with engine.execution_options(writes=False).connect() as before, before.begin():
        assert set(outbox.view(before).entries) == {"a"}
        with engine.begin() as connection:
            entry(connection, "b", State.PENDING, 2)
            box.change(connection, "a", state=State.SETTLED, settled=stamp(), settled_as="7")
        outbox.touch()
        assert set(outbox.snapshot().entries) == {"b"}
        assert set(outbox.view(before).entries) == {"a"}
        assert outbox.view(before).recent == {}


def test_without_the_database_only_what_cannot_have_changed_is_known(tmp_path: Path) -> None:
    """Else an accepted write would be missing from answers, and others would be sent past it."""
    engine = open_file(tmp_path / "understudy.db")
    lay(engine)
    outbox = Outbox(Contract.load("hosp"), engine, tmp_path / "outbox.version")
    with engine.begin() as connection:
        entry(connection, "2000000001", State.PENDING, time.time_ns())
    outbox.touch()
    known = outbox.snapshot()
    assert [write.record for write in known.pending("notes")] == ["2000000001"]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE standby_meta RENAME TO away"))
    outbox.expire()
    assert outbox.snapshot() is known
    outbox.touch()
    with pytest.raises(SQLAlchemyError):
        outbox.snapshot()
    assert outbox.owned() == frozenset()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO standby_meta"))
    assert outbox.snapshot().waits("notes")


def test_who_owns_what_is_unknown_before_the_database_was_ever_asked(tmp_path: Path) -> None:
    outbox = Outbox(Contract.load("hosp"), create_engine("sqlite://"), tmp_path / "outbox.version")
    with pytest.raises(SQLAlchemyError):
        outbox.owned()


def test_kept_credentials_outlive_the_process_and_forgotten_ones_do_not_come_back(tmp_path: Path) -> None:
    engine = open_file(tmp_path / "understudy.db")
    lay(engine)
    callers = Callers(engine)
    assert callers.is_new("Dr Holt", "secret")
    assert Callers(engine).check("Dr Holt", "secret") is Standing.UNKNOWN
    callers.keep("Dr Holt", "secret")
    assert Callers(engine).check("Dr Holt", "secret") is Standing.KNOWN
    with engine.begin() as connection:
        callers.forget(connection, "Dr Holt")
    callers.keep("Dr Holt", "secret")  # a request that was checked before the password was changed
    assert Callers(engine).check("Dr Holt", "secret") is Standing.UNKNOWN
