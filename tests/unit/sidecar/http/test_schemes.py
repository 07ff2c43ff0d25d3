"""What a caller shows, by the contract's schemes; what we cannot verify is never called wrong."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.http.messages import Headers, Request
from sidecar.http.schemes import challenge, shows_credentials

BASIC = {"type": "http", "scheme": "Basic"}
BEARER = {"type": "http", "scheme": "bearer"}
OAUTH = {"type": "oauth2", "flows": {}}
SESSION = {"type": "apiKey", "in": "cookie", "name": "_app_session"}
KEY = {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
QUERY = {"type": "apiKey", "in": "query", "name": "key"}


@pytest.mark.parametrize(
    ("scheme", "target", "headers"),
    [
        (BASIC, "/", [("Authorization", "Bearer abc")]),
        (SESSION, "/", [("Cookie", "theme=dark; _app_session=abc")]),
        (KEY, "/", [("x-API-key", "abc")]),
        (QUERY, "/?a=1&key=abc", []),
        (BEARER, "/", [("Authorization", "abc")]),
    ],
)
def test_what_is_shown_is_seen(scheme: dict[str, Any], target: str, headers: Headers) -> None:
    assert shows_credentials({"s": scheme}, Request("GET", target, headers))


@pytest.mark.parametrize("scheme", [BASIC, BEARER, OAUTH, SESSION, KEY, QUERY])
def test_nothing_is_nothing(scheme: dict[str, Any]) -> None:
    shown = Request("GET", "/?page=2", [("Cookie", "theme=dark"), ("Accept", "a")])
    assert not shows_credentials({"s": scheme}, shown)


@pytest.mark.parametrize(
    ("schemes", "word"),
    [([BASIC], "Basic"), ([], "Basic"), ([BEARER], "Bearer"), ([OAUTH, KEY], "Bearer"), ([KEY, SESSION], None)],
)
def test_who_shows_nothing_is_asked_for_what_the_contract_names(schemes: list[Any], word: str | None) -> None:
    asked = challenge({str(number): scheme for number, scheme in enumerate(schemes)}, "HOSP")
    assert (asked and asked.split()[0]) == word


@pytest.mark.parametrize(
    ("realm", "said"), [("HOSP", "HOSP"), ("клиника", "API"), ('a "b" \\ c\r\nX: 1', "a b  cX: 1")]
)
def test_a_realm_is_what_a_field_can_say(realm: str, said: str) -> None:
    assert challenge({"s": BASIC}, realm) == f'Basic realm="{said}"'
