"""Proxies write addresses in many ways; a client's own words are never among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.forwarded import address, hops, scheme_and_host
from tests.support.growth import is_linear


@pytest.mark.parametrize(
    ("node", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:4711"', "2001:db8::1"),
        (" 2001:db8::1 ", "2001:db8::1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.1:port", None),
        ("[192.0.2.1", None),
        ("192.0.2.999:80", None),
    ],
)
def test_a_node_is_an_address_or_nothing(node: str, found: str | None) -> None:
    assert address(node) == found


def test_the_chain_is_read_in_order() -> None:
    fields = [("X-Forwarded-For", "10.0.0.1:80, [2001:db8::1]:9"), ("x-forwarded-for", "192.0.2.7")]
    assert hops(fields) == ["10.0.0.1", "2001:db8::1", "192.0.2.7"]
    fields = [("Forwarded", 'for=192.0.2.43;proto=http, for="[2001:db8::1]:4711";host="a;b,c";proto=HTTPS')]
    assert hops(fields) == ["192.0.2.43", "2001:db8::1"]
    assert scheme_and_host(fields) == ("https", "a;b,c")
    assert hops([("Forwarded", "by=10.0.0.1, for=_x, for=;;=")]) == [None, None, None]
    assert scheme_and_host([]) == ("", "")


@given(st.text(alphabet='for=;,"\\[]:.1a ', max_size=40))
def test_no_field_breaks_it(value: str) -> None:
    assert all(hop is None or address(hop) == hop for hop in hops([("Forwarded", value)]))
    scheme_and_host([("Forwarded", value)])


@pytest.mark.parametrize("unit", [" ", "\t", "a=", "a=b;", '"', "\\", ","])
def test_a_chain_is_read_in_time_that_grows_with_its_length(unit: str) -> None:
    def read(rest: str) -> None:
        hops([("Forwarded", f'for={rest}"x')])

    assert is_linear(read, lambda size: unit * (size // len(unit)), 1000)
