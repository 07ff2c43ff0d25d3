"""The shipper puts every event into the store exactly once: through storms, dropped answers, kill -9 and restarts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.events.shipper import LONGEST_WAIT, Report, Shipper
from sidecar.events.store import Appended, Checkpoint, Event, EventStore, Filter, StoreUnavailable
from sidecar.events.store.elasticsearch import ElasticStore
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.journal.writer import Journal, read_segment
from tests.contracts.event_store import NOON, bodies, event, everything, name
from tests.support.fake_elasticsearch import FakeElasticsearch

NOW = NOON / 1e9 + 60


def write(data: Path, numbers: Sequence[int], worker: int = 0) -> Path:
    """Writes events to a new segment; returns its path."""
    directory = data / "journal"
    before = set(directory.glob("*")) if directory.exists() else set()
    journal = Journal(directory, "n1", worker)
    for number in numbers:
        journal.append(event(number), bodies(number))
    journal.close()
    (segment,) = set(directory.glob("*")) - before
    return segment


def new_shipper(data: Path, store: EventStore, **options: Any) -> Shipper:
    return Shipper(data / "journal", store, data / "shipped.json", data / "dead-letter", **options)


def drain(shipper: Shipper, limit: int = 200) -> list[float]:
    """Steps until there is nothing left; time passes as fast as the shipper asks for. Returns the waits."""
    now, waits = NOW, []
    for _ in range(limit):
        waits.append(shipper.step(now))
        now += waits[-1] + 1e-6
        if shipper.trouble is None and shipper.lag(now).events == 0:
            return waits
    raise AssertionError(f"not drained after {limit} steps: {shipper.trouble}")


@pytest.fixture
def fake() -> Iterator[FakeElasticsearch]:
    with FakeElasticsearch() as fake:
        yield fake


@pytest.fixture
def store(fake: FakeElasticsearch) -> Iterator[ElasticStore]:
    store = ElasticStore(fake.url, timeout=5)
    yield store
    store.close()


def each_once(fake: FakeElasticsearch, numbers: Sequence[int]) -> None:
    assert sorted(fake.documents()) == sorted(name(number) for number in numbers)
    assert sorted(fake.documents("understudy-bodies-")) == sorted(name(number) for number in numbers)


class TestExactlyOnce:
    def test_all_segments_of_all_workers_in_batches(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        for worker in range(3):
            write(tmp_path, range(worker * 400, worker * 400 + 400), worker)
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(1200))
        assert 5 <= fake.bulks <= 8

    def test_again_from_the_start_changes_nothing(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        write(tmp_path, range(30))
        drain(new_shipper(tmp_path, store))
        (tmp_path / "shipped.json").unlink()
        again = new_shipper(tmp_path, store)
        drain(again)
        each_once(fake, range(30))
        assert (fake.created, len(fake.sent), again.shipped) == (60, 120, 30)

    def test_a_restart_goes_on_where_it_was(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        write(tmp_path, range(30))
        drain(new_shipper(tmp_path, store))
        write(tmp_path, range(30, 40))
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(40))
        assert len(fake.sent) == 80

    def test_a_damaged_state_file_means_shipping_again(
        self, tmp_path: Path, fake: FakeElasticsearch, store: Any
    ) -> None:
        write(tmp_path, range(5))
        (tmp_path / "shipped.json").write_text('{"offsets": 7')
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(5))

    def test_a_storm(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        write(tmp_path, range(300))
        fake.storm(12)
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(300))

    def test_partial_failures_retry_only_what_failed(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        write(tmp_path, range(40))
        fake.item_failures = {name(3): [429, 503], name(17): [429]}
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(40))
        assert fake.sent[80:] == [name(3), name(17), name(3)]

    def test_applied_and_then_no_answer(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        write(tmp_path, range(600))
        fake.drop_after_applying = 3
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(600))
        assert fake.created == 1200
        assert len(fake.sent) > 1200

    def test_everything_at_once(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        write(tmp_path, range(500))
        fake.storm(5)
        fake.drop_after_applying = 2
        fake.item_failures = {name(number): [429] * (number % 4) for number in range(0, 500, 7)}
        drain(new_shipper(tmp_path, store))
        each_once(fake, range(500))
        assert fake.created == 1000


class TestRefused:
    def test_goes_to_the_dead_letters_and_blocks_nothing(
        self, tmp_path: Path, fake: FakeElasticsearch, store: Any
    ) -> None:
        write(tmp_path, range(20))
        fake.item_failures = {name(4): [400], name(9): [429, 400]}
        shipper = new_shipper(tmp_path, store)
        drain(shipper)
        assert sorted(fake.documents()) == sorted(name(number) for number in range(20) if number not in (4, 9))
        assert shipper.dead_letters == 2
        letter = json.loads((tmp_path / "dead-letter" / f"{name(4)}.json").read_text())
        assert letter["why"] == "document_parsing_exception: on demand"
        assert letter["document"]["event"]["id"] == name(4)
        assert new_shipper(tmp_path, store).dead_letters == 2

    def test_a_line_that_is_no_event(self, tmp_path: Path, fake: FakeElasticsearch, store: Any) -> None:
        segment = write(tmp_path, range(3))
        with segment.open("ab") as file:
            file.write(b"vandal was here\n[1]\n")
            file.write(b'{"event": {"event": 5}, "sequence": "x"}\n')
            file.write(b'{"event": {"@timestamp": "2026-03-10T12:00:00Z", "event": {"id": null}}, "sequence": -1}\n')
        write(tmp_path, range(3, 5))
        shipper = new_shipper(tmp_path, store)
        drain(shipper)
        each_once(fake, range(5))
        assert shipper.dead_letters == 4

    def test_an_id_that_is_no_file_name_stays_inside_the_directory(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "journal", "n1", 0)
        journal.append(event(1, id="../../etc/passwd") | {"@timestamp": "yesterday"})
        journal.close()
        store = EmbeddedStore(tmp_path / "events.db")
        shipper = new_shipper(tmp_path, store)
        drain(shipper)
        store.close()
        (letter,) = (tmp_path / "dead-letter").iterdir()
        assert letter.name.startswith("unnamed-")
        assert shipper.dead_letters == 1


class DownStore(EmbeddedStore):
    """The embedded store, down for a number of calls."""

    def __init__(self, path: Path, down: int) -> None:
        super().__init__(path)
        self.down = down
        self.installs = 0

    def install(self) -> None:
        self.installs += 1
        if self.down:
            self.down -= 1
            raise StoreUnavailable("down")
        super().install()

    def append(self, events: Sequence[Event], bodies: Sequence[Event] = ()) -> Appended:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("down again")
        return super().append(events, bodies)


class TestStore:
    def test_back_off_has_full_jitter_and_a_cap(self, tmp_path: Path) -> None:
        write(tmp_path, range(3))
        asked: list[float] = []

        def uniform(low: float, high: float) -> float:
            assert low == 0
            asked.append(high)
            return high / 2

        store = DownStore(tmp_path / "events.db", down=12)
        waits = drain(new_shipper(tmp_path, store, uniform=uniform))
        assert waits[:12] == [high / 2 for high in asked]
        assert asked[:3] == [0.2, 0.4, 0.8]
        assert max(asked) == asked[-1] == LONGEST_WAIT
        assert store.installs == 13
        store.close()

    def test_it_installs_again_after_the_store_was_away(self, tmp_path: Path) -> None:
        write(tmp_path, range(3))
        store = DownStore(tmp_path / "events.db", down=0)
        shipper = new_shipper(tmp_path, store)
        drain(shipper)
        write(tmp_path, range(3, 6))
        store.down = 1
        drain(shipper)
        assert store.installs == 2
        assert len(everything(store, Filter(), 10)) == 6
        store.close()

    def test_it_is_not_asked_before_the_wait_is_over(self, tmp_path: Path) -> None:
        store = DownStore(tmp_path / "events.db", down=1)
        shipper = new_shipper(tmp_path, store, uniform=lambda low, high: high)
        wait = shipper.step(NOW)
        assert shipper.step(NOW + wait / 2) == pytest.approx(wait / 2, abs=1e-5)
        assert store.installs == 1
        shipper.step(NOW - 3600)
        assert store.installs == 2

    def test_the_store_keeps_where_each_segment_stands(self, tmp_path: Path) -> None:
        first, second = write(tmp_path, range(7)), write(tmp_path, range(7, 9), worker=1)
        store = EmbeddedStore(tmp_path / "events.db")
        drain(new_shipper(tmp_path, store))
        ends = [list(read_segment(path))[-1][0]["hash"] for path in (first, second)]
        assert list(store.checkpoints()) == [Checkpoint(first.stem, 7, ends[0]), Checkpoint(second.stem, 2, ends[1])]
        store.close()


class TestLag:
    def test_it_is_seen_while_the_store_is_down_and_gone_afterwards(self, tmp_path: Path) -> None:
        write(tmp_path, range(30))
        reports: list[Report] = []
        store = DownStore(tmp_path / "events.db", down=2)
        shipper = new_shipper(tmp_path, store, on_progress=reports.append)
        drain(shipper)
        store.close()
        assert [report.lag.events for report in reports] == [30, 30, 0]
        assert reports[0].lag.oldest_seconds == pytest.approx(60, abs=0.1)
        assert (reports[0].trouble, reports[-1].trouble, reports[-1].shipped) == ("down", None, 30)

    def test_a_torn_last_line_is_no_event_until_it_is_whole(
        self, tmp_path: Path, fake: FakeElasticsearch, store: Any
    ) -> None:
        segment = write(tmp_path, range(4))
        whole = segment.read_bytes()
        segment.write_bytes(whole[:-20])
        shipper = new_shipper(tmp_path, store)
        drain(shipper)
        each_once(fake, range(3))
        with segment.open("ab") as file:
            file.write(whole[-20:])
        assert shipper.lag(NOW).events == 1
        drain(shipper)
        each_once(fake, range(4))


class TestRetention:
    def test_only_old_segments_wholly_shipped_and_none_that_is_written_to(self, tmp_path: Path) -> None:
        old, newest, other = (write(tmp_path, [number], number // 2) for number in range(3))
        recent, last = write(tmp_path, [3], 2), write(tmp_path, [4], 2)
        journal = Journal(tmp_path / "journal", "n1", 7)
        journal.append(event(9)).wait(5)
        (written,) = (tmp_path / "journal").glob("n1-7-*")
        for segment in (old, newest, other, written):
            os.utime(segment, (NOW - 100, NOW - 100))
        store = EmbeddedStore(tmp_path / "events.db")
        os.utime(recent, (NOW - 5, NOW - 5))
        new_shipper(tmp_path, store, journal_retention=50).step(NOW)
        assert set((tmp_path / "journal").iterdir()) == {written, recent, last}
        journal.close()
        os.utime(written, (NOW - 100, NOW - 100))
        new_shipper(tmp_path, store, journal_retention=50).step(NOW)
        store.close()
        assert set((tmp_path / "journal").iterdir()) == {recent, last}

    def test_nothing_goes_while_the_store_is_down(self, tmp_path: Path) -> None:
        old, _ = write(tmp_path, [1]), write(tmp_path, [2])
        os.utime(old, (NOW - 1e6, NOW - 1e6))
        store = DownStore(tmp_path / "events.db", down=5)
        shipper = new_shipper(tmp_path, store, journal_retention=50)
        for step in range(5):
            shipper.step(NOW + 20 * step)
        assert old.exists()
        drain(shipper)
        assert not old.exists()
        store.close()
