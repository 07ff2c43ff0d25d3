"""The journal is verified by itself; what was found, and what nobody could find out, is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.pages.audit import verified
from sidecar.background.verifying import Verifying
from sidecar.journal.verify import Verdict
from sidecar.settings import Settings
from sidecar.storage.status_files import tell, told
from tests.support.stack import until

NOW = 1_800_000_000.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(upstream="http://hosp.test", data=tmp_path, verify_every=3600.0)


def found(settings: Settings, verdicts: Iterator[Verdict | Exception], now: float = NOW) -> dict[str, Any]:
    """What is told once it has looked, as often as it wants to."""
    stop, looks = threading.Event(), []

    def look(_: Settings) -> Verdict:
        looks.append(1)
        verdict = next(verdicts)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    before = told(settings, "verified").get("at")
    thread = threading.Thread(target=Verifying(settings, look, lambda: now).run, args=(stop, 0.01))
    thread.start()
    until(lambda: told(settings, "verified").get("at") != before, 5, "it is told")
    stop.set()
    thread.join(5)
    return told(settings, "verified") | {"looks": len(looks)}


def bad() -> Verdict:
    return Verdict(False, 3, {"file": "a.jsonl", "line": 4, "why": "altered"})


def test_what_holds_is_told_and_looked_at_again_when_it_is_due(settings: Settings) -> None:
    state = found(settings, iter([Verdict(True, 7)]))
    assert (state["ok"], state["held"], state["events"], state["looks"]) == (True, NOW, 7, 1)
    assert found(settings, iter([Verdict(True, 9)]), NOW + 3601)["events"] == 9


def test_what_does_not_hold_is_looked_at_twice_and_told(settings: Settings) -> None:
    found(settings, iter([Verdict(True, 7)]))
    state = found(settings, iter([bad(), bad()]), NOW + 3601)
    assert (state["ok"], state["held"], state["looks"]) == (False, NOW, 2)
    assert state["why"] == "a.jsonl, line 4: altered"


def test_what_retention_was_at_work_on_is_no_alarm(settings: Settings) -> None:
    assert found(settings, iter([bad(), Verdict(True, 2)]))["ok"] is True


def test_what_cannot_be_looked_at_is_neither_good_nor_bad(settings: Settings) -> None:
    state = found(settings, iter([OSError("no disk")]))
    assert (state["ok"], state["held"]) == (None, None)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "has not been checked yet"),
        ({"at": NOW, "ok": True, "held": NOW, "events": 7}, "verified"),
        ({"at": NOW - 9e6, "ok": True, "held": NOW - 9e6, "events": 7}, "not been verified since"),
        ({"at": NOW, "ok": False, "held": NOW - 60, "why": "altered"}, "NOT verified"),
        ({"at": NOW, "ok": None, "held": None, "why": "no disk"}, "Nobody can say whether"),
    ],
)
def test_the_audit_page_says_whether_what_it_shows_is_verified_and_since_when(
    settings: Settings, state: dict[str, Any], said: str
) -> None:
    stamp: Callable[[int], str] = lambda at: f"@{at // 10**9}"  # noqa: E731
    if state:
        tell(settings, "verified", state)
    words = verified(settings, int(NOW * 1e9), stamp).words
    assert said in words
    assert state.get("held") is None or f"@{int(state['held'])}" in words
