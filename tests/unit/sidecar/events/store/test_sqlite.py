"""The embedded store passes the suite that every store passes, and is safe across processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.events.store import EventStore, Filter, StoreUnavailable
from sidecar.events.store.sqlite import EmbeddedStore
from tests.contracts.event_store import HOUR, NOON, EventStoreContract, event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.db"


class TestEmbedded(EventStoreContract):
    @pytest.fixture
    def store(self, path: Path) -> Iterator[EventStore]:
        store = EmbeddedStore(path)
        store.install()
        yield store
        store.close()


def test_a_store_that_cannot_be_opened_or_is_locked_is_unavailable(path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        EmbeddedStore(path / "not" / "there").search(Filter())
    store = EmbeddedStore(path)
    with pytest.raises(StoreUnavailable):
        EmbeddedStore(path).count(Filter())
    store.install()
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    quick = EmbeddedStore(path, busy_timeout=0.05)
    with pytest.raises(StoreUnavailable, match="locked"):
        quick.append([event(1)])
    assert list(quick.search(Filter()).events) == [], "a writer keeps no reader out"
    locker.execute("ROLLBACK")
    locker.close()
    assert quick.append([event(1)]).stored == 1
    quick.close()
    store.close()


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"nonsense" * 1000)
    store = EmbeddedStore(path)
    with pytest.raises(StoreUnavailable, match="not a database"):
        store.search(Filter())
    store.close()


def test_a_field_path_is_never_sql(path: Path) -> None:
    store = EmbeddedStore(path)
    store.install()
    for bad in ("x') OR 1 --", "user name", "a..b", ""):
        with pytest.raises(ValueError, match="field path"):
            store.count(Filter(), HOUR, [bad])
    store.close()


def test_a_store_made_before_what_the_upstream_gave_is_widened(path: Path) -> None:
    store = EmbeddedStore(path)
    store.install()
    given = event(1)
    given["understudy"]["upstream_outcome"] = "success"
    store.append([given, event(2)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX events_count")
        connection.execute("ALTER TABLE events DROP COLUMN upstream_outcome")
        connection.execute(
            "CREATE INDEX events_count ON events"
            " (at, client, purpose, endpoint, outcome, answered_by, user, status, duration)"
        )
    connection.close()
    store.install()
    counted = store.count(Filter(), None, ["understudy.upstream_outcome"])
    assert {bucket.group[0]: bucket.count for bucket in counted} == {"": 1, "success": 1}
    store.close()


def test_a_store_made_before_volumes_were_kept_counts_the_same(path: Path) -> None:
    store = EmbeddedStore(path)
    store.install()
    store.append([event(n, NOON + n * HOUR // 2) for n in range(4)])
    where = Filter(since=NOON, until=NOON + 4 * HOUR)
    with sqlite3.connect(path) as connection:
        for trigger in ("volumes_added", "volumes_dropped"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DROP TABLE volumes")
    connection.close()
    before = store.count(where, HOUR)
    store.install()
    store.append([event(9, NOON)])
    assert [each.count for each in before] == [2, 2]
    assert [each.count for each in store.count(where, HOUR)] == [3, 2]
    store.close()
