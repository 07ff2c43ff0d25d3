"""Who is one too many at an endpoint, and what they wait for."""

from __future__ import annotations

import threading
import time

from sidecar.gateway.crowd import STALLED, Crowd


def hung() -> Crowd:
    """With room for one, who has waited for a while."""
    crowd = Crowd(1)
    crowd.waiting("notes").__enter__()
    time.sleep(STALLED + 0.01)
    return crowd


def test_one_too_many_is_crowded_whatever_happens_elsewhere() -> None:
    crowd = Crowd(1)
    with crowd.waiting("notes") as first, crowd.waiting("notes") as second, crowd.waiting("patients") as other:
        assert (first, second, other) == (False, True, False)
    with crowd.waiting("notes") as again:
        assert not again


def test_an_endpoint_moves_until_nothing_has_come_for_a_while() -> None:
    crowd = Crowd(1)
    with crowd.waiting("notes"):
        assert crowd.moves("notes")
        time.sleep(STALLED + 0.01)
        crowd.progressed("patients")
        assert not crowd.moves("notes")
        crowd.progressed("notes")
        assert crowd.moves("notes")


def test_those_who_wait_for_a_sign_of_life_get_it_at_once() -> None:
    crowd, told = hung(), list[bool]()

    def wait() -> None:
        while not (moves := crowd.moves("notes")):
            pass
        told.append(moves)

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    time.sleep(0.02)
    assert told == []
    crowd.progressed("notes")
    for thread in waiting:
        thread.join(5)
    assert told == [True] * 3
