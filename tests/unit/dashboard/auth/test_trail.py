"""What staff did is a signed chain: an entry that was altered, removed, added or cut off is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from dashboard.auth.access_log import Trail, trail_of
from dashboard.data import tables
from dashboard.data.export_signature import Signer
from sidecar.settings import Settings
from sidecar.storage.database import open_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(data=tmp_path))
    tables.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def trail(engine: Engine, tmp_path: Path) -> Trail:
    made = trail_of(Settings(data=tmp_path), engine, lambda: 1_800_000_000 * 10**9)
    for number in range(4):
        made.note("Ms Pell", "10.0.0.1", "look", f"the audit, {number}")
    return made


def test_what_was_written_is_proven_and_read_as_before(trail: Trail) -> None:
    verdict = trail.verify(())
    assert (verdict.ok, verdict.entries, verdict.older) == (True, 4, 0)
    assert [entry.subject for entry in trail.latest()] == [f"the audit, {number}" for number in (3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("UPDATE dashboard_trail SET subject = 'nothing' WHERE id = 2", "entry 2: altered"),
        ("UPDATE dashboard_trail SET at = at + 1 WHERE id = 1", "entry 1: altered"),
        ("UPDATE dashboard_trail SET signature = hash || hash WHERE id = 3", "entry 3: altered: its signature"),
        ("DELETE FROM dashboard_trail WHERE id = 2", "entry 3: removed or put in between"),
        ("DELETE FROM dashboard_trail WHERE id = 1", "entry 2: removed or put in between"),
        ("DELETE FROM dashboard_trail WHERE id = 4", "the end is missing"),
        ("DELETE FROM dashboard_trail", "the end is missing"),
        ("UPDATE dashboard_trail SET id = 9 WHERE id = 2", "entry 3: removed or put in between"),
        ("UPDATE dashboard_trail SET hash = NULL WHERE id = 3", "entry 3: not signed"),
        (
            "INSERT INTO dashboard_trail SELECT 9, at, user, role, address, action, subject, reason, outcome, previous,"
            " hash, signer, signature FROM dashboard_trail WHERE id = 2",
            "entry 9: removed or put in between",
        ),
    ],
)
def test_damage_is_found(trail: Trail, engine: Engine, damage: str, why: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(damage))
    assert str(trail.verify(()).first_bad).startswith(why)


def test_two_nodes_write_one_chain_and_each_key_must_be_trusted(trail: Trail, engine: Engine, tmp_path: Path) -> None:
    other = Trail(engine, Signer(tmp_path / "other.key"), tmp_path / "other.head")
    other.note("Sam", "10.0.0.2", "takeover", "notes.list", "HOSP is slow")
    trail.note("Ms Pell", "10.0.0.1", "look", "the audit, 9")
    key = Signer(tmp_path / "other.key").public()
    assert trail.verify(()).first_bad == f"entry 5: signed by another key, {key}"
    assert trail.verify([key]).signers == {Signer(tmp_path / "export.key").public(): 5, key: 1}
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM dashboard_trail WHERE id = 6"))
    assert other.verify([Signer(tmp_path / "export.key").public()]).ok, "its own last entry is there"
    assert trail.verify([key]).first_bad == "the end is missing: the last entry that this node wrote is not there"


def test_entries_from_before_there_were_signatures_are_counted_and_prove_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO dashboard_trail (at, user, role, address, action, subject, reason, outcome)"
                " VALUES (1, 'Sam', '', '', 'look', '', '', 'done')"
            )
        )
    trail = trail_of(Settings(data=tmp_path), engine)
    trail.note("Ms Pell", "", "look")
    verdict = trail.verify(())
    assert (verdict.ok, verdict.entries, verdict.older) == (True, 2, 1)
