"""Which names are secrets' names; a rule for all that is written down."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.secret_names import SUBSTRINGS, is_secret_name, may_hold_secret, names_in
from tests.support.growth import is_linear


@pytest.mark.parametrize(
    "name",
    ["token", "auth", "session", "secret", "pwd", "pin", "apiKey", "api-key", "password_confirmation", "X-Auth-Token"]
    + ["user[session_id]", "staff.pwd", "PIN", "userPin", "clientSecret", "APIKey", "csrf-token", "accessKey", "pass"],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret_name(name)
    assert may_hold_secret(orjson.dumps({name: "x"}))
    assert may_hold_secret(f"a=1&{name}=x".encode())


@pytest.mark.parametrize(
    "name",
    ["author", "author_id", "opinion", "secretary", "shipping", "pinned", "key", "keyboard", "patient_id", "passed"]
    + ["sessions_held", "monkey", "compass", "title"],
)
def test_what_only_looks_like_one_is_none(name: str) -> None:
    assert not is_secret_name(name)


def test_names_at_any_depth() -> None:
    assert set(names_in([{"a": [{"b": 1}]}, {"c": {"d": None}}, 3])) == {"a", "b", "c", "d"}


WORDS = "|".join(
    ("authentication", "privatekey", "sessionid", "accesskey", "session", "secrets", "bearer", "secret", "tokens")
    + ("apikey", "token", "auth", "csrf", "pass", "totp", "xsrf", "jwt", "key", "otp", "pin", "pwd", "sid")
)
FORWARDS = re.compile(rf"(?:{WORDS})[\w\]%.-]*[\"'\\]*\s*[:=]".encode())
"""The rule as one would say it; it goes through a long run of letters once for each word in it."""
PIECES = ["pin", "otp", "key", "sid", "ses", "sion", "auth", "a", "Z", "_", "é", "]", "%", ".", "-", '"', "'", "\\"]
PIECES += [" ", "\n", ":", "=", "&", "{", ","]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=60))
def test_a_name_is_found_backwards_where_it_is_found_forwards(text: str) -> None:
    found = text.encode("utf-8", "replace")
    plainly = any(word.encode() in found.lower() for word in (*SUBSTRINGS, "\\u"))
    assert may_hold_secret(found) is (plainly or FORWARDS.search(found.lower()) is not None)


@pytest.mark.parametrize("unit", [b"key", b"pin=", b"sid ", b'otp"', b"key'\\", b": ", b"=", b"a"])
def test_a_name_is_looked_for_in_time_that_grows_with_the_text(unit: bytes) -> None:
    assert is_linear(may_hold_secret, lambda size: b'{"sid' + unit * (size // len(unit)) + b'"}', 4096)
