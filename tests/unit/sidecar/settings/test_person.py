"""Whoever runs a command has a name in the trail."""

from __future__ import annotations

import pytest

from sidecar.settings import this_person


def test_who_has_no_entry_among_the_users_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_001)
    assert this_person() == "uid 4000001"
    monkeypatch.setenv("LOGNAME", "pell")
    assert this_person() == "pell"
