"""Every spelling of Basic that some upstream reads names to us the same user, and only one spelling is sent on."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.credentials import (
    TwoAuthorizations,
    basic_authorization,
    canonical_authorization,
    decode_base64,
    folded,
    parse_authorization,
)

PLAIN = basic_authorization("Dr Ames", "s3cret")  # RHIgQW1lczpzM2NyZXQ=
CODE = PLAIN.removeprefix("Basic ")


@pytest.mark.parametrize(
    "field",
    [
        PLAIN,
        f"Basic {CODE.rstrip('=')}",
        f"Basic\t{CODE}",
        f"bAsIc   {CODE}",
        f"Basic {CODE[:6]} {CODE[6:]}",
        f"Basic {CODE[:6]}\t*é{CODE[6:]}",
        f"Basic {CODE}=AAA",
        f"Basic {CODE}, Basic {basic_authorization('Eve', 'x')[6:]}",
        f"  Basic {CODE}",
        f"Basic\xa0{CODE}",
    ],
    ids=["plain", "no padding", "tab", "spaces", "space inside", "foreign", "tail", "two in one", "before", "nbsp"],
)
def test_a_spelling_names_its_user_and_is_sent_on_as_canonical(field: str) -> None:
    found = parse_authorization(field)
    assert found is not None
    assert (found.user, found.password) == ("Dr Ames", "s3cret")
    assert canonical_authorization([("Accept", "a"), ("authorization", field)]) == [
        ("Accept", "a"),
        ("authorization", PLAIN),
    ]


def test_what_is_sent_on_has_the_bytes_that_were_sent() -> None:
    field = "Basic " + base64.b64encode("Dr Zörn:pä".encode("latin-1")).decode()
    found = parse_authorization(field)
    assert found is not None
    assert found.user == "Dr Zörn"
    assert found.authorization == field


def test_without_a_colon_all_is_the_name() -> None:
    found = parse_authorization("Basic " + base64.b64encode(b"key").decode())
    assert found is not None
    assert (found.user, found.password) == ("key", "")


@pytest.mark.parametrize("field", ["Basic", "Basic ", "Basic ???", "Basic =", "Basic A"])
def test_basic_of_which_nothing_can_be_read_is_not_sent_on(field: str) -> None:
    assert parse_authorization(field) is None
    assert canonical_authorization([("Authorization", field)]) == []


@pytest.mark.parametrize("field", ["Bearer RHI6eA==", "BasicAuth RHI6eA==", "RHI6eA==", ""])
def test_other_schemes_are_left_alone(field: str) -> None:
    assert parse_authorization(field) is None
    assert canonical_authorization([("Authorization", field)]) == [("Authorization", field)]


def test_two_fields_are_refused() -> None:
    with pytest.raises(TwoAuthorizations):
        canonical_authorization([("Authorization", PLAIN), ("AUTHORIZATION", PLAIN)])


@given(st.binary(min_size=1), st.lists(st.tuples(st.integers(0, 200), st.sampled_from(" \t*-_é\n\0"))))
def test_what_is_not_of_the_alphabet_is_passed_over(raw: bytes, foreign: list[tuple[int, str]]) -> None:
    text = base64.b64encode(raw).decode().rstrip("=")
    for place, character in foreign:
        text = text[:place] + character + text[place:]
    assert decode_base64(text) == raw


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_field_is_read_once_and_for_all(text: str) -> None:
    """What is sent on reads as what was read."""
    field = f"Basic {text}"
    found = parse_authorization(field)
    sent = canonical_authorization([("Authorization", field)])
    assert (found is None) == (sent == [])
    if found is not None:
        again = parse_authorization(sent[0][1])
        assert again == found
        assert again is not None
        assert again.authorization == sent[0][1]


@pytest.mark.parametrize("name", ["Fay", "FAY", " fay", "fay\t", "Ｆａｙ"])
def test_names_that_some_api_takes_for_one_are_one(name: str) -> None:
    assert folded(name) == folded("Fay")
    assert folded("Fay B") == folded(" fay  b ") != folded("fayb")
