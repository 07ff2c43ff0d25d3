"""What stands behind the sidecars under test: the simulated HOSP with its profiles, or a real Rails application."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from typing import Protocol

from compose.hosp import client as hosp_api
from compose.hosp.data import generate
from compose.hosp.server import Simulator
from tests.consistency.checker import Final
from tests.support.rails_app import RailsApp

PROFILES = ("ordinary", "bad-day", "ambiguous", "outage", "brownout", "liar", "surge")
OURS = ("t", "v")
"""What titles and bodies of the clients' notes begin with."""


class Tested(Protocol):
    """An upstream that can be troubled, and asked what became of it."""

    @property
    def url(self) -> str: ...

    @property
    def staff(self) -> Sequence[tuple[str, str]]:
        """Names and passwords."""

    @property
    def most_in_flight(self) -> int:
        """Requests at one time, at most; 0 where nobody counts."""

    @property
    def most_awaited(self) -> int:
        """Those of them whose caller had not died, nor closed the connection."""

    def turn(self, dice: random.Random) -> str:
        """Begins a new kind of day, and names it."""

    def restart(self, dice: random.Random) -> None:
        """Every connection is reset under its request; what was written stays."""

    def calm(self) -> None:
        """Ends all trouble."""

    def final(self, parked: Sequence[dict[str, object]]) -> Final: ...


class SimulatedHosp:
    """compose.hosp."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.staff: Sequence[tuple[str, str]] = hosp_api.users(simulator.control_url)

    @property
    def url(self) -> str:
        return self._simulator.url

    @property
    def most_in_flight(self) -> int:
        return self._simulator.most_in_flight

    @property
    def most_awaited(self) -> int:
        return self._simulator.most_awaited

    def turn(self, dice: random.Random) -> str:
        name = dice.choice(PROFILES)
        self._simulator.set_profile(name)
        return name

    def restart(self, dice: random.Random) -> None:
        profile = self._simulator.profile_name
        self._simulator.set_profile("outage")
        time.sleep(dice.uniform(0.1, 2))
        self._simulator.set_profile(profile)

    def calm(self) -> None:
        self._simulator.set_profile("calm")

    def final(self, parked: Sequence[dict[str, object]]) -> Final:
        return final_state(self._simulator, parked)


class RailsHosp:
    """A real Rails application, which is well, stopped, or frozen with its connections open."""

    most_in_flight = most_awaited = 0

    def __init__(self, app: RailsApp) -> None:
        self._app = app
        self._state = "well"
        self.url = app.url
        self.staff = list(generate(7).passwords.items())
        with sqlite3.connect(app.folder / "db/production.sqlite3") as database:
            database.executescript(_KEEP_COUNT)

    def turn(self, dice: random.Random) -> str:
        self.calm()
        self._state = dice.choice(("well", "well", "well", "frozen", "stopped"))
        if self._state == "frozen":
            self._app.signal(signal.SIGSTOP)
        elif self._state == "stopped":
            self._app.stop()
        return self._state

    def restart(self, dice: random.Random) -> None:
        if self._state != "stopped":
            self._app.stop()
            time.sleep(dice.uniform(0.1, 2))
            self._app.start()
            self._state = "well"

    def calm(self) -> None:
        if self._state == "frozen":
            self._app.signal(signal.SIGCONT)
        elif self._state == "stopped":
            self._app.start()
        self._state = "well"

    def final(self, parked: Sequence[dict[str, object]]) -> Final:
        notes = [(row[0], str(row[1]), str(row[2])) for row in self._app.select("id, title, body FROM notes")]
        applied = [(str(kind), str(what)) for kind, what in self._app.select("kind, what FROM applied")]
        titles = {str(ident): title for ident, title, _ in notes}
        return Final([(title, body) for _, title, body in notes], _of_ours(applied), _waiting(parked, titles))


_KEEP_COUNT = """
CREATE TABLE IF NOT EXISTS applied (kind TEXT, what TEXT);
CREATE TRIGGER created AFTER INSERT ON notes BEGIN INSERT INTO applied VALUES ('create', NEW.title); END;
CREATE TRIGGER changed AFTER UPDATE ON notes BEGIN INSERT INTO applied VALUES ('update', NEW.body); END;
"""
"""The database itself counts what took effect, whatever Rails says of it."""


def final_state(simulator: Simulator, parked: Sequence[dict[str, object]]) -> Final:
    """What the simulated HOSP holds, and what took effect there."""
    hosp = simulator.hosp
    rows = [(str(row["title"]), str(row["body"])) for row in hosp.data.tables["notes"].values()]
    applied = []
    for write in hosp.applied:
        if write["method"] == "POST":
            applied.append(("create", str(write["body"].get("title"))))
        elif write["method"] == "PATCH":
            applied.append(("update", str(write["body"].get("body"))))
    titles = {str(row["id"]): str(row["title"]) for row in hosp.data.tables["notes"].values()}
    return Final(rows, _of_ours(applied), _waiting(parked, titles))


def screening(image: str) -> str:
    """What a screening of this one image finds, in both."""
    return "abnormal" if hashlib.sha256(image.encode()).digest()[0] % 5 == 0 else "normal"


def _of_ours(applied: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in applied if pair[1].startswith(OURS)]


def _waiting(parked: Sequence[dict[str, object]], titles: dict[str, str]) -> frozenset[str]:
    """Titles of the records that a person must decide about: of a create, what it sent."""
    named = set()
    for entry in parked:
        sent = entry["payload"] if isinstance(entry["payload"], dict) else {}
        named.add(str(sent.get("title") or titles.get(str(entry["record_id"]), entry["record_id"])))
    return frozenset(named)
