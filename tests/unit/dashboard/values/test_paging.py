"""Pages of a list: whatever an address asks for, a page that is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.values.paging import beside, start


@pytest.mark.parametrize(
    ("given_", "first"),
    [("", 0), ("0", 0), ("50", 50), ("73", 50), ("100", 0), ("-50", 0), ("x", 0), ("²", 0), ("9" * 20, 0)],
)
def test_a_page_begins_where_it_is_asked_for(given_: str, first: int) -> None:
    assert start(given_, 50, 100) == first


@given(st.integers(0, 500), st.integers(1, 60))
def test_from_the_first_page_on_all_is_shown_once(many: int, size: int) -> None:
    shown, first = list[int](), 0
    while True:
        assert start(str(first), size, many) == first
        shown += range(many)[first : first + size]
        before, after = beside(first, size, many)
        assert before == (first - size if first else None)
        if after is None:
            break
        first = after
    assert shown == list(range(many))
