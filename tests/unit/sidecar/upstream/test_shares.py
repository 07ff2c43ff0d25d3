"""The upstream's places are shared by what each node needs: all of them, never more, and to everybody some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream.shares import shares

WANTED = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 40), min_size=1)


@pytest.mark.parametrize(
    ("total", "wanted", "given"),
    [
        (8, {"a": 0}, {"a": 8}),
        (8, {"a": 0, "b": 0}, {"a": 4, "b": 4}),
        (8, {"a": 9, "b": 9}, {"a": 4, "b": 4}),
        (8, {"a": 9, "b": 0}, {"a": 6, "b": 2}),
        (8, {"a": 3, "b": 9}, {"a": 3, "b": 5}),
        (9, {"a": 9, "b": 9}, {"a": 5, "b": 4}),
        (2, {"a": 9, "b": 9, "c": 9}, {"a": 1, "b": 1, "c": 1}),
        (8, {}, {}),
    ],
)
def test_who_wants_little_gets_it_and_the_others_the_rest(
    total: int, wanted: dict[str, int], given: dict[str, int]
) -> None:
    assert shares(total, wanted) == given


@given(st.integers(1, 40), WANTED)
def test_none_is_left_over_and_none_given_twice(total: int, wanted: dict[str, int]) -> None:
    given = shares(total, wanted)
    assert sum(given.values()) == max(total, len(wanted))
    least = max(1, total // (2 * len(wanted)))
    assert min(given.values()) >= least
    for node, share in given.items():
        if share < wanted[node]:
            assert all(other <= max(share + 1, least) for other in given.values()), "others have more than they want"


@given(st.integers(1, 40), WANTED)
def test_nodes_that_know_the_same_come_to_the_same(total: int, wanted: dict[str, int]) -> None:
    assert shares(total, wanted) == shares(total, dict(sorted(wanted.items(), reverse=True)))
