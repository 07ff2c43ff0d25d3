"""A lease is taken over by what the one who waits has seen, whatever the holder's clock said."""

from __future__ import annotations

from sqlalchemy import select, update

from sidecar.storage.database import open_memory
from sidecar.storage.lease import AGAIN, TTL, Lease, leases
from tests.support.tables import lay


class Hands:
    """A clock that is set by hand."""

    now = 0

    def __call__(self) -> int:
        return self.now


def test_a_holder_whose_clock_was_ahead_holds_it_no_longer_than_another() -> None:
    engine, hands = open_memory(), Hands()
    lay(engine)
    dead, waiting = Lease(engine, "replay", "dead", hands), Lease(engine, "replay", "waiting", hands)
    assert dead.hold()
    with engine.begin() as connection:  # as by a clock an hour ahead
        connection.execute(update(leases).values(until=leases.c.until + 3600 * 10**9))
    assert not waiting.hold()
    hands.now += TTL - AGAIN
    assert not waiting.hold()
    hands.now += AGAIN
    assert waiting.hold()
    assert waiting.token == 2


def test_a_holder_who_renews_it_keeps_it_and_one_who_was_stopped_does_not() -> None:
    engine, hands = open_memory(), Hands()
    lay(engine)
    one, two = Lease(engine, "replay", "one", hands), Lease(engine, "replay", "two", hands)
    assert one.hold()
    for _ in range(10):
        hands.now += TTL // 2
        assert one.hold()
        assert not two.hold()
    hands.now += TTL
    with engine.begin() as connection:
        assert not one.still_mine(connection)  # it was stopped, and may have been followed
    assert two.hold()
    assert not one.hold()
    two.release()
    hands.now += AGAIN
    with engine.connect() as connection:
        assert connection.scalar(select(leases.c.until)) == 0
    assert one.hold()
