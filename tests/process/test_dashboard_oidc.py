"""Signing in by OpenID Connect, against a real provider: who is let in, as what, and who is not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from tests.support.dashboard.provider import CLIENT, SECRET, Provider
from tests.support.dashboard.serving import Dashboard, alone
from tests.support.stack import Got


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def dashboard(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("oidc")
    settings = {
        "oidc_issuer": provider.url,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_roles": "vets=auditor,on-call=operator",
    }
    with Dashboard(alone(home / "data", **settings), home / "log", ("auditor",)) as running:
        yield running


@pytest.fixture(autouse=True)
def _ordinary(provider: Provider) -> None:
    provider.claims = {"sub": "u-1", "email": "holt@vet.example", "groups": ["vets"]}
    provider.spoil, provider.sign_with = {}, None


def away(dashboard: Dashboard) -> tuple[str, str]:
    """Where the provider sends the browser back to, and the browser's cookie."""
    gone = dashboard.ask("GET", "/login/oidc?next=/audit")
    assert gone.status == 303
    parts = urlsplit(gone["Location"])
    connection = HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    back = urlsplit(answer.headers["Location"])
    assert back.netloc == f"127.0.0.1:{dashboard.port}"
    return f"{back.path}?{back.query}", gone["Set-Cookie"].partition(";")[0]


def sign_in(dashboard: Dashboard) -> Got:
    path, cookie = away(dashboard)
    return dashboard.ask("GET", path, {"Cookie": cookie})


def session(answer: Got) -> dict[str, str]:
    return {
        "Cookie": next(line.partition(";")[0] for line in answer.all("Set-Cookie") if line.startswith("understudy="))
    }


def test_the_claim_gives_the_role(dashboard: Dashboard, provider: Provider) -> None:
    answer = sign_in(dashboard)
    assert (answer.status, answer["Location"]) == (303, "/audit")
    assert dashboard.ask("GET", "/audit", session(answer)).status == 200
    assert dashboard.ask("GET", "/endpoints", session(answer)).status == 403
    provider.claims["groups"] = ["vets", "on-call"]
    promoted = sign_in(dashboard)
    assert dashboard.ask("GET", "/endpoints", session(promoted)).status == 200
    assert "holt@vet.example" in dashboard.cli("user", "list").stdout


def test_who_has_no_role_is_not_let_in(dashboard: Dashboard, provider: Provider) -> None:
    provider.claims = {"sub": "u-2", "email": "x@vet.example", "groups": ["cleaners"]}
    answer = sign_in(dashboard)
    assert (answer.status, b"nobody has given you a role" in answer.body) == (403, True)


def test_nobody_becomes_a_local_user_by_bearing_the_name(dashboard: Dashboard, provider: Provider) -> None:
    provider.claims = {"sub": "u-3", "preferred_username": "auditor", "groups": ["on-call"]}
    answer = sign_in(dashboard)
    assert (answer.status, b"belongs to another user" in answer.body) == (403, True)


@pytest.mark.parametrize(
    "spoil",
    [
        {"iss": "https://other.example"},
        {"aud": "somebody-else"},
        {"nonce": "replayed"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"sub": None},
    ],
)
def test_a_token_that_does_not_hold_is_refused(dashboard: Dashboard, provider: Provider, spoil: dict[str, Any]) -> None:
    provider.spoil = spoil
    assert sign_in(dashboard).status == 403


def test_a_token_of_another_key_is_refused(dashboard: Dashboard, provider: Provider) -> None:
    provider.sign_with = RSAKey.generate_key(2048, {"kid": "k1"})
    assert sign_in(dashboard).status == 403


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(dashboard: Dashboard) -> None:
    path, cookie = away(dashboard)
    assert dashboard.ask("GET", path).status == 403
    state = parse_qs(urlsplit(path).query)["state"][0]
    assert dashboard.ask("GET", path.replace(state, "forged"), {"Cookie": cookie}).status == 403
    altered = re.sub(r".{6}$", "AAAAAA", cookie)
    assert dashboard.ask("GET", path, {"Cookie": altered}).status == 403
    assert dashboard.ask("GET", path, {"Cookie": cookie}).status == 303
    assert dashboard.ask("GET", path, {"Cookie": cookie}).status == 403, "a code works once"
