"""What staff did is a signed chain: an entry that was altered, removed, added or cut off is found and named."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from dashboard.auth.access_log import Trail, trail_of
from dashboard.auth.trail_head import End, Head
from dashboard.data.export_signature import Signer
from sidecar.settings import Settings

CUT = "the end is missing: entry {}, the last that this node wrote, is not there"


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
    assert trail.verify(()).faults[0].startswith(why)


def test_two_nodes_write_one_chain_and_each_key_must_be_trusted(trail: Trail, engine: Engine, tmp_path: Path) -> None:
    other = Trail(engine, Signer(tmp_path / "other.key"), tmp_path / "other.head")
    other.note("Sam", "10.0.0.2", "takeover", "notes.list", "HOSP is slow")
    trail.note("Ms Pell", "10.0.0.1", "look", "the audit, 9")
    key = Signer(tmp_path / "other.key").public()
    assert trail.verify(()).faults == [f"entry 5: signed by another key, {key}"]
    assert trail.verify([key]).signers == {Signer(tmp_path / "export.key").public(): 5, key: 1}
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM dashboard_trail WHERE id = 6"))
    assert other.verify([Signer(tmp_path / "export.key").public()]).ok, "its own last entry is there"
    assert trail.verify([key]).faults == [CUT.format(6)]


def unsigned(engine: Engine) -> None:
    """As releases wrote that knew of no signatures."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO dashboard_trail (at, user, role, address, action, subject, reason, outcome)"
                " VALUES (1, 'Sam', '', '', 'look', '', '', 'done')"
            )
        )


def test_entries_of_a_release_before_that_still_ran_are_named_and_all_others_proven(
    trail: Trail, engine: Engine
) -> None:
    for _ in range(2):
        unsigned(engine)
    trail.note("Ms Pell", "", "look")
    assert trail.verify(()).faults == ["entry 5: not signed", "entry 6: not signed"]
    assert list(trail.verify(()).signers.values()) == [5]
    with engine.begin() as connection:
        connection.execute(text("UPDATE dashboard_trail SET subject = 'nothing' WHERE id = 7"))
    assert trail.verify(()).faults[-1] == "entry 7: altered: its hash is another one"


@pytest.mark.parametrize(("since", "entries"), [(5, 3), (6, 2), (7, 1)])
def test_after_a_known_upgrade_the_proof_begins_where_it_is_told(
    trail: Trail, engine: Engine, since: int, entries: int
) -> None:
    for _ in range(2):
        unsigned(engine)
    trail.note("Ms Pell", "", "look")
    verdict = trail.verify((), since)
    assert (verdict.ok, verdict.entries, verdict.older) == (True, entries, entries - 1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE dashboard_trail SET subject = 'nothing' WHERE id = 7"))
    assert trail.verify((), since).faults == ["entry 7: altered: its hash is another one"]


def test_what_this_node_wrote_before_is_not_missed_after(trail: Trail, tmp_path: Path, engine: Engine) -> None:
    other = Trail(engine, Signer(tmp_path / "other.key"), tmp_path / "other.head")
    other.note("Sam", "10.0.0.2", "look", "the audit")
    assert trail.verify([Signer(tmp_path / "other.key").public()], 5).ok


def test_entries_from_before_there_were_signatures_are_counted_and_prove_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    unsigned(engine)
    trail = trail_of(Settings(data=tmp_path), engine)
    trail.note("Ms Pell", "", "look")
    verdict = trail.verify(())
    assert (verdict.ok, verdict.entries, verdict.older) == (True, 2, 1)


def cut(engine: Engine, first: int) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM dashboard_trail WHERE id >= {first}"))


@pytest.mark.parametrize("hidden", [1, 2, 3])
def test_what_is_written_after_a_cut_does_not_hide_it(
    trail: Trail, engine: Engine, caplog: pytest.LogCaptureFixture, hidden: int
) -> None:
    """SQLite gives the ids of what was cut again."""
    cut(engine, 3)
    for _ in range(hidden):
        trail.note("Ms Pell", "", "look")
    assert trail.verify(()).faults == [CUT.format(4)]
    assert [record.getMessage() for record in caplog.records] == [
        "the end of the trail was cut: entry 4, the last that this node had written, is not there"
    ], "once"


def test_each_cut_is_told_until_the_proof_begins_after_it(trail: Trail, engine: Engine) -> None:
    for time in ("first", "second"):
        cut(engine, 4)
        for number in range(3):
            trail.note("Ms Pell", "", "look", f"{time}, {number}")
    assert trail.verify(()).faults == [CUT.format(4), CUT.format(6)]
    assert trail.verify((), 5).faults == [CUT.format(6)]
    trail.note("Ms Pell", "", "look")
    assert trail.verify((), 7).ok
    cut(engine, 7)
    assert trail.verify((), 7).faults == [CUT.format(7)], "what was written since is missed as before"


def test_of_a_head_of_releases_before_the_hash_alone_is_looked_for(
    trail: Trail, engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trail.head"
    path.write_text(path.read_text().partition(" ")[2])
    assert trail.verify(()).ok
    trail.note("Ms Pell", "", "look")
    assert trail.verify(()).ok
    path.write_text(path.read_text().partition(" ")[2])
    cut(engine, 5)
    trail.note("Ms Pell", "", "another look")
    (fault,) = trail.verify(()).faults
    assert fault.startswith("the end is missing: an entry, the last")
    assert len(caplog.records) == 1


def test_the_head_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "trail.head"
    head = Head(path)
    assert head.read() == []
    head.keep(End(5, "e"), lambda _: True)
    head.keep(End(4, "d"), lambda _: True)
    assert head.read() == [End(5, "e")], "whoever comes late has an older one"
    path.write_text("f" * 64)
    assert head.read() == [End(0, "f" * 64)], "as releases before kept it"
    head.keep(End(1, "a"), lambda _: True)
    assert Head(path).read() == [End(1, "a")]


def test_whoever_keeps_the_head_is_alone_from_reading_it_until_it_is_written(tmp_path: Path) -> None:
    head, locked = Head(tmp_path / "trail.head"), []

    def there(_: End) -> bool:
        folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            locked.append(folder)
        finally:
            os.close(folder)
        return True

    head.keep(End(5, "e"), there)
    head.keep(End(6, "f"), there)
    assert len(locked) == 1, "it was read, and others were held off"


def test_whoever_writes_at_once_the_head_is_the_last_entry(trail: Trail, engine: Engine, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(trail.note, "Ms Pell", "", "look", str(number)) for number in range(80)]:
            done.result()
    with engine.connect() as connection:
        last = connection.execute(text("SELECT id, hash FROM dashboard_trail ORDER BY id DESC LIMIT 1")).one()
    assert (tmp_path / "trail.head").read_text() == f"{last.id} {last.hash}"
    assert [path.name for path in tmp_path.glob("trail.head*")] == ["trail.head"]
