"""The journal: what was acknowledged is on disk, failing disks are told, and it recovers by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.journal.reserve import Reserve
from sidecar.journal.verify import verify
from sidecar.journal.writer import WAITING_BYTES, Journal, RecordingFailed, read_segment


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"@timestamp": "2026-03-10T12:00:00.000000000Z", "event": {"id": f"e{number}"}, **more}


@contextmanager
def opened(directory: Path, **given: Any) -> Iterator[Journal]:
    journal = Journal(directory, "node", 1, **given)
    try:
        yield journal
    finally:
        journal.close()


def recorded(directory: Path) -> list[str]:
    lines = [line for path in segments(directory) for line, _ in read_segment(path)]
    return [line["event"]["event"]["id"] for line in lines]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


class Disk:
    """A disk whose syncs fail when told so, and can be held up."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.free = threading.Event()
        self.free.set()
        self.syncs = 0

    def sync(self, descriptor: int) -> None:
        self.free.wait(10)
        self.syncs += 1
        if self.error is not None:
            raise self.error
        os.fdatasync(descriptor)


def test_a_line_carries_the_event_filled_in_and_its_bodies(tmp_path: Path) -> None:
    given, bodies = event(1), {"event": {"id": "e1"}}
    with opened(tmp_path) as journal:
        journal.append(given, bodies).wait(5)
        (path,) = segments(tmp_path)
        ((line, offset),) = list(read_segment(path))
    assert path.name.startswith("node-1-")
    assert int(path.stem.rpartition("-")[2]) == pytest.approx(time.time_ns(), abs=60e9)
    assert (line["segment"], line["sequence"], line["bodies"]) == (path.stem, 1, bodies)
    assert line["event"]["event"] == {"id": "e1", "sequence": 1, "hash": line["hash"]}
    assert offset == path.stat().st_size
    assert given == event(1), "the caller's event is as it was"


def test_reading_goes_on_from_an_offset_and_stops_before_a_torn_line(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for number in range(3):
            journal.append(event(number)).wait(5)
    (path,) = segments(tmp_path)
    (_, first), (_, second), (_, third) = list(read_segment(path))
    assert [line["sequence"] for line, _ in read_segment(path, first)] == [2, 3]
    with path.open("r+b") as file:
        file.truncate(third - 5)
    assert [offset for _, offset in read_segment(path, first)] == [second]
    assert list(read_segment(path, second)) == []


def test_a_damaged_whole_line_is_said_and_passed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"sequence":1}\nnonsense\n[1]\n{"sequence":4}\n')
    assert [line for line, _ in read_segment(path)] == [
        {"sequence": 1},
        {"damaged": "nonsense\n"},
        {"damaged": "[1]\n"},
        {"sequence": 4},
    ]


def test_those_who_wait_share_a_sync(tmp_path: Path) -> None:
    disk = Disk()
    with opened(tmp_path, sync=disk.sync) as journal:
        disk.free.clear()
        first = journal.append(event(0))
        while journal.waiting:
            time.sleep(0.001)
        tickets = [journal.append(event(number)) for number in range(1, 200)]
        with pytest.raises(RecordingFailed, match="the disk does not answer"):
            tickets[-1].wait(0.05)
        disk.free.set()
        for ticket in (first, *tickets[:-1]):
            ticket.wait(5)
        assert (disk.syncs, journal.syncs, journal.events, journal.failures) == (2, 2, 200, 1)
    assert recorded(tmp_path) == [f"e{number}" for number in range(200)]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=20_000) as journal:

        def work(thread: int) -> None:
            for number in range(50):
                journal.append(event(thread * 1000 + number)).wait(10)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = recorded(tmp_path)
    assert sorted(found) == sorted(f"e{thread * 1000 + number}" for thread in range(16) for number in range(50))
    assert len(segments(tmp_path)) > 2
    verdict = verify(segments(tmp_path))
    assert (verdict.ok, verdict.events) == (True, 800)


def test_what_comes_while_a_sync_runs_is_synced_together_after_it(tmp_path: Path) -> None:
    begun, go_on, syncs = threading.Event(), threading.Event(), list[int]()

    def sync(descriptor: int) -> None:
        syncs.append(descriptor)
        begun.set()
        assert go_on.wait(5)

    with opened(tmp_path, sync=sync) as journal:
        tickets = [journal.append(event(0))]
        assert begun.wait(5)
        tickets += [journal.append(event(number)) for number in (1, 2, 3)]
        go_on.set()
        for ticket in tickets:
            ticket.wait(5)
        assert (len(syncs), journal.events) == (2, 4)


def test_on_an_event_loop_a_record_is_on_disk_has_failed_or_is_given_up(tmp_path: Path) -> None:
    async def record(journal: Journal) -> str:
        tickets = [journal.append(event(number)) for number in range(20)]
        try:
            await asyncio.gather(*(ticket.on_disk() for ticket in tickets))
            await tickets[0].on_disk()
        except RecordingFailed as error:
            return str(error)
        return "on disk" if len(recorded(tmp_path)) == len(tickets) else "too early"

    with opened(tmp_path) as journal:
        assert asyncio.run(record(journal)) == "on disk"
    with opened(tmp_path / "broken", sync=lambda _: broken()) as journal:
        assert asyncio.run(record(journal)) == "cannot record: Input/output error"
    over = threading.Event()
    with opened(tmp_path / "hangs", sync=lambda _: over.wait(5) and None, patience=0.05) as journal:
        assert asyncio.run(record(journal)) == "the disk does not answer"
        over.set()
    with opened(tmp_path / "async", durable=False) as journal:
        assert asyncio.run(at_once(journal))


async def at_once(journal: Journal) -> bool:
    return journal.append(event(1)).on_disk().done()


def test_while_the_disk_hangs_nobody_waits_longer_than_patience_and_what_was_given_up_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk, patience = Disk(), 0.4
    disk.free.clear()

    async def hang(journal: Journal) -> list[str]:
        waiters = [journal.append(event(0)).on_disk()]
        for number in (1, 2, 3):  # one batch, and each with a time of its own
            await asyncio.sleep(patience / 5)
            waiters.append(journal.append(event(number)).on_disk())
        given_up = await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 5)
        at_once = journal.append(event(4)).on_disk()
        assert at_once.done(), "nobody else waits for a disk that is known to hang"
        return [str(error) for error in (*given_up, at_once.exception())]

    with opened(tmp_path, sync=disk.sync, patience=patience) as journal:
        assert asyncio.run(hang(journal)) == ["the disk does not answer"] * 5
        assert (journal.failures, journal.gaps, journal.ready()) == (5, 1, False)
        disk.free.set()
        wait_for(lambda: journal.events == 5)
        assert journal.ready()
        journal.append(event(5)).wait(5)
        assert (journal.failures, journal.gaps) == (5, 1), "what came late was answered unrecorded, and that is told"
    assert recorded(tmp_path) == [f"e{number}" for number in range(6)]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "exchanges cannot be recorded: the disk does not answer"),
        ("WARNING", "exchanges are recorded again; 5 were not so far"),
    ]


def test_what_was_given_up_and_fails_then_counts_once(tmp_path: Path) -> None:
    disk = Disk()
    disk.free.clear()
    with opened(tmp_path, sync=disk.sync) as journal:
        given_up, waits = journal.append(event(0)), journal.append(event(1))
        with pytest.raises(RecordingFailed, match="does not answer"):
            given_up.wait(0.01)
        disk.error = OSError(errno.EIO, "Input/output error")
        disk.free.set()
        with pytest.raises(RecordingFailed, match="Input/output error"):
            waits.wait(5)
        assert (journal.failures, journal.gaps) == (2, 1)


def test_async_says_when_its_window_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.journal.writer.FLUSH", 0.01)
    disk = Disk()
    disk.free.clear()
    with opened(tmp_path, durable=False, sync=disk.sync, patience=0.05) as journal:
        journal.append(event(0)).wait(0)
        wait_for(journal.hangs)
        assert not journal.ready()
        with pytest.raises(RecordingFailed, match="does not answer"):
            journal.append(event(1)).wait(0)
        assert journal.failures == 1
        disk.free.set()


def broken() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_async_does_not_wait_and_syncs_within_its_window(tmp_path: Path) -> None:
    disk = Disk()
    disk.free.clear()
    with opened(tmp_path, durable=False, sync=disk.sync) as journal:
        for number in range(10):
            journal.append(event(number)).wait(0)
        disk.free.set()
        deadline = time.monotonic() + 3
        while journal.events < 10 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert journal.events == 10
        assert 1 <= journal.syncs <= 3
    assert len(recorded(tmp_path)) == 10


def test_close_writes_what_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "node", 1, durable=False)
    for number in range(500):
        journal.append(event(number))
    journal.close()
    assert len(recorded(tmp_path)) == 500
    with pytest.raises(RecordingFailed, match="closed"):
        journal.append(event(1))


@pytest.mark.parametrize("durable", [True, False])
def test_a_sync_that_fails_is_told_and_a_new_segment_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    monkeypatch.setattr("sidecar.journal.writer.FLUSH", 0.05)
    disk = Disk()
    with opened(tmp_path, durable=durable, sync=disk.sync) as journal:
        journal.append(event(0)).wait(5)
        wait_for(lambda: journal.events == 1)
        disk.error = OSError(errno.EIO, "Input/output error")
        for number in (1, 2):
            ticket = journal.append(event(number))
            if durable:
                with pytest.raises(RecordingFailed, match="Input/output error"):
                    ticket.wait(5)
            wait_for(lambda number=number: journal.failures == number)
        disk.error = None
        journal.append(event(3)).wait(5)
        wait_for(lambda: journal.events == 2)
        assert (journal.gaps, journal.failures) == (1, 2)
    kept = ["e0", "e3"] if durable else ["e0", "e1", "e2", "e3"]
    assert recorded(tmp_path) == kept, "what failed is not there twice, and not when its caller was told so"
    assert verify(segments(tmp_path)).ok


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_no_json_fails_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        bad = journal.append({"event": {"id": object()}})
        good = journal.append(event(1))
        good.wait(5)
        with pytest.raises(RecordingFailed, match="no JSON document"):
            bad.wait(5)
        assert (journal.failures, journal.gaps) == (1, 0)
    assert recorded(tmp_path) == ["e1"]


def test_a_disk_that_hangs_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.journal.writer.WAITING", 5)
    disk = Disk()
    disk.free.clear()
    with opened(tmp_path, sync=disk.sync) as journal:
        journal.append(event(0))
        wait_for(lambda: journal.waiting == 0)
        tickets = [journal.append(event(number)) for number in range(1, 6)]
        for _ in range(2):
            with pytest.raises(RecordingFailed, match="does not keep up"):
                journal.append(event(6))
        assert (journal.failures, journal.gaps) == (2, 1)
        disk.free.set()
        tickets[-1].wait(5)
    assert recorded(tmp_path) == [f"e{number}" for number in range(6)]


def test_few_large_events_fill_memory_no_more_than_many_small_ones(tmp_path: Path) -> None:
    disk = Disk()
    disk.free.clear()
    with opened(tmp_path, sync=disk.sync) as journal:
        journal.append(event(0))
        wait_for(lambda: journal.waiting == 0)
        tickets = [journal.append(event(1), None, WAITING_BYTES * 2)]  # alone, it is taken whatever its size
        with pytest.raises(RecordingFailed, match="does not keep up"):
            journal.append(event(2), None, 1)
        disk.free.set()
        tickets[0].wait(5)
        tickets += [journal.append(event(number), None, WAITING_BYTES // 2) for number in (3, 4)]
        tickets[-1].wait(5)
    assert recorded(tmp_path) == ["e0", "e1", "e3", "e4"]


def test_room_is_set_aside_by_the_writer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, free, by = Reserve(tmp_path / "reserve", 4096), threading.Event(), list[str]()
    with opened(tmp_path / "journal", reserve=reserve) as journal:
        assert journal.ready(), "before the first request comes"

        def slow(_descriptor: int, _offset: int, _size: int) -> None:
            by.append(threading.current_thread().name)
            free.wait(5)

        monkeypatch.setattr("os.posix_fallocate", slow)
        assert reserve.spend(OSError(errno.ENOSPC, "No space left on device"))
        journal.append(event(0)).wait(5)
        wait_for(lambda: not journal.ready() and by)
        free.set()
        wait_for(journal.ready)
    assert by == ["journal"]


def test_where_no_segment_can_be_made_each_is_told_and_one_gap_is_counted(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("where the directory should be")
    with opened(blocked) as journal:
        for _ in range(2):
            with pytest.raises(RecordingFailed):
                journal.append(event(1), None).wait(5)
        assert (journal.gaps, journal.failures, journal.events) == (1, 2, 0)


def test_the_chain_is_as_documented(tmp_path: Path) -> None:
    from hashlib import sha256

    with opened(tmp_path) as journal:
        for number in range(2):
            journal.append(event(number)).wait(5)
    (path,) = segments(tmp_path)
    previous = sha256(path.stem.encode()).hexdigest()
    for line, _ in read_segment(path):
        hashed = line["event"]
        assert hashed["event"].pop("hash") == line["hash"]
        assert line["previous"] == previous
        previous = sha256(previous.encode() + orjson.dumps(hashed, option=orjson.OPT_SORT_KEYS)).hexdigest()
        assert previous == line["hash"]
