"""What is said again in the same words is not learned anew for a while, unless something has happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sidecar.clock import stamp
from sidecar.standby.standby import AGAIN, QUEUE_BYTES, SAID_AGAIN, Standby
from sidecar.standby.tables import records
from tests.unit.sidecar.standby.test_standby import HOSP, World, request, response

NOTE = {"id": 5, "title": "n", "patient_id": 17}
TARGET = "/notes/5"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def seen_at(world: World) -> int:
    """The stamp at which the note was last learned."""
    with world.engine.connect() as connection:
        return int(connection.scalar(select(records.c.stamp).where(records.c.id == "5")) or 0)


def learn(world: World, t0: int, value: Any = NOTE, status: int = 200, **fields: str) -> None:
    answer, asked = response(status, value), request("GET", TARGET)
    answer.headers += [(name.replace("_", "-"), text) for name, text in fields.items()]
    world.standby.learn(HOSP.match("GET", TARGET), asked, answer, "u", t0)
    world.standby.flush()


def test_the_same_words_are_learned_once_in_a_while(world: World) -> None:
    first = stamp()
    learn(world, first)
    learn(world, first + 2 * AGAIN, Date="later", X_Request_Id="another")
    assert seen_at(world) == first
    learn(world, first + SAID_AGAIN)
    assert seen_at(world) == first + SAID_AGAIN


def _refused_meanwhile(world: World, at: int) -> None:
    learn(world, at + 1, {"error": "no"}, 403)


def _gap(world: World, at: int) -> None:
    world.standby.mark_gap("a test")


def _own_write(world: World, at: int) -> None:
    world.end(world.begin("PATCH", "/notes/7", {"title": "x"}), 422)


def _write_of_another(world: World, at: int) -> None:
    other = World.__new__(World)
    other.standby = Standby(HOSP, world.engine, world.standby._settings)
    other.end(other.begin("PATCH", "/notes/7", {"title": "x"}), 200, {"id": 7, "title": "x", "patient_id": 17})
    other.standby.close()
    world.standby.refresh()


def _gap_of_another(world: World, at: int) -> None:
    other = Standby(HOSP, world.engine, world.standby._settings)
    other.mark_gap("a test")
    other.close()
    world.standby.refresh()


@pytest.mark.parametrize(
    "happens",
    [_refused_meanwhile, _gap, _own_write, _write_of_another, _gap_of_another],
    ids=lambda each: each.__name__,
)
def test_once_something_has_happened_they_are_learned_again(
    world: World, happens: Callable[[World, int], None]
) -> None:
    first = stamp()
    world.standby.refresh()
    learn(world, first)
    happens(world, first)
    again = max(stamp(), first + 2 * AGAIN)
    learn(world, again)
    assert seen_at(world) == again


def test_other_fields_are_other_words(world: World) -> None:
    first = stamp()
    learn(world, first)
    learn(world, first + 2 * AGAIN, ETag='"another"')
    assert seen_at(world) == first + 2 * AGAIN


def test_what_was_not_believed_is_learned_when_it_is_said_again(world: World) -> None:
    """A write was under way while it was first said, of which nobody here knows when it ended."""
    other = World.__new__(World)
    other.standby = Standby(HOSP, world.engine, world.standby._settings)
    write = other.begin("PATCH", TARGET, {"title": "x"})
    first = stamp()
    learn(world, first)
    other.end(write, 422)
    other.standby.close()
    again = max(stamp(), first + 2 * AGAIN)
    learn(world, again)
    assert seen_at(world) == again


def test_what_waits_to_be_learned_does_not_wait_twice(world: World) -> None:
    first = stamp()
    with world.engine.begin():  # the learner waits for it
        for since in (0, 2, 4):
            answer = response(200, NOTE)
            world.standby.learn(HOSP.match("GET", TARGET), request("GET", TARGET), answer, "u", first + since * AGAIN)
        waiting = world.standby._work.qsize()
    world.standby.flush()
    assert (waiting <= 1, seen_at(world)) == (True, first)


def test_what_was_not_learned_for_want_of_room_is_learned_when_it_is_said_again(world: World) -> None:
    first = stamp()
    with world.engine.begin():  # the learner waits for it
        large = response(500, "x" * QUEUE_BYTES)
        world.standby.learn(HOSP.match("GET", "/notes/7"), request("GET", "/notes/7"), large, "u", first)
        world.standby.learn(HOSP.match("GET", TARGET), request("GET", TARGET), response(200, NOTE), "u", first)
    world.standby.flush(60)
    assert seen_at(world) == 0
    again = max(stamp(), first + 2 * AGAIN)
    learn(world, again)
    assert seen_at(world) == again
