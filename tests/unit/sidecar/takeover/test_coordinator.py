"""Workers agree within a second, one of them makes each transition, state survives, and a lost database is survived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from sidecar.settings import Settings
from sidecar.storage.database import create_all, open_engine
from sidecar.takeover.circuit import State
from sidecar.takeover.coordinator import Switchboard, UnknownEndpoint
from sidecar.takeover.routing import Mode, Who
from sidecar.takeover.store import Transition
from sidecar.takeover.tables import tallies
from sidecar.timeunits import SECOND
from tests.support.tables import lay

ENDPOINTS = ("notes.read", "notes.create", "patients.list")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(data=tmp_path))
    lay(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def heard() -> list[Transition]:
    return []


@pytest.fixture
def pair(engine: Engine, clock: Clock, heard: list[Transition]) -> tuple[Switchboard, Switchboard]:
    one, two = (Switchboard(engine, ENDPOINTS, f"node:{n}", on_transition=heard.append, clock=clock) for n in (1, 2))
    return one, two


def tick(*boards: Switchboard) -> None:
    for board in boards:
        board.tick()


def refuse(board: Switchboard, times: int = 3) -> None:
    for _ in range(times):
        board.observe("notes.read", False, True)


def test_failures_spread_over_workers_open_for_all_once(
    pair: tuple[Switchboard, Switchboard], clock: Clock, heard: list[Transition]
) -> None:
    one, two = pair
    for wait in (1, 0):
        one.observe("notes.read", False)
        two.observe("notes.read", False)
        tick(one, two)
        clock.advance(wait)
    tick(one, two)
    for board in pair:
        assert board.decide("notes.read", "ann", False).who is Who.STANDBY
        assert board.decide("notes.read", "ann", True).who is Who.NOBODY
        assert board.decide("patients.list", "ann", False).who is Who.UPSTREAM
    assert [(made.endpoint, made.before, made.after) for made in heard] == [("notes.read", "closed", "open")]
    assert heard[0].takeover
    assert one.history() == heard


def test_hands_back_after_three_successful_probes(
    pair: tuple[Switchboard, Switchboard], clock: Clock, heard: list[Transition]
) -> None:
    one, two = pair
    refuse(one)
    tick(one, two)
    assert two.decide("notes.read", "ann", False).reason == "circuit_open"
    clock.advance(1.1)
    tick(one, two)
    for board in (one, two, one):
        assert board.probes_due() == ["notes.read"]
        assert board.decide("notes.read", "ann", False).who is Who.PROBE
        assert board.decide("notes.read", "bob", False).reason == "circuit_half_open"
        assert board.probes_due() == []
        board.observe("notes.read", True)
    tick(one, two)
    tick(one)
    assert one.decide("notes.read", "ann", True).who is two.decide("notes.read", "ann", True).who is Who.UPSTREAM
    assert [made.after for made in heard] == ["open", "half_open", "closed"]


def test_a_failed_probe_opens_for_longer(pair: tuple[Switchboard, Switchboard], clock: Clock) -> None:
    one, two = pair
    refuse(one)
    tick(one, two)
    clock.advance(1.1)
    tick(one, two)
    two.observe("notes.read", False)
    tick(two, one)
    assert one.state("notes.read").circuit.backoff == 2
    clock.advance(1.1)
    tick(one, two)
    assert two.state("notes.read").circuit.state is State.OPEN


def test_a_probe_that_is_released_or_forgotten_makes_room(pair: tuple[Switchboard, Switchboard], clock: Clock) -> None:
    one, _ = pair
    refuse(one)
    one.tick()
    clock.advance(1.1)
    one.tick()
    assert one.decide("notes.read", "ann", False).who is Who.PROBE
    one.release("notes.read")
    assert one.decide("notes.read", "ann", False).who is Who.PROBE
    assert one.decide("notes.read", "ann", False).who is Who.STANDBY
    clock.advance(36)
    assert one.decide("notes.read", "ann", False).who is Who.PROBE


def test_operators_actions_reach_others_and_outlive_a_restart(
    pair: tuple[Switchboard, Switchboard], engine: Engine, clock: Clock, heard: list[Transition]
) -> None:
    one, two = pair
    one.takeover("notes.read", "ops", "maintenance")
    one.route("patients.list", 30, "ops")
    two.tick()
    assert two.decide("notes.read", "ann", False).reason == "takeover"
    again = Switchboard(engine, ENDPOINTS, "node:3", clock=clock)
    again.tick()
    state = again.state("notes.read")
    assert (state.mode, state.reason, state.changed_by) == (Mode.STANDBY, "maintenance", "ops")
    assert again.state("patients.list").percent == 30
    callers = [f"staff-{number}" for number in range(50)]
    sides = [[board.decide("patients.list", caller, False) for caller in callers] for board in (one, two, again)]
    assert sides[0] == sides[1] == sides[2]
    assert len(set(sides[0])) == 2
    again.handback("notes.read", "ops")
    one.tick()
    assert one.decide("notes.read", "ann", False).who is Who.UPSTREAM
    assert [made.takeover for made in heard] == [True, False]


def test_an_action_said_twice_is_one_transition(pair: tuple[Switchboard, Switchboard]) -> None:
    for board in pair:
        board.takeover("notes.read", "ops")
    assert len(pair[0].history()) == 1


def test_handback_probes_an_open_circuit_at_once(pair: tuple[Switchboard, Switchboard]) -> None:
    one, two = pair
    refuse(one)
    one.tick()
    two.handback("notes.read", "ops")
    one.tick()
    assert one.decide("notes.read", "ann", False).who is Who.PROBE


def test_an_open_circuit_outlives_a_restart(engine: Engine, clock: Clock) -> None:
    first = Switchboard(engine, ENDPOINTS, "node:1", clock=clock)
    refuse(first)
    first.tick()
    second = Switchboard(engine, ENDPOINTS, "node:2", clock=clock)
    second.tick()
    assert second.decide("notes.read", "ann", False).reason == "circuit_open"


def test_unknown_endpoints(pair: tuple[Switchboard, Switchboard]) -> None:
    one, _ = pair
    for _ in range(9):
        one.observe("other", False, True)
    one.tick()
    assert one.decide("other", "ann", True).who is Who.UPSTREAM
    with pytest.raises(UnknownEndpoint):
        one.takeover("other", "ops")
    with pytest.raises(ValueError, match="0 to 100"):
        one.route("notes.read", 101, "ops")


def test_goes_on_without_the_database_and_says_so_once(
    tmp_path: Path, clock: Clock, heard: list[Transition], caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    engine = open_engine(Settings(data=data))
    board = Switchboard(engine, ENDPOINTS, "node:1", on_transition=heard.append, clock=clock)
    refuse(board)  # the tables do not exist: every statement fails
    for _ in range(3):
        board.tick()
    assert board.decide("notes.read", "ann", False).reason == "circuit_open"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "takeover state is not shared, going on with this process's own: OperationalError"
    ]
    create_all(engine)
    board.tick()
    assert "takeover state is shared again" in caplog.text
    with engine.connect() as connection:
        assert connection.execute(select(tallies.c.bad)).scalars().all() == [3]
    engine.dispose()


def test_counts_of_one_second_are_pushed_whole(pair: tuple[Switchboard, Switchboard], engine: Engine) -> None:
    one, _ = pair
    for _ in range(4):
        one.observe("notes.read", True)
        one.tick()
    with engine.connect() as connection:
        assert connection.execute(select(tallies.c.good)).scalars().all() == [4]


def test_old_tallies_are_forgotten(pair: tuple[Switchboard, Switchboard], engine: Engine, clock: Clock) -> None:
    one, _ = pair
    one.observe("notes.read", True)
    one.tick()
    clock.advance(3700)
    one.tick()
    with engine.connect() as connection:
        assert connection.execute(select(tallies)).all() == []
