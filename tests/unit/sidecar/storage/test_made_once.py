"""Small files that several threads or processes write at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from sidecar.standby.outbox.watermark import Mark, Watermark
from sidecar.storage.atomic_file import write_atomically
from sidecar.storage.instance import instance_of

T = TypeVar("T")
AT_ONCE = 8
ROUNDS = 50


@pytest.fixture(autouse=True)
def _in_turns() -> Iterator[None]:
    """Threads take turns as often as processes would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], T]) -> list[T]:
    start = Barrier(AT_ONCE)

    def one(number: int) -> T:
        start.wait(10)
        return work(number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_who_asks_at_once_for_a_node_s_instance_is_told_the_same(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        data = tmp_path / str(number)
        told = set(at_once(lambda _, data=data: instance_of(data)))  # type: ignore[misc]
        assert told == {instance_of(data)}


def test_of_those_who_write_a_file_at_once_one_is_the_last_and_nothing_else_is_left(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        path = tmp_path / str(number) / "state.json"
        at_once(lambda n, path=path: write_atomically(path, b"%d" % n * 4096))  # type: ignore[misc]
        assert path.read_bytes() in {b"%d" % n * 4096 for n in range(AT_ONCE)}
        assert list(path.parent.iterdir()) == [path]


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "state.json", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_no_mark_is_lost_where_several_make_the_file(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        mark = Watermark(tmp_path / str(number) / "mark")
        at_once(lambda n, mark=mark: mark.raise_to(Mark(n + 1)))  # type: ignore[misc]
        assert mark.read() == Mark(AT_ONCE)
