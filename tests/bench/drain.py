"""How fast the outbox drains, beside how fast the upstream takes the same writes from users directly, by turns.

    python -m tests.bench.drain [--rounds 3] [--writes 400] [--pause 0.1] [--postgresql]

The upstream is the simulated HOSP, every write of which takes `--pause` seconds, so that its places are what bounds it.
The writes are what staff do, by turns: a new note, a change of a note, one of a patient; each of another record, so
that none waits for another, and directly of others than through the sidecar: what changes beside it is a conflict.
(`--notes`: new notes alone. Of one endpoint Understudy makes three quarters of as many at once, so that others find
places should it hang.) Directly: as many users as there are places, who ask it without a pause. Drained: as many writes
that were accepted while it was down, from the moment at which it is up again. At the end writes come through the
sidecar at SHARE of the direct rate while it is down for DOWN seconds: how long until none is pending any more, though
they go on to come.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from compose.hosp.server import Simulator
from tests.support.postgres import cluster
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import basic

PLACES = 8
SHARE, DOWN, LASTS = 0.9, 3.0, 180.0
NOTES, PATIENTS = 950, 195
"""Half of what there are, and some more."""
SETTINGS = {
    "evidence": "compose.hosp", "bypass_after": "0s", "upstream_concurrency": str(PLACES), "upstream_timeout": "4s",
    "late_effect": "1s", "deadline": "2s", "workers": "1",
}  # fmt: skip


class Bench:
    """The upstream, a sidecar before it, and a person whom both know."""

    def __init__(self, hosp: Simulator, sidecar: Sidecar, pause: float, *, notes_alone: bool = False) -> None:
        """`pause`: seconds that a write takes at the upstream."""
        self._hosp, self._sidecar, self._notes_alone = hosp, sidecar, notes_alone
        self._names = itertools.count()
        self._asked = {"Authorization": basic(*hosp.users[0]), "Accept": "application/json"}
        for method in ("POST", "PATCH"):
            hosp.fault(f"slow:{pause}", method=method, times=10**9)
        for path in ("/notes", "/patients", "/staffs", "/staffs/me"):
            assert sidecar.ask("GET", path, self._asked).status == 200

    def applied(self) -> int:
        return len(self._hosp.hosp.applied)

    def pending(self) -> int:
        return int(self._sidecar.plane("GET", "/outbox").json()["pending"])

    def write(self, port: int) -> int:
        """One that nothing else depends on; the status."""
        number = next(self._names)
        name, turn = f"t{number}", number // 3
        note, patient = 1 + turn % NOTES, 2 + turn % PATIENTS
        if port == self._hosp.port:
            note, patient = note + NOTES, patient + PATIENTS
        body: dict[str, Any] = {"title": name, "body": name, "patient_id": 1, "staff_id": 1}
        if self._notes_alone or number % 3 == 0:
            return ask(port, "POST", "/notes", self._asked, body).status
        if number % 3 == 1:
            return ask(port, "PATCH", f"/notes/{note}", self._asked, {"body": name}).status
        return ask(port, "PATCH", f"/patients/{patient}", self._asked, {"name": name}).status

    def many(self, port: int, writes: int) -> None:
        with ThreadPoolExecutor(PLACES) as users:
            statuses = list(users.map(lambda _: self.write(port), range(writes)))
        assert all(status in (200, 201) for status in statuses), sorted(set(statuses))

    def direct(self, writes: int) -> float:
        """Writes a second that the upstream takes from users."""
        began = time.monotonic()
        self.many(self._hosp.port, writes)
        return writes / (time.monotonic() - began)

    def drained(self, writes: int) -> float:
        """Writes a second that replay brings to it: what is drained between its tenth and its last tenth, so that how
        soon it is seen to be back, and a last one that waits for a moment to come, do not count."""
        self._hosp.set_profile("outage")
        until(lambda: self.write(self._sidecar.port) in (200, 201), 30, "the outbox takes over")
        self.many(self._sidecar.port, writes)
        first = self.applied()
        self._hosp.set_profile("calm")
        edges = first + writes // 10, first + writes - writes // 10
        at = [until(lambda e=edge: self.applied() >= e and time.monotonic(), 300, "drained") for edge in edges]
        until(lambda: not self.pending(), 60, "nothing is pending")
        return (edges[1] - edges[0]) / (at[1] - at[0])

    def steady(self, rate: float) -> tuple[float | None, int, int]:
        """Writes at this rate, an outage in their midst → seconds from its end until nothing was pending (None: not
        within LASTS), the most that was pending, and how many were not taken."""
        stop, refused = threading.Event(), list[int]()
        crowd = threading.Thread(target=self._at_rate, args=(rate, stop, refused.append))
        crowd.start()
        try:
            time.sleep(3)
            self._hosp.set_profile("outage")
            time.sleep(DOWN)
            self._hosp.set_profile("calm")
            began, most = time.monotonic(), 0
            while time.monotonic() - began < LASTS:
                pending = self.pending()
                most = max(most, pending)
                if not pending and time.monotonic() - began > 1:
                    return time.monotonic() - began, most, len(refused)
                time.sleep(0.1)
            return None, most, len(refused)
        finally:
            stop.set()
            crowd.join()

    def _at_rate(self, rate: float, stop: threading.Event, refused: Callable[[int], None]) -> None:
        def one() -> None:
            if (status := self.write(self._sidecar.port)) not in (200, 201):
                refused(status)

        with ThreadPoolExecutor(64) as users:
            due = time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                users.submit(one)
                due += 1 / rate


def _rounds(bench: Bench, rounds: int, writes: int) -> Iterator[tuple[float, float]]:
    for _ in range(rounds):
        pair = bench.direct(writes), bench.drained(writes)
        print(f"directly {pair[0]:.1f} writes/s, drained {pair[1]:.1f}: {pair[1] / pair[0]:.2f}", flush=True)
        yield pair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writes", type=int, default=400)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds that a write takes at HOSP")
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--notes", action="store_true", help="new notes alone")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {**SETTINGS, **({"database": stack.enter_context(cluster())} if given.postgresql else {})}
        hosp = stack.enter_context(Simulator("calm"))
        sidecar = stack.enter_context(Sidecar(hosp.url, folder / "data", **settings))
        bench = Bench(hosp, sidecar, given.pause, notes_alone=given.notes)
        found = list(_rounds(bench, given.rounds, given.writes))
        direct, drained = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"median: directly {direct:.1f} writes/s, drained {drained:.1f}: {drained / direct:.2f} of it")
        took, most, refused = bench.steady(SHARE * direct)
        end = f"was not empty in {LASTS:g} s" if took is None else f"was empty {took:.1f} s after it"
        print(
            f"{SHARE * direct:.1f} writes/s through an outage of {DOWN:g} s: it {end}; {most} pending at most, ", end=""
        )
        print(f"{refused} not taken")


if __name__ == "__main__":
    main()
