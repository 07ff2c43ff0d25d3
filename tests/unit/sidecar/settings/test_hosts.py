"""DNS rebinding: a name that somebody outside can make resolve to us is not ours."""

from __future__ import annotations

import pytest

from sidecar.settings.hosts import is_own_host


@pytest.mark.parametrize(
    "host",
    [None, "127.0.0.1:8081", "127.0.0.1", "[::1]:8081", "localhost:8050", "app.localhost", "sidecar:8081", "sidecar"]
    + ["Understudy.Example.org:443", "understudy.example.org."],
)
def test_ours(host: str | None) -> None:
    assert is_own_host(host, ["understudy.example.org"])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.nip.io", "", ":8081", "a.b."])
def test_not_ours(host: str) -> None:
    assert not is_own_host(host, ["understudy.example.org"])
