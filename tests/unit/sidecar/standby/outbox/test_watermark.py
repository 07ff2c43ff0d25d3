"""The mark only rises, is whole whenever it is read, and says so where it cannot be kept."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from sidecar.standby.outbox.watermark import Mark, Watermark, read


def test_it_only_rises(tmp_path: Path) -> None:
    mark = Watermark(tmp_path / "mark")
    assert mark.read() == Mark()
    mark.raise_to(Mark(7, 2_000_000_000))
    mark.raise_to(Mark(9, 0))
    mark.raise_to(Mark(3, 2_000_000_004))
    assert mark.read() == read(tmp_path / "mark") == Mark(9, 2_000_000_004)


def test_what_the_release_before_wrote_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "mark").write_text(json.dumps({"changes": 12, "next_id": 2_000_000_003}))
    mark = Watermark(tmp_path / "mark")
    mark.raise_to(Mark(11, 2_000_000_001))
    assert mark.read() == Mark(12, 2_000_000_003)
    mark.raise_to(Mark(13, 2_000_000_003))
    assert json.loads((tmp_path / "mark").read_text()) == {"changes": 13, "next_id": 2_000_000_003}


def test_many_who_raise_it_at_once_leave_the_highest(tmp_path: Path) -> None:
    seen: list[Mark] = []

    def climb(first: int) -> None:
        mine = Watermark(tmp_path / "mark")
        for changes in range(first, 401, 4):
            mine.raise_to(Mark(changes, 2 * changes))
            seen.append(mine.read())

    threads = [threading.Thread(target=climb, args=(first,)) for first in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mark.next_id == 2 * mark.changes > 0 for mark in seen)
    assert read(tmp_path / "mark") == Mark(400, 800)


def test_a_mark_that_cannot_be_kept_is_said_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    mark = Watermark(tmp_path / "file" / "mark")
    for changes in range(3):
        mark.raise_to(Mark(changes, 0))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    (tmp_path / "torn").write_text('{"changes": 1')
    assert Watermark(tmp_path / "torn").read() == read(tmp_path / "torn") == Mark()
