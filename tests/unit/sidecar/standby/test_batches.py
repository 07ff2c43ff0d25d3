"""Answers are learned from by many in a transaction; what cannot be learned takes nothing else with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from sidecar.clock import stamp
from sidecar.standby.standby import BATCH
from tests.unit.sidecar.standby.test_standby import HOSP, World, request, response

UNWRITABLE = "\udcff"
"""No database takes it as text."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def learn(world: World, number: int, user: str = "u") -> None:
    target = f"/notes/{number}"
    note, now = {"id": number, "title": "n", "patient_id": 17}, stamp()
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
