"""Who is one too many at an endpoint, and what they wait for."""

from __future__ import annotations

import threading
import time

from sidecar.gateway.crowd import STALLED, Crowd
from tests.support.stack import until


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
    told = list[bool]()
    for _ in range(20):  # now and then a sign comes too late on a busy machine
        crowd = hung()
        waiting = threading.Thread(target=lambda crowd=crowd: told.append(crowd.moves("notes")))
        waiting.start()
        until(lambda crowd=crowd: crowd._signs, what="waiting")
        crowd.progressed("notes")
        waiting.join(5)
        if told[-1]:
            return
    raise AssertionError(f"never: {told}")
