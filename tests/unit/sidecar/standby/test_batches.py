"""Answers are learned from by many in a transaction; what cannot be learned takes nothing else with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from sidecar.clock import stamp
from sidecar.standby.standby import BATCH, BATCH_BYTES, QUEUE_BYTES
from tests.unit.sidecar.standby.test_standby import HOSP, World, request, response

UNWRITABLE = "\udcff"
"""No database takes it as text."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def learn(world: World, number: int, user: str = "u", title: str = "n") -> None:
    target = f"/notes/{number}"
    note, now = {"id": number, "title": title, "patient_id": 17}, stamp()
    world.standby.learn(HOSP.match("GET", target), request("GET", target), response(200, note), user, now)


def test_what_waits_for_the_database_is_learned_in_few_transactions(world: World) -> None:
    commits: list[object] = []
    with world.engine.begin():  # the learner waits for the first
        for number in range(1, BATCH):
            learn(world, number)
        event.listen(world.engine, "commit", commits.append)
    world.standby.flush()
    assert all(world.answer(f"/notes/{number}") is not None for number in range(1, BATCH))
    made = [each for each in commits if each.get_execution_options().get("writes", True)]  # type: ignore[attr-defined]
    assert len(made) < BATCH / 2
    world.standby.close()


def test_one_that_cannot_be_learned_takes_no_other_with_it(world: World) -> None:
    with world.engine.begin():
        for number in range(1, 20):
            learn(world, number, UNWRITABLE if number == 7 else "u")
    world.standby.flush()
    assert [number for number in range(1, 20) if world.answer(f"/notes/{number}") is None] == [7]
    world.standby.close()


def test_large_answers_fill_a_batch_and_give_their_room_back_before_the_next(world: World) -> None:
    """What does not fit while all of them are held has room once some of them have been learned from."""
    large, late = "x" * BATCH_BYTES, range(1000, 1200)
    left = iter(late)

    def one_more(_: object) -> None:
        learn(world, next(left), title=3 * large)

    with world.engine.begin():  # the learner waits for the first
        for number in range(1, QUEUE_BYTES // BATCH_BYTES):
            learn(world, number, title=large)
        one_more(None)
        event.listen(world.engine, "commit", one_more)
    world.standby.flush(30)
    event.remove(world.engine, "commit", one_more)
    world.standby.flush(30)
    assert world.answer("/notes/1") is not None
    assert [number for number in late if world.answer(f"/notes/{number}") is not None]
    world.standby.close()
