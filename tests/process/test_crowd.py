"""More users than the upstream can serve at once: what finds no place in time is taken or refused, one by one, and the
upstream, which fails at nothing, is not turned away from."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.hosp.server import Simulator
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import basic

USERS, LASTS = 24, 8.0
SETTINGS = {
    "evidence": "compose.hosp", "bypass_after": "0s", "upstream_concurrency": "4", "deadline": "1s",
    "upstream_timeout": "8s", "late_effect": "1s", "workers": "1",
}  # fmt: skip


@pytest.fixture
def hosp() -> Iterator[Simulator]:
    with Simulator("calm") as running:
        yield running


@pytest.fixture
def sidecar(hosp: Simulator, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(hosp.url, tmp_path / "data", **SETTINGS) as running:
        for path in ("/notes", "/patients", "/staffs", "/staffs/me"):
            assert running.ask("GET", path, {"Authorization": basic(*hosp.users[0])}).status == 200
        for known in ("patients.read", "staffs.read"):
            until(lambda known=known: running.plane("GET", f"/ready/{known}").status == 200, 20, known)
        yield running


def crowd(sidecar: Sidecar, hosp: Simulator) -> dict[str, int]:
    """So many users who write one note after another → each title's status."""
    asked, found = {"Authorization": basic(*hosp.users[0])}, dict[str, int]()
    until_then = time.monotonic() + LASTS

    def write(user: int) -> None:
        number = 0
        while time.monotonic() < until_then:
            number += 1
            note = {"title": f"u{user}n{number}", "body": "b", "patient_id": 1, "staff_id": 1}
            found[str(note["title"])] = ask(sidecar.port, "POST", "/notes", asked, note).status

    users = [threading.Thread(target=write, args=(user,)) for user in range(USERS)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    return found


def opened(sidecar: Sidecar) -> list[Any]:
    return [row for row in sidecar.plane("GET", "/transitions").json() if row["after"] == "open"]


def test_a_line_for_places_does_not_open_the_circuit_and_each_write_is_there_once(
    sidecar: Sidecar, hosp: Simulator
) -> None:
    hosp.fault("slow:0.4", method="POST", times=10**9)
    found = crowd(sidecar, hosp)
    assert set(found.values()) == {201}
    waited = sidecar.plane("GET", "/outbox").json()["pending"]
    assert waited > 0, "the upstream had places for all of them"
    assert opened(sidecar) == []
    until(lambda: not sidecar.plane("GET", "/outbox").json()["entries"], 60, "nothing waits")
    assert opened(sidecar) == []
    applied = Counter(write["body"]["title"] for write in hosp.hosp.applied if "title" in (write["body"] or {}))
    assert applied == dict.fromkeys(found, 1)


def test_an_upstream_that_says_nothing_any_more_is_turned_away_from(sidecar: Sidecar, hosp: Simulator) -> None:
    hosp.fault("hang", method="POST", times=10**9)
    found = crowd(sidecar, hosp)
    assert set(found.values()) <= {201, 503}
    assert opened(sidecar), "nobody found out"


def test_an_upstream_whose_calls_take_too_long_is_turned_away_from(sidecar: Sidecar, hosp: Simulator) -> None:
    hosp.fault("slow:1.6", method="POST", times=10**9)
    found = crowd(sidecar, hosp)
    assert set(found.values()) <= {201, 503}
    assert opened(sidecar), "nobody found out"
