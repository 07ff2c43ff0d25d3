"""A wall clock that has jumped destroys nothing before a person has called it right."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sidecar.background.retention import drop_old_days
from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.storage.trusted_clock import LEAP, OFF, TrustedClock, trust
from tests.contracts.event_store import event

DAY = 86400.0


class World:
    """Two clocks, and the process that looks at them."""

    def __init__(self, data: Path) -> None:
        data.mkdir(exist_ok=True)
        self.settings = Settings(upstream="http://hosp.test", data=data)
        self.wall, self.steady = 1_800_000_000.0, 50.0
        self.start()

    def start(self) -> None:
        self.clock = TrustedClock(self.settings, lambda: self.wall, lambda: self.steady)

    def later(self, seconds: float, leap: float = 0.0) -> bool:
        self.wall, self.steady = self.wall + seconds + leap, self.steady + seconds
        return self.clock.is_right()


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    assert world.later(1)
    return world


def test_time_that_goes_on_is_trusted(world: World) -> None:
    assert all(world.later(3600, leap=0.2) for _ in range(1000))


@pytest.mark.parametrize("leap", [400 * DAY, 2 * LEAP, -2 * LEAP])
def test_a_jump_holds_until_a_person_trusts_it(world: World, leap: float) -> None:
    assert not world.later(60, leap)
    assert not world.later(3600)
    world.start()
    assert not world.later(3600), "also after a restart"
    trust(world.settings, world.wall)
    assert world.later(60)
    assert world.later(3600)
    assert not world.later(60, leap), "the next one"


def test_one_that_comes_back_by_itself_waits_for_a_person_too(world: World) -> None:
    assert not world.later(60, 400 * DAY)
    assert not world.later(60, -400 * DAY)


@pytest.mark.parametrize(("away", "right"), [(DAY, True), (OFF + DAY, False), (-2 * LEAP, False)])
def test_between_runs_it_goes_by_what_was_last_seen(world: World, away: float, right: bool) -> None:
    world.wall, world.steady = world.wall + away, 3.0
    world.start()
    assert world.clock.is_right() is right


def test_retention_drops_no_day_by_a_clock_that_has_jumped(tmp_path: Path) -> None:
    world, stop = World(tmp_path), threading.Event()
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    store.append([event(1)])
    assert world.later(1)
    assert not world.later(1, 4000 * DAY)
    looked: list[bool] = []

    def is_right() -> bool:
        looked.append(world.clock.is_right())
        if len(looked) == 2:
            stop.set()
        return looked[-1]

    thread = threading.Thread(target=drop_old_days, args=(world.settings, store, stop, is_right, 0.01, 0.01))
    thread.start()
    thread.join(10)
    assert looked == [False, False]
    assert len(store.search(Filter()).events) == 1
    store.close()
