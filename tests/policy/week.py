"""A simulated week at a hospital: staff who write in their own name, and some who rightly write for a colleague.

The sidecar's wall clock is set back a week and stepped forward a day at a time (consistency/clock.c), so that events
are spread over the days that `policy report --since 7d` looks at. `python -m tests.policy.week --rounds 40` plays one,
of any size and on either event store, and says what was reported, refused, enforced and stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from compose.hosp.server import Simulator
from tests.consistency.nemesis import CLOCK, stepped
from tests.support.stack import Got, Sidecar, ask, until
from tests.support.upstream import basic

DAY: Final = 86_400 * 10**9
DAYS: Final = 7
AT_ONCE: Final = 4


@dataclass(frozen=True)
class Request:
    """What one person asks."""

    user: tuple[str, str]
    method: str
    target: str
    body: Any = None


@dataclass
class Week:
    """What was played. `done`: the requests that were answered well; `for_colleagues`: (user, detail) → how often."""

    done: list[Request] = field(default_factory=list)
    asked: int = 0
    for_colleagues: Counter[tuple[str, str]] = field(default_factory=Counter)


class Hospital:
    """Simulator, sidecar, and who may write for whom."""

    def __init__(self, hosp: Simulator, sidecar: Sidecar, staff: int = 12) -> None:
        self.hosp, self.sidecar = hosp, sidecar
        self.staff = hosp.users[:staff]
        self.ids = {row["name"]: ident for ident, row in hosp.hosp.data.tables["staffs"].items()}
        names = [name for name, _ in self.staff]
        self.colleagues = {names[0]: names[1:3], names[3]: names[4:5], names[5]: names[0:1]}
        """An assistant who writes for two vets, and two who write for one."""

    def play(self, rounds: int, seed: int = 1) -> Week:
        """Seven days, each of so many rounds of requests by everyone; the last one ends now."""
        dice, week = random.Random(seed), Week()
        for day in range(DAYS):
            self.set_clock((day - DAYS + 1) * DAY)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for asked, got in pool.map(self._ask, list(self._day(dice, rounds))):
                    self._note(week, asked, got)
        return week

    def set_clock(self, off: int) -> None:
        """The sidecar's wall clock is off by so many ns from now on."""
        with Path(self.sidecar.environ[CLOCK]).open("r+b") as clock:
            clock.write(off.to_bytes(8, sys.byteorder, signed=True))
        time.sleep(0.5)  # what a process has just looked at its clock for

    def _day(self, dice: random.Random, rounds: int) -> Iterator[Request]:
        for user in self.staff:
            yield Request(user, "GET", "/staffs/me")
        for _ in range(rounds):
            for user in self.staff:
                yield self._draw(dice, user)
            for name, others in self.colleagues.items():
                if dice.random() < 0.4:
                    yield self._written(dice, (name, dict(self.staff)[name]), self.ids[dice.choice(others)])
        yield Request((self.staff[0][0], "mistyped"), "GET", "/patients")
        yield Request(self.staff[1], "GET", "/favicon.ico")
        yield Request(self.staff[2], "OPTIONS", "/notes")

    def _draw(self, dice: random.Random, user: tuple[str, str]) -> Request:
        patient, own = dice.randint(1, 40), self.ids[user[0]]
        notes = self.hosp.hosp.data.tables["notes"]
        mine = [ident for ident, row in list(notes.items()) if row["staff_id"] == own and ident <= 2000]
        word = dice.choices(("notes", "patient", "write", "change", "screen", "list"), (30, 25, 20, 10, 5, 2))[0]
        return {
            "notes": Request(user, "GET", f"/notes?patient_id={patient}"),
            "patient": Request(user, "GET", f"/patients/{patient}"),
            "write": self._written(dice, user, own),
            "change": Request(user, "PATCH", f"/notes/{dice.choice(mine)}", {"title": "Round", "staff_id": own}),
            "screen": Request(user, "POST", f"/patients/{patient}/screen", {"images": [f"AOT{patient}"]}),
            "list": Request(user, "GET", "/patients"),
        }[word]

    def _written(self, dice: random.Random, user: tuple[str, str], author: int) -> Request:
        text = {"title": "Round", "body": f"Seen at {dice.randint(8, 18)}:00.", "patient_id": dice.randint(1, 40)}
        return Request(user, "POST", "/notes", {**text, "staff_id": author})

    def _ask(self, asked: Request) -> tuple[Request, Got]:
        headers = {"Authorization": basic(*asked.user), "Accept": "application/json"}
        return asked, ask(self.sidecar.port, asked.method, asked.target, headers, asked.body)

    def _note(self, week: Week, asked: Request, got: Got) -> None:
        week.asked += 1
        if got.status >= 400:
            return
        week.done.append(asked)
        author = asked.body.get("staff_id") if asked.body and asked.method == "POST" else None
        if author is not None and author != self.ids[asked.user[0]]:
            week.for_colleagues[asked.user[0], f"staff_id {author}"] += 1

    # What is looked at afterwards -----------------------------------------------------------------------------------

    def shipped(self) -> None:
        """Waits until the event store has all that users did."""
        happened = sum(event["understudy"]["purpose"] == "user" for event in self.sidecar.events())

        def counted() -> bool:
            told = self.sidecar.plane("GET", "/policies/report?since=8d&policy=oversize_body")
            return told.status == 200 and int(told.json()["requests"]) >= happened

        until(counted, 120, "all shipped")

    def report(self, policy: str) -> list[dict[str, Any]]:
        """Whom the policy would have stopped who did it with success."""
        done = self.sidecar.cli("policy", "report", "--since", "7d", "--policy", policy, "--format", "json")
        assert done.returncode == 0, done.stderr
        return [row for row in json.loads(done.stdout)["policies"][policy]["stopped"] if row["legitimate"]]

    def replay(self, week: Week) -> Counter[str]:
        """Asks all that was answered well once more; how often each verdict was spoken, with what was found."""
        before = {event["event"]["id"] for event in self.sidecar.events()}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = [got for _, got in pool.map(self._ask, week.done)]
        assert len(answers) == len(week.done)
        events = [event for event in self.sidecar.events() if event["event"]["id"] not in before]
        said = [event["understudy"] for event in events if event["understudy"]["purpose"] == "user"]
        return Counter(" ".join([each["verdict"], *each.get("findings", [])]) for each in said)

    def impersonate(self) -> list[Got]:
        """Somebody who writes for nobody writes a note in each of three colleagues' names."""
        user, others = self.staff[-1], [self.ids[name] for name, _ in self.staff[:3]]
        pwned = [{"title": "pwned", "body": "pwned", "patient_id": 1, "staff_id": author} for author in others]
        return [self._ask(Request(user, "POST", "/notes", body))[1] for body in pwned]


@contextmanager
def hospital(folder: Path, **settings: str) -> Iterator[Hospital]:
    """HOSP at its ordinary, 200 times as fast, and a sidecar whose clock can be stepped."""
    clock = stepped(folder)
    assert clock, "a C compiler (cc) is needed to step the sidecar's clock"
    with Simulator("ordinary", time_scale=0.005) as hosp:
        (folder / "clock").write_bytes((-(DAYS - 1) * DAY).to_bytes(8, sys.byteorder, signed=True))
        given = {"workers": "2", "late_effect": "1s", "upstream_timeout": "5s", **settings}
        with Sidecar(hosp.url, folder / "data", environ=clock, evidence="compose.hosp", **given) as sidecar:
            yield Hospital(hosp, sidecar)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=40, help="Rounds of requests a day, of each of 12 people.")
    words.add_argument("--elasticsearch", help="URL of the event store; unset: the embedded one.")
    given = words.parse_args()
    store = {"elasticsearch": given.elasticsearch} if given.elasticsearch else {}
    with tempfile.TemporaryDirectory() as folder, hospital(Path(folder), **store) as place:
        week = place.play(given.rounds)
        place.shipped()
        print(f"{week.asked} requests in 7 days, {len(week.done)} answered well")
        for row in place.report("author_is_caller"):
            print(
                f"  reported: {row['user']}, {row['detail']}: {row['requests']} times, {row['succeeded']} with success"
            )
        print(f"  indeed:   {dict(week.for_colleagues)}")
        print(f"enforce: {place.sidecar.cli('policy', 'enforce', 'author_is_caller').stderr.strip()}")
        for user, detail in week.for_colleagues:
            place.sidecar.cli("policy", "except", "author_is_caller", user, "--detail", detail)
        print(f"excepted; enforce: {place.sidecar.cli('policy', 'enforce', 'author_is_caller').stdout.strip()}")
        time.sleep(1)
        print(f"impersonated notes: {[got.status for got in place.impersonate()]}")
        print(f"the week once more: {dict(place.replay(week))}")


if __name__ == "__main__":
    main()
