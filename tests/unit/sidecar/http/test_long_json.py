"""A long list is read in pieces, and means what it means when it is read at once."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.long_json import LONG, loads, skim
from tests.support.growth import best

HARD = ["},{", '"},{"', "\\", '\\"},{', "é", "[{},{}]", "", "\n", "{", "[[", "]"]
VALUE = st.recursive(
    st.sampled_from(HARD) | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(HARD), inner, max_size=3),
    max_leaves=8,
)
ROW = st.dictionaries(st.sampled_from(HARD), VALUE, max_size=3)
BODY = st.builds(
    lambda value, option: orjson.dumps(value, option=option),
    st.lists(ROW, min_size=1, max_size=9) | st.lists(ROW | VALUE, max_size=6) | VALUE,
    st.sampled_from([None, orjson.OPT_INDENT_2]),
)
SMALL = st.integers(1, 40)


@given(BODY, SMALL)
def test_a_long_value_is_what_it_is_read_at_once(body: bytes, piece: int) -> None:
    value = orjson.loads(body)
    assert loads(body, 0, piece) == value
    assert skim(body, 0, piece) in ([], value)
    assert type(skim(body, 0, piece)) is type(value)


@given(BODY, SMALL, st.data())
def test_a_long_value_that_is_broken_is_refused(body: bytes, piece: int, data: Any) -> None:
    at = data.draw(st.integers(0, len(body)))
    other = data.draw(
        st.sampled_from([b"", b",", b"}", b"]", b"[", b"{", b'"', b"\xff", b"1", b"},{", b" ", b"\x0b", b"\x0c"])
    )
    body = body[:at] + other + body[at + data.draw(st.integers(0, 2)) :]
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        for read in (loads, skim):
            with pytest.raises(orjson.JSONDecodeError):
                read(body, 0, piece)
    else:
        assert loads(body, 0, piece) == value


@pytest.mark.parametrize("blank", [b"\x0b", b"\x0c", b"\x85", b"\xa0"])
@pytest.mark.parametrize("body", [b"%s[{},{},{}]", b"[%s{},{},{}]", b"[{}%s,{},{}]", b"[{},%s{},{}]"])
def test_what_is_a_blank_elsewhere_is_none_in_json(body: bytes, blank: bytes) -> None:
    for read in (loads, skim):
        with pytest.raises(orjson.JSONDecodeError):
            read(body % blank, 0, 1)


PLAIN = {"id": 1, "title": "[Limps", "in": {"a": [{"b": [{}, {}]}, {"c": 2}]}}


def test_of_a_list_that_is_skimmed_only_a_piece_is_held() -> None:
    body, peaks = orjson.dumps([PLAIN] * (LONG // 50)), []
    for read in (orjson.loads, skim):
        tracemalloc.start()
        read(body)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] * 4 < peaks[0]


@pytest.mark.parametrize(
    "value",
    [
        [PLAIN] * (LONG // 50),
        [{"a": [{"b": 1, "c": "Limps"}] * 60_000}],
        [{"a": "},{" * 500_000}, {}],
    ],
    ids=["many", "one", "text"],
)
def test_what_cannot_be_cut_takes_a_few_times_as_long_at_the_most(value: Any) -> None:
    """Looked at up to ten times: another process may have the core meanwhile. Cut at each of the places that look like
    one, it would take thousands of times as long."""
    body = orjson.dumps(value)
    assert any(best(skim, body, 5) < 10 * best(orjson.loads, body, 5) for _ in range(10))
