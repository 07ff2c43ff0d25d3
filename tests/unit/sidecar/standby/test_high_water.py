"""A database that is behind its mark, or lives another life, is brought forward before its outbox is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from sidecar.contract import Contract
from sidecar.events.store import Checkpoint
from sidecar.events.store.factory import open_store
from sidecar.journal.checkpoints import known_checkpoints
from sidecar.journal.head import Head, keep_head
from sidecar.settings import Settings
from sidecar.standby import high_water, queries
from sidecar.standby.numbers import bump
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import INCARNATION, NEXT_ID, VERSION, GoneBack, Outbox
from sidecar.standby.outbox.overlay import PROVISIONAL
from sidecar.standby.outbox.watermark import Mark, Watermark
from sidecar.storage import incarnation
from sidecar.storage.database import open_engine
from tests.support.tables import lay


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(upstream="http://127.0.0.1:9", data=tmp_path / "data", node="one")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings)
    lay(engine)
    yield engine
    engine.dispose()


def lives(connection: Connection, life: int) -> None:
    """As `incarnation.note` does for a PostgreSQL server."""
    connection.info["understudy_incarnation"] = life


def test_a_database_that_reaches_its_mark_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        box.changed(connection)
        assert high_water.bring_forward(connection, Mark(1, 0)) is None
        assert queries.number(connection, VERSION) == 1


def test_ids_and_changes_go_on_above_the_mark(engine: Engine) -> None:
    with engine.begin() as connection:
        first = box.next_provisional(connection)
        box.changed(connection)
        found = high_water.bring_forward(connection, Mark(40, PROVISIONAL + 20))
        assert found is not None
        assert (found.changes, found.ids, found.promoted) == (39, 20, False)
        assert box.next_provisional(connection) > PROVISIONAL + 20 > first
        assert box.changed(connection) > 40
        assert high_water.bring_forward(connection, Mark(40, PROVISIONAL + 20)) is None


def test_nothing_is_changed_in_a_promoted_database_before_it_is_brought_forward(engine: Engine, tmp_path: Path) -> None:
    outbox = Outbox(Contract.load("hosp"), engine, tmp_path / "outbox.version", mark=Watermark(tmp_path / "mark"))
    with engine.begin() as connection:
        lives(connection, 3)
        assert high_water.bring_forward(connection, Mark()) is None
        assert queries.number(connection, INCARNATION) == 3
        box.next_provisional(connection)
        changes = box.changed(connection)
    with engine.begin() as connection:
        lives(connection, 5)
        assert outbox.is_behind(connection)
        with pytest.raises(GoneBack):
            box.changed(connection)
        with pytest.raises(GoneBack):
            outbox.view(connection)
        found = high_water.bring_forward(connection, Mark())
        assert found is not None
        assert found.promoted
        assert not outbox.is_behind(connection)
        assert box.changed(connection) > changes + 1000
        assert queries.number(connection, NEXT_ID) > PROVISIONAL + 1000  # another node may have given more
        assert high_water.bring_forward(connection, Mark()) is None


def test_the_mark_is_raised_before_a_change_is_told(engine: Engine, tmp_path: Path) -> None:
    mark = Watermark(tmp_path / "mark")
    outbox = Outbox(Contract.load("hosp"), engine, tmp_path / "outbox.version", mark=mark)
    with engine.begin() as connection:
        given, changes = box.next_provisional(connection), box.changed(connection)
    outbox.touch()
    assert mark.read() == Mark(changes, given)
    with engine.begin() as connection:
        bump(connection, VERSION, changes - 1)  # however little older it is
        assert outbox.is_behind(connection)


def test_the_mark_is_also_in_the_journals_head_and_in_the_event_store(settings: Settings) -> None:
    assert high_water.kept(settings) == high_water.in_store(settings) == Mark()
    settings.data.mkdir()
    keep_head(settings.sign_head_file, Head("one@statements", 4, "ab", {"changes": 9, "next_id": 2}))
    Watermark(settings.high_water_mark_file).raise_to(Mark(7, 5))
    assert high_water.kept(settings) == Mark(9, 5)
    store = open_store(settings)
    store.install()
    for mark in (Mark(11, 6), Mark(8, 6)):
        high_water.keep_in_store(store, mark)
    assert high_water.in_store(settings) == high_water.asked_of_store(settings) == Mark(11, 6)
    assert known_checkpoints(store.checkpoints(), settings) == {}, "no segment is missing for it"
    assert list(store.checkpoints()) == [Checkpoint("outbox.mark", 11, "6")]
    store.close()


def test_a_life_is_told_by_system_and_timeline() -> None:
    one, two = incarnation.number("77/00000001"), incarnation.number("77/00000002")
    assert 0 < one < 1 << 63
    assert 0 < two < 1 << 63
    assert one != two


def test_entries_that_were_pending_are_looked_up_first(engine: Engine, settings: Settings) -> None:
    row = {
        "id": "e", "endpoint": "notes.create", "type": "notes", "action": "create", "record": str(PROVISIONAL),
        "user": "u", "method": "POST", "target": "/notes", "request_id": "r", "fields": "{}", "whole": False,
        "state": "pending", "sent": False, "attempts": 0, "accepted_at": 1, "due": 1, "token": 0,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(box.outbox.insert().values(**row))
        found = high_water.bring_forward(connection, Mark(5, 0))
        assert found is not None
        assert found.entries == ("e",)
        assert connection.execute(select(box.outbox.c.state, box.outbox.c.sent)).one() == ("unclear", True)
