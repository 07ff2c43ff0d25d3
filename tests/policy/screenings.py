"""Screenings under the `ambiguous` profile, where writes take effect and say they did not: each leaves one note.

`python -m tests.policy.screenings 10000 [SEED]` plays so many with the simulator's sleeps scaled down (a hang of 30 s
becomes 0.15 s), waits until nothing is pending, and counts the notes at HOSP by the exchange that each one names.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compose.hosp.server import Simulator
from tests.process.test_policies import told_apart
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import basic

AT_ONCE: Final = 6
STALLED: Final = 120.0
"""Seconds without a single settled write after which the outbox counts as stuck."""
_EXCHANGE: Final = re.compile(r'"exchange":"([^"]+)"')


@dataclass
class Outcome:
    """`stored` counts notes at HOSP by exchange; `screened` are the exchanges that were answered well, by who asked."""

    asked: int
    screened: dict[str, str]
    stored: Counter[str]
    wrong: list[dict[str, Any]]
    """Notes under another name or on another patient than their screening's."""
    sent: list[str]
    """What came of each recorded attempt at creating a note."""
    lost: list[str]
    """What the sidecar's log says of results that it could not store."""

    @property
    def faults(self) -> int:
        """Attempts that left open what they did."""
        return sum(outcome != "success" for outcome in self.sent)

    @property
    def missing(self) -> list[str]:
        return [ident for ident in self.screened if not self.stored[ident]]

    @property
    def twice(self) -> list[str]:
        return [ident for ident, times in self.stored.items() if times > 1]

    @property
    def strange(self) -> list[str]:
        """Notes of screenings that were not answered well."""
        return [ident for ident in self.stored if ident not in self.screened]


def play(count: int, folder: Path, at_once: int = AT_ONCE, seed: int = 1, said: Any = lambda _: None) -> Outcome:
    """So many screenings by thirty people, some at once, each of another image."""
    settings = {"store_results": "on", "workers": "2", "upstream_timeout": "3s", "late_effect": "300ms"}
    with (
        Simulator("ambiguous", seed, time_scale=0.005) as hosp,
        Sidecar(hosp.url, folder / "data", evidence="compose.hosp", **settings) as sidecar,
    ):
        users = hosp.users
        until(lambda: _known(sidecar, users, folder / "data"), 120, "everyone is known")
        until(lambda: _get(sidecar, users[0], "/patients") == _get(sidecar, users[0], "/notes") == 200)
        numbers, lock = itertools.count(1), threading.Lock()

        def work(_: int) -> None:
            while (number := _next(numbers, lock)) <= count:
                body, user = {"images": [f"IMAGE-{number}"]}, users[number % len(users)]
                ask(sidecar.port, "POST", f"/patients/{number % 400 + 1}/screen", _headers(user), body)
                if number % 500 == 0:
                    said(f"{number} screenings asked, {_pending(sidecar)} notes pending")

        with _Operator(sidecar):
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(work, range(at_once)))
            _drain(sidecar, said)
        return _outcome(count, hosp, sidecar)


class _Operator:
    """Hands `notes.create` back whenever its circuit has opened: nearly half of the writes fail here, and with the
    circuit's back-off of up to 30 s the thousands that pend would take hours."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar, self._stop = sidecar, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            if self._is_open():
                self._sidecar.plane("POST", "/endpoints/notes.create/handback", {"reason": "the test is in a hurry"})

    def _is_open(self) -> bool:
        query = "SELECT circuit FROM endpoint_states WHERE endpoint = 'notes.create'"
        with closing(sqlite3.connect(self._sidecar.data / "understudy.db")) as database:
            return database.execute(query).fetchone() == ("open",)

    def __enter__(self) -> _Operator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(40)


def _known(sidecar: Sidecar, users: list[tuple[str, str]], data: Path) -> bool:
    """Asks who everyone is; whether the sidecar knows by now: what it learns, it learns when it has time."""
    return all(_get(sidecar, user, "/staffs/me") == 200 for user in users) and len(told_apart(data)) == len(users)


def _next(numbers: itertools.count[int], lock: threading.Lock) -> int:
    with lock:
        return next(numbers)


def _headers(user: tuple[str, str]) -> dict[str, str]:
    return {"Authorization": basic(*user), "Accept": "application/json"}


def _get(sidecar: Sidecar, user: tuple[str, str], path: str) -> int:
    return sidecar.ask("GET", path, _headers(user)).status


def _pending(sidecar: Sidecar) -> int:
    return len(sidecar.plane("GET", "/outbox").json()["entries"])


def _drain(sidecar: Sidecar, said: Any) -> None:
    """Waits until the outbox is empty. Raises AssertionError when nothing moves any more."""
    fewest, since = sys.maxsize, time.monotonic()
    while left := _pending(sidecar):
        if left < fewest:
            fewest, since = left, time.monotonic()
        assert time.monotonic() - since < STALLED, f"{left} writes are pending, and none is settled"
        time.sleep(5)
        said(f"{left} notes pending")


def _outcome(count: int, hosp: Simulator, sidecar: Sidecar) -> Outcome:
    asked = {}
    for event in sidecar.events():
        if event["understudy"]["endpoint_id"] == "patients.screen" and event["http"]["response"]["status_code"] == 200:
            asked[event["event"]["id"]] = (event["user"]["name"], event["understudy"]["patient"]["id"])
    staff = {ident: row["name"] for ident, row in hosp.hosp.data.tables["staffs"].items()}
    stored: Counter[str] = Counter()
    wrong = []
    for note in hosp.hosp.data.tables["notes"].values():
        if found := _EXCHANGE.search(note["body"] or ""):
            stored[found[1]] += 1
            if asked.get(found[1]) != (staff.get(note["staff_id"]), str(note["patient_id"])):
                wrong.append(note)
    lost = [line for line in sidecar.log.read_text().splitlines() if "could not be stored" in line]
    return Outcome(count, {ident: who for ident, (who, _) in asked.items()}, stored, wrong, _sent(sidecar), lost)


def _sent(sidecar: Sidecar) -> list[str]:
    return [
        attempt["outcome"]
        for event in sidecar.events()
        if event["understudy"]["purpose"] == "replay" and event["http"]["request"]["method"] == "POST"
        for attempt in event["understudy"]["attempts"]
    ]


def _say(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)


def main() -> None:
    count, seed = (*(int(word) for word in sys.argv[1:]), *(1000, 1)[len(sys.argv) - 1 :])
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = play(count, Path(folder), seed=seed, said=lambda text: _say(began, text))
    told = {
        "asked": seen.asked, "screened": len(seen.screened), "notes": seen.stored.total(), "missing": len(seen.missing),
        "twice": len(seen.twice), "without a screening": len(seen.strange), "wrong author or patient": len(seen.wrong),
        "attempts recorded": len(seen.sent), "of them unclear": seen.faults, "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    print(json.dumps(told, indent=2), *seen.lost, sep="\n")
    sys.exit(1 if seen.missing or seen.twice or seen.strange or seen.wrong else 0)


if __name__ == "__main__":
    main()
