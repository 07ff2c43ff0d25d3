"""When what the standby knows stays verified although the shared database was away."""

from __future__ import annotations

import pytest

from sidecar.standby.absence import BLINK, TURN, Absence
from sidecar.storage.heartbeat import Steady
from sidecar.upstream.refusals import Refusals

STEP = 0.25


class World(Steady):
    """A heartbeat, and an upstream that refuses everybody or nobody, by one clock that is set by hand."""

    def __init__(self, bypass_after: float = 3.0) -> None:
        self.now, self.away, self.late, self.refuses, self.gaps = 10.0, False, False, True, 0
        refusals = Upstream(self)
        self.passed_by = self._count
        self.absence = Absence(self, refusals, bypass_after, lambda: self.passed_by(), lambda: self.now)

    def why_away(self) -> str | None:
        return "it is" if self.away else None

    def is_late(self) -> bool:
        return self.late

    def _count(self) -> None:
        self.gaps += 1

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.absence.look()

    def fail_over(self) -> None:
        self.wait(1)
        self.late = True
        self.wait(1)
        self.away = True
        self.wait(8)
        self.late = self.away = False


class Upstream(Refusals):
    def __init__(self, world: World) -> None:
        super().__init__("http://upstream", lambda: world.now)
        self._world = world

    def _is_refused(self) -> bool:
        return self._world.refuses


def test_while_the_upstream_refuses_everybody_nothing_passes_by() -> None:
    world = World()
    world.fail_over()
    world.wait(2 * TURN)
    assert world.gaps == 0
    world.refuses = False  # it comes back when the balancer sends users here again
    world.wait(10)
    assert world.gaps == 0


def test_where_the_upstream_served_all_the_while_what_is_known_is_unverified() -> None:
    world = World()
    world.refuses = False
    world.fail_over()
    world.wait(10)
    assert world.gaps == 1


def test_where_it_served_for_a_moment_what_is_known_is_unverified() -> None:
    world = World()
    world.late = True
    world.wait(1)
    world.away = True
    world.wait(2)
    world.refuses = False
    world.wait(STEP)
    world.refuses = True
    world.wait(2)
    world.late = world.away = False
    world.wait(10)
    assert world.gaps == 1


def test_where_it_served_before_the_balancer_had_turned_back_what_is_known_is_unverified() -> None:
    world = World()
    world.fail_over()
    world.wait(TURN / 2)
    assert world.gaps == 0
    world.refuses = False
    world.wait(10)
    assert world.gaps == 1


def test_until_it_was_seen_what_an_absence_means_nothing_is_answered() -> None:
    world, told = World(), list[str | None]()
    world.passed_by = lambda: told.append(world.absence.why_away())
    world.refuses = False
    world.fail_over()
    assert world.why_away() is None
    assert world.absence.why_away() is not None
    world.wait(STEP)
    assert (len(told), told[0] is not None, world.absence.why_away()) == (1, True, None)


def test_while_everybody_is_refused_it_is_answered_again_at_once() -> None:
    world = World()
    world.fail_over()
    world.wait(STEP)
    assert world.absence.why_away() is None


@pytest.mark.parametrize(("unseen", "gaps"), [(0.0, 0), (BLINK + STEP, 1)])
def test_what_was_not_seen_to_be_refused_before_users_were_turned_away_counts_as_served(
    unseen: float, gaps: int
) -> None:
    world = World()
    world.wait(1)
    world.now += unseen  # the thread had no time to look
    world.away = True  # at once: no connection was left
    world.wait(5)
    world.away = False
    world.wait(10)
    assert world.gaps == gaps


@pytest.mark.parametrize(("bypass_after", "gaps"), [(0.0, 1), (3.0, 1), (TURN + 10, 0)])
def test_an_absence_before_the_end_of_which_the_balancer_does_not_turn_is_none(bypass_after: float, gaps: int) -> None:
    world = World(bypass_after)
    world.refuses = False
    world.fail_over()
    world.wait(10)
    assert world.gaps == gaps


def test_one_absence_that_begins_before_the_last_is_over_is_the_same() -> None:
    world = World()
    world.fail_over()
    world.wait(TURN / 2)
    world.fail_over()
    world.refuses = False
    world.wait(10)
    assert world.gaps == 1
