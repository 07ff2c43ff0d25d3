"""The brake on guessing slows guessers down, and shuts nobody else out."""

from __future__ import annotations

import pytest

from dashboard.auth.sessions import FREE_TRIES, FREE_TRIES_SHARED, SLOWED, Locked, Sessions
from dashboard.auth.users import Role, Users
from dashboard.data.tables import metadata
from sidecar.storage.database import open_memory
from sidecar.timeunits import SECOND

PASSWORD = "a long enough one"


class World:
    def __init__(self) -> None:
        self.now = 10**18
        engine = open_memory()
        metadata.create_all(engine)
        self.users = Users(engine, lambda: self.now)
        self.sessions = Sessions(engine, self.users, 1800, lambda: self.now)
        self.users.add("Ann", Role.AUDITOR, PASSWORD)
        self.users.add("Bob", Role.AUDITOR, PASSWORD)

    def guess(self, times: int, name: str = "Ann", address: str = "192.0.2.6") -> None:
        for number in range(times):
            try:
                assert self.sessions.sign_in(name, f"guess {number}", address, "") is None
            except Locked as locked:
                self.now += locked.seconds * SECOND

    def pause(self, *addresses: str) -> int:
        """Seconds that one of these wrong tries has to wait; 0: none."""
        for address in addresses:
            try:
                self.sessions.sign_in("Ann", "guess", address, "")
            except Locked as locked:
                return locked.seconds
        return 0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("dashboard.auth.users.SCRYPT", "scrypt:1024:8:1")  # what is tried here is not how hard it is
    return World()


def test_who_guesses_waits_longer_and_longer(world: World) -> None:
    world.guess(FREE_TRIES)
    with pytest.raises(Locked):
        world.sessions.sign_in("Ann", PASSWORD, "192.0.2.6", "")
    world.guess(20)
    assert world.pause("192.0.2.6", "192.0.2.6") > 60


def test_guesses_from_elsewhere_keep_nobody_out(world: World) -> None:
    world.guess(FREE_TRIES + 3)
    assert world.sessions.sign_in("Ann", PASSWORD, "192.0.2.9", "") is not None


def test_guesses_from_everywhere_slow_the_name_down_for_moments_only(world: World) -> None:
    for number in range(FREE_TRIES_SHARED + 20):
        world.guess(1, address=f"198.51.100.{number}")
    assert 0 < world.pause("203.0.113.1", "203.0.113.2") <= SLOWED // SECOND
    world.now += SLOWED
    assert world.sessions.sign_in("Ann", PASSWORD, "203.0.113.7", "") is not None


def test_one_guesser_shuts_out_nobody_behind_the_same_address(world: World) -> None:
    for number in range(2 * FREE_TRIES_SHARED):
        world.guess(1, f"name {number}")
    world.now += SLOWED
    assert world.sessions.sign_in("Bob", PASSWORD, "192.0.2.6", "") is not None


def test_a_known_browser_is_let_through_and_has_tries_of_its_own(world: World) -> None:
    browser = world.sessions.known_browser("Ann", None)
    assert world.sessions.known_browser("Ann", browser) == browser
    world.guess(3 * FREE_TRIES)
    assert world.sessions.sign_in("Ann", PASSWORD, "192.0.2.6", "", browser) is not None
    for _ in range(FREE_TRIES):
        assert world.sessions.sign_in("Ann", "guess", "192.0.2.6", "", browser) is None
    with pytest.raises(Locked):
        world.sessions.sign_in("Ann", PASSWORD, "192.0.2.6", "", browser)


@pytest.mark.parametrize("browser", ["made up", ""])
def test_a_browser_that_nobody_has_signed_in_with_is_none(world: World, browser: str) -> None:
    mine = world.sessions.known_browser("Bob", None)
    world.guess(FREE_TRIES)
    for token in (browser, mine):  # another's is not Ann's
        with pytest.raises(Locked):
            world.sessions.sign_in("Ann", PASSWORD, "192.0.2.6", "", token)
