"""Places at the upstream: the setting holds over processes, restarts and deaths."""

from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.storage.shared_map import shared_map
from sidecar.upstream import concurrency
from sidecar.upstream.concurrency import ENDPOINTS, Slots
from tests.support.stack import until

MOSTLY_TWO = (1, 1, 1, 2, 2, 2, 3, 4, 5)
GONE = 2**31
"""No process's id."""


def test_a_killed_process_leaves_its_places_taken_until_its_calls_must_have_ended(tmp_path: Path) -> None:
    killed = Slots(tmp_path / "places", 2, longest=0.2)
    assert killed.take([1]) == (0, 0)
    killed.close()
    successor = Slots(tmp_path / "places", 2, longest=0.2)
    assert successor.in_flight() == 1
    assert successor.take([2]) == (1, 0)
    assert successor.take([3]) is None
    time.sleep(0.25)
    assert successor.take([3]) == (0, 0)


def test_a_killed_process_holds_places_for_as_long_as_the_slowest_such_call_took(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 4, longest=60)
    for took in (0.0, 0.3, 0.0, 0.0, 0.0):
        place, _index = slots.take([1]) or (-1, -1)
        time.sleep(took)
        slots.give(place)
    with (tmp_path / "places").open("r+b") as table:
        for endpoint in (1, 2):
            table.write(struct.pack("<IIQ", GONE, endpoint, time.monotonic_ns()))
    assert slots.in_flight() == 2, "the upstream may work on"
    time.sleep(0.15)
    assert slots.in_flight() == 2, "most such calls are over by now, and the slowest is not"
    until(lambda: slots.in_flight() == 1, 5, "the call is over, most likely")
    time.sleep(0.2)
    assert slots.in_flight() == 1, "how long the other endpoint's calls take nobody knows"
    alive = slots.take([1])
    time.sleep(0.2)
    assert (alive is not None, slots.in_flight()) == (True, 2), "who lives gives back"
    slots.close()


def test_while_a_call_takes_longer_than_they_did_nothing_of_a_killed_process_is_over(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 4, longest=60)
    for endpoint in (1, 2):
        place, _index = slots.take([endpoint]) or (-1, -1)
        time.sleep(0.02)
        slots.give(place)
    hung = slots.take([1])
    assert hung is not None
    with (tmp_path / "places").open("r+b") as table:
        table.seek(16)
        for endpoint in (1, 2):
            table.write(struct.pack("<IIQ", GONE, endpoint, time.monotonic_ns()))
    until(lambda: slots.in_flight() == 2, 5, "the other endpoint is as quick as ever")
    time.sleep(0.1)
    assert slots.in_flight() == 2, "this one is not: the killed process's call may hang as well"
    slots.give(hung[0])
    until(lambda: slots.in_flight() == 0, 5, "that was the slowest, and the other has had as long")
    slots.close()


def test_what_was_held_for_too_long_is_not_given_back_twice(tmp_path: Path) -> None:
    slow, other = (Slots(tmp_path / "places", 1, longest=0.1) for _ in range(2))
    assert slow.take([1]) == (0, 0)
    time.sleep(0.15)
    assert other.take([2]) == (0, 0)
    slow.give(0)
    assert other.in_flight() == 1
    other.give(0)
    assert slow.in_flight() == 0


def test_an_endpoint_holds_at_most_twice_what_it_leaves_free(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 8, longest=60)
    taken = [slots.take([1]) for _ in range(8)]
    assert sum(each is not None for each in taken) == 6
    assert slots.take([1, 2], reserve=2) is None
    assert slots.take([1, 2]) == (6, 1)
    assert slots.take([1, 2]) is None  # the last is for one that has none
    assert slots.take([1, 2, 3]) == (7, 2)
    assert slots.take([4]) is None


def take_all(slots: Slots, endpoints: Sequence[int]) -> list[int]:
    """By turns, until none gets another."""
    taken = []
    while found := slots.take([*endpoints[len(taken) % len(endpoints) :], *endpoints]):
        taken.append(found[0])
    return taken


def quick(slots_at: Path, seconds: float) -> None:
    """From now on calls of any endpoint were seen to take so long."""
    numbers = memoryview(shared_map(slots_at.with_name(f"{slots_at.name}-slowest"), ENDPOINTS * 8)).cast("Q")
    numbers[:] = memoryview(array("Q", [int(seconds * 1e9)] * ENDPOINTS))


def test_the_last_place_is_not_kept_while_calls_of_three_endpoints_are_as_quick_as_ever(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 8, longest=60)
    assert len(take_all(slots, (1, 2, 3))) == 7, "how long their calls take is not known yet"
    slots.close()
    quick(tmp_path / "two", 20)
    slots = Slots(tmp_path / "two", 8, longest=60)
    assert len(take_all(slots, (1, 2))) == 7, "should both hang there is one left"
    slots.close()
    quick(tmp_path / "three", 20)
    slots = Slots(tmp_path / "three", 8, longest=60)
    places = take_all(slots, (1, 2, 3))
    assert len(places) == 8
    quick(tmp_path / "three", 0.05)
    slots.give(places[0])
    time.sleep(0.1)
    assert slots.take([1, 2, 3]) is None, "their calls take longer than they did"
    assert slots.take([4]) is not None
    slots.close()


@given(
    limit=st.integers(8, 12),
    steps=st.lists(
        st.tuples(st.sampled_from(("take", "take", "give")), st.sampled_from(MOSTLY_TWO)), min_size=10, max_size=60
    ),
)
def test_however_many_calls_of_two_endpoints_hang_others_find_places(
    limit: int, steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("slots") / "places"
    quick(path, 20)
    slots = Slots(path, limit, longest=60)
    held: dict[int, list[int]] = {endpoint: [] for endpoint in range(1, 6)}
    for word, endpoint in steps:
        if word == "take":
            taken = slots.take([endpoint])
            if taken is not None:
                held[endpoint].append(taken[0])
        elif endpoint > 2 and held[endpoint]:
            slots.give(held[endpoint].pop())
    for endpoint in (3, 4, 5):
        for place in held[endpoint]:
            slots.give(place)
    assert slots.take([6]) is not None
    slots.close()


def test_a_place_that_rests_is_kept_from_others_counts_for_nobody_and_ends_with_its_process(tmp_path: Path) -> None:
    mine, other = Slots(tmp_path / "places", 2, longest=60), Slots(tmp_path / "places", 2, longest=60)
    other._pid = 1  # another process, which lives
    taken = [mine.take([1]), mine.take([2])]
    assert None not in taken
    for place, _ in filter(None, taken):
        mine.rest(place)
    assert mine.in_flight() == other.in_flight() == 0
    assert other.take([3]) is None
    again = mine.take([3])
    assert again is not None
    assert (mine.in_flight(), other.in_flight()) == (1, 1)
    mine.give_resting()
    assert other.take([4]) is not None
    mine.rest(again[0])
    row = concurrency._PLACE.pack(GONE, concurrency._RESTS, time.monotonic_ns() - 2 * concurrency.LOOK)
    mine._table[again[0] * len(row) : (again[0] + 1) * len(row)] = row
    assert other.take([5]) is not None


def test_a_place_is_passed_on_by_the_same_rule_by_which_it_is_taken(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 4, longest=60)
    held = [slots.take([1]) for _ in range(4)]
    places = [taken[0] for taken in held if taken is not None]
    assert len(places) < 4
    assert slots.pass_on(places[0], [1]) == 0
    assert slots.pass_on(places[0], [2]) == 0
    assert slots.in_flight() == len(places)
    for place in places:
        slots.give(place)
    assert slots.pass_on(places[0], [1]) is None, "it is anybody's by now"


def test_a_node_uses_no_more_than_its_share_for_as_long_as_it_holds(tmp_path: Path) -> None:
    slots, other = (Slots(tmp_path / "places", 4, longest=60) for _ in range(2))
    assert slots.share == 4, "nobody has said anything"
    places = [(slots.take([endpoint]) or (-1, -1))[0] for endpoint in (1, 2, 3)]
    slots.tell_share(2)
    assert (other.share, other.taken()) == (2, 3)
    assert other.take([4]) is None
    assert slots.pass_on(places[0], [4]) is None, "it is another node's by now"
    slots.rest(places[0])
    assert other.taken() == 2, "it does not rest here"
    assert slots.pass_on(places[1], [4]) == 0, "the share may be used to the last"
    slots.give(places[2])
    assert other.take([5], reserve=1) is None
    assert other.take([5]) is not None
    assert slots.take([6]) is None
    with (tmp_path / "places-share").open("r+b") as file:
        file.seek(8)
        file.write((time.monotonic_ns() - concurrency.TOLD).to_bytes(8, "little"))
    assert slots.share == 4
    until(lambda: slots.take([6]), 2, "who asked in vain looks again")
    slots.tell_share(9)
    assert slots.share == 4, "the node's own limit holds too"


def test_for_whom_places_stay_free_is_known_to_all_processes_for_a_while(tmp_path: Path) -> None:
    gateway, replay = (Slots(tmp_path / "places", 8, longest=60) for _ in range(2))
    assert replay.reserve() == 2, "whoever comes finds one"
    gateway.note_users(3)
    gateway.note_users(1)
    assert replay.reserve() == 3
    gateway.note_users(8)
    assert replay.reserve() == 4, "never more than half"
    replay.tell_share(2)
    assert replay.reserve() == 1
    replay.tell_share(8)
    with (tmp_path / "places-users").open("r+b") as file:
        file.seek(8)
        file.write((time.monotonic_ns() - concurrency.OF_LATE).to_bytes(8, "little"))
    assert replay.reserve() == 2
    gateway.note_users(3)
    assert replay.reserve() == 3, "what was before does not count"


def test_what_is_wanted_is_the_most_that_could_have_been_used_since(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "places", 4, longest=60)
    slots.tell_share(2)
    assert slots.wanted() == 0
    taken = [slots.take([endpoint]) for endpoint in (1, 2, 3)]
    assert taken[2] is None
    assert slots.wanted() == 3, "one more than there were"
    assert slots.wanted() == 2, "who waits asks again"
    for each in taken:
        if each is not None:
            slots.give(each[0])
    assert slots.wanted() == 0
