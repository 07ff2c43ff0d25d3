"""Which names are secrets' names; a rule for all that is written down."""

from __future__ import annotations

import orjson
import pytest

from sidecar.http.secret_names import is_secret_name, may_hold_secret, names_in


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
