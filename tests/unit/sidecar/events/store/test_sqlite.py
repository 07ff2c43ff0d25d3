"""The embedded store passes the suite that every store passes, and is safe across processes."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.events.fields import FIELDS
from sidecar.events.store import EventStore, Filter, StoreUnavailable
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.events.store.sqlite_sql import INDICES
from sidecar.timeunits import SECOND, parse_rfc3339
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


def test_whoever_reads_before_anything_was_recorded_is_told_so_and_makes_no_store(path: Path) -> None:
    store = EmbeddedStore(path)
    path.parent.mkdir()
    with pytest.raises(StoreUnavailable, match="no sidecar has recorded anything"):
        store.search(Filter())
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreUnavailable, match="no sidecar has recorded anything"):
        store.search(Filter())
    store.install()
    assert list(store.search(Filter()).events) == []
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


@pytest.mark.parametrize("lacking", sorted(INDICES.keys() - {"events_page"}))  # which every release had
def test_a_store_made_before_there_was_an_index_counts_the_same_without_it(path: Path, lacking: str) -> None:
    """Whoever reads may be newer than who ships, and installs nothing."""
    store = EmbeddedStore(path)
    store.install()
    store.append([event(n, NOON + n * HOUR // 2, user=who) for n, who in enumerate((None, "Dr Holt", "Dr Holt"))])
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP INDEX {lacking}")
    connection.close()
    for field in (field.name for field in FIELDS):
        for where in (Filter(), Filter(terms={"user.name": ["Dr Holt"]})):
            found = store.count(where, None, [field])
            assert sum(each.count for each in found) == (2 if where.terms else 3), field
    assert [each.count for each in store.count(Filter(since=NOON + 1, until=NOON + HOUR + 1), HOUR)] == [1, 1]
    store.close()


def test_an_index_of_an_earlier_release_is_made_anew_with_todays_columns_and_no_other_is(path: Path) -> None:
    store = EmbeddedStore(path)
    store.install()
    store.append([event(1)])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX events_user")
        connection.execute("CREATE INDEX events_user ON events (user, at, id)")
        before = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'index'"))
    connection.close()
    store.install()
    with sqlite3.connect(path) as connection:
        columns = {name: tuple(row[2] for row in connection.execute(f"PRAGMA index_info({name})")) for name in INDICES}
        after = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'index'"))
    connection.close()
    assert columns == INDICES
    assert {name for name in INDICES if before[name] != after[name]} <= {"events_user"}
    assert [each.count for each in store.count(Filter(), None, ["user.name"])] == [1]
    store.close()


def test_whichever_index_is_chosen_counts_are_what_the_events_say(path: Path) -> None:
    """Against counting the documents themselves, over random filters, groups and times."""
    dice, store = random.Random(22), EmbeddedStore(path)
    store.install()
    made = [_anything(number, dice) for number in range(600)]
    store.append(made)
    fields = ["user.name", "understudy.patient.id", "event.action", "event.outcome", "http.response.status_code",
              "source.ip", "understudy.verdict", "understudy.endpoint", "understudy.break_glass"]  # fmt: skip
    for _ in range(250):
        since = dice.choice([None, NOON + dice.randrange(40 * HOUR)])
        until = dice.choice([None, (since or NOON) + dice.randrange(2 * HOUR), NOON + dice.randrange(50 * HOUR)])
        chosen = dice.sample(fields, dice.choice([0, 0, 1, 1, 2]))
        terms = {name: dice.sample(sorted({_value(each, name) for each in made}), 1) for name in chosen}
        by = dice.sample(fields, dice.choice([0, 1, 1, 2]))
        interval = dice.choice([None, None, HOUR, 7 * SECOND])
        where = Filter(since=since, until=until, terms=terms, text=dice.choice([None, None, None, "patients"]))
        found = {(each.start, each.group): each.count for each in store.count(where, interval, by)}
        assert found == _counted(made, where, interval, by), (where, interval, by)
    store.close()


def _anything(number: int, dice: random.Random) -> dict[str, Any]:
    at = NOON + dice.randrange(48 * HOUR)
    who, status = dice.choice([None, "Dr Holt", "Nurse Abara"]), dice.choice([200, 200, 404, 500])
    made = event(number, at, user=who, status=status,
                 outcome=dice.choice(["success", "failure"]), path=dice.choice(["/notes", "/patients"]))  # fmt: skip
    made["event"]["action"] = dice.choice(["read", "list", "update"])
    if dice.random() < 0.7:
        made["understudy"]["patient"] = {"id": str(dice.randint(1, 9))}
    if dice.random() < 0.1:
        made["understudy"]["break_glass"] = dice.choice(["a", "b"])
    made["understudy"]["verdict"] = dice.choice(["allow", "allow", "deny"])
    made["source"] = {"ip": dice.choice(["10.0.0.1", "10.0.0.2"])}
    return made


def _value(document: dict[str, Any], name: str) -> str:
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def _counted(
    made: list[dict[str, Any]], where: Filter, interval: int | None, by: list[str]
) -> dict[tuple[int, tuple[str, ...]], int]:
    counts: Counter[tuple[int, tuple[str, ...]]] = Counter()
    for each in made:
        at = parse_rfc3339(each["@timestamp"])
        inside = (where.since or 0) <= at and (where.until is None or at < where.until)
        said = where.text is None or where.text in each["url"]["path"]
        if inside and said and all(_value(each, name) in accepted for name, accepted in where.terms.items()):
            start = at - at % interval if interval else where.since or 0
            counts[start, tuple(_value(each, name) for name in by)] += 1
    return dict(counts)


def test_of_very_many_events_percentiles_are_those_of_a_sample_and_counts_are_exact(path: Path) -> None:
    dice, store = random.Random(5), EmbeddedStore(path, sampled=1000)
    store.install()
    times = [int(dice.lognormvariate(0, 1) * 1e8) for _ in range(8000)]
    store.append([event(n, NOON + n * SECOND, duration=at, endpoint="GET /notes") for n, at in enumerate(times)])
    store.append([event(n, NOON + n * SECOND, duration=n - 7999, endpoint="GET /rare") for n in range(8000, 8050)])
    often_at, rare_at = store.count(Filter(), None, ["understudy.endpoint"], [50.0, 99.0])
    assert (rare_at.count, dict(rare_at.percentiles)) == (50, {50.0: 25, 99.0: 50}), "of few, all are looked at"
    assert often_at.count == 8000
    ranked = sorted(times)
    assert ranked[int(0.45 * 8000)] < often_at.percentiles[50.0] < ranked[int(0.55 * 8000)]
    assert ranked[int(0.97 * 8000)] < often_at.percentiles[99.0] <= ranked[-1]
    (whole,) = store.count(Filter(), None, (), [50.0])
    assert whole.count == 8050
    assert ranked[int(0.45 * 8000)] < whole.percentiles[50.0] < ranked[int(0.55 * 8000)]
    (brief,) = store.count(Filter(since=NOON, until=NOON + 100 * SECOND), None, (), [50.0])
    assert brief.percentiles == {50.0: sorted(times[:100])[49]}, "a short time is counted as a whole"
    store.close()


def test_a_store_made_before_break_glass_was_looked_up_is_widened(path: Path) -> None:
    store = EmbeddedStore(path)
    store.install()
    given = event(1)
    given["understudy"]["break_glass"] = "grant 7"
    store.append([given, event(2)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX events_glass")
        connection.execute("ALTER TABLE events DROP COLUMN break_glass")
    connection.close()
    store.install()
    (bucket,) = store.count(Filter(terms={"understudy.break_glass": ["grant 7"]}))
    assert bucket.count == 1
    store.close()
