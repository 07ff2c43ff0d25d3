"""A process that has no connection says so, whatever the others of its node prove: not at once, for one is soon had."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Engine

from sidecar.settings import Settings
from sidecar.storage.heartbeat import AWAY, LATE, Beating, Proof
from sidecar.timeunits import SECOND


class Pool:
    def __init__(self) -> None:
        self.pool = self
        self.empty = False

    def try_one(self) -> None:
        if self.empty:
            raise OSError("sorry, too many clients already")


class Node:
    """One process that is looked at; another proves at each step that the database takes writes."""

    def __init__(self, data: Path) -> None:
        self.now, self.pool = time.monotonic_ns() - 100 * SECOND, Pool()
        settings = Settings(data=data, seal_key=data / "seal-key", upstream="http://127.0.0.1:1")
        self.beating = Beating(settings, cast("Engine", self.pool), lambda: self.now)
        self._other = Proof(data / "database.proof")

    def after(self, passed: int) -> str | None:
        """Why it is away once so many ns have passed."""
        self.now += passed
        self._other.note(tried=self.now, proven=self.now)
        self.beating.look()
        return self.beating.why_away()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.beating.close()


def test_who_has_a_connection_is_not_away(node: Node) -> None:
    assert [node.after(SECOND) for _ in range(5)] == [None] * 5


def test_who_has_none_says_so_after_a_while(node: Node) -> None:
    node.pool.empty = True
    assert [node.after(each) for each in (0, LATE - 1)] == [None, None]
    assert node.after(1) == "a process has no connection to the database (sorry, too many clients already)"


def test_who_had_one_in_between_begins_to_count_anew(node: Node) -> None:
    for empty in (True, False, True):
        node.pool.empty = empty
        assert node.after(LATE - 1) is None


def test_who_has_one_again_is_back_once_that_has_lasted(node: Node) -> None:
    node.pool.empty = True
    assert [node.after(each) is None for each in (0, LATE)] == [True, False]
    node.pool.empty = False
    assert [node.after(each) is None for each in (AWAY - 1, 1)] == [False, True]
