"""UPSTREAM_HOST: an upstream behind a virtual host sees one Host, whoever asks it and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, USERS, Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.mark.parametrize("setting", ["upstream", "hosp.example:8443"])
def test_users_backfill_and_replay_show_the_upstream_one_host(tmp_path: Path, upstream: Upstream, setting: str) -> None:
    expected = upstream.url.partition("//")[2] if setting == "upstream" else setting
    more = {"late_effect": "1s", "backfill_credentials": f"Dr Holt:{USERS['Dr Holt']}", "backfill_rate": "100"}
    with Sidecar(upstream.url, tmp_path / "data", upstream_host=setting, **more) as side:
        asked = {**HOLT, "Host": "users.example"}
        assert side.ask("GET", "/patients", asked).status == 200
        assert side.plane("POST", "/endpoints/notes.create/takeover", {}).status == 200
        until(lambda: side.ask("POST", "/notes", asked, {"title": "t", "body": "b"}).status in (200, 201), 20)
        assert side.plane("POST", "/endpoints/notes.create/handback", {}).status == 200
        until(lambda: not side.plane("GET", "/outbox").json()["pending"], 40, side.log.read_text())
        assert side.cli("backfill").returncode == 0
        until(lambda: any("understudy-backfill" in "".join(seen.all("user-agent")) for seen in upstream.state.seen), 20)
    assert "POST" in {seen.method for seen in upstream.state.seen}
    assert {tuple(seen.all("host")) for seen in upstream.state.seen} == {(expected,)}
    forwarded = {value for seen in upstream.state.seen for value in seen.all("x-forwarded-host")}
    assert forwarded == {"users.example"}


def test_the_client_s_host_is_kept_unless_another_is_asked_for(tmp_path: Path, upstream: Upstream) -> None:
    with Sidecar(upstream.url, tmp_path / "data") as side:
        assert side.ask("GET", "/patients", {**HOLT, "Host": "users.example"}).status == 200
    assert {tuple(seen.all("host")) for seen in upstream.seen("/patients", "GET")} == {("users.example",)}
