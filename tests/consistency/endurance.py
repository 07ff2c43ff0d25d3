"""Several sidecars on one PostgreSQL for long: one blow after another, drawn at random, clients and the checker.

`python -m tests.consistency.endurance --minutes 20 --sidecars 4 --seed 1` (root; in namespaces of its own). The hosts
are those of `partitions`. Blows: a way is cut; the database, or the process that leads replay, is stopped (SIGSTOP) and
goes on; the database fails over to its replica, takes reads alone, has no connection left; each sidecar's wall clock is
stepped. Beside the users, who come through the balancer, somebody asks HOSP itself all the while.

In the end all that was acknowledged must be at HOSP, once, and every answer of a sidecar must have been true. The
health check must have turned within TURN seconds where the database could not be used, and users must have been served
as HOSP served those who asked it itself, but for SLACK of them. What broke is said, and where users were worse off.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from http.client import HTTPException
from itertools import combinations
from pathlib import Path

from tests.consistency.checker import check
from tests.consistency.history import History
from tests.consistency.nemesis import CLOCK
from tests.consistency.partitions import CLIENTS, NAMES, OTHERS, Site, judged, learn, site, users
from tests.consistency.torture import drained
from tests.consistency.upstreams import final_state
from tests.support.hosts import enter
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import basic

KINDS = ("cut", "database stopped", "leader stopped", "failover", "read-only", "starved", "skew")
SKEWS = (0.0, 0.5, -0.5, 5.0, -5.0, 60.0, -60.0)
TURN = 3.0
SLACK = 0.001
BETWEEN = 6.0
"""Seconds after a blow in which all comes round."""


class Direct:
    """Somebody who asks HOSP itself, four times a second: what it was worth to users by itself."""

    def __init__(self, stage: Site, user: tuple[str, str]) -> None:
        self._stage, self._fields = stage, {"Authorization": basic(*user), "Accept": "application/json"}
        self.seen: list[tuple[float, bool]] = []
        """When it was asked, and whether it answered well."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        hosp = self._stage.hosp
        while not self._stop.wait(0.25):
            began = time.monotonic()
            try:
                host = self._stage.hosts.address["hosp"]
                well = ask(hosp.port, "GET", "/hospitals", self._fields, timeout=20, host=host).status < 500
            except (OSError, HTTPException):
                well = False
            self.seen.append((began, well))


class Blows:
    """Each ends by itself; gives what it did, in words."""

    def __init__(self, stage: Site, dice: random.Random) -> None:
        self._stage, self._dice = stage, dice
        self.turned: list[float] = []
        """Seconds until a health check said that the database was away."""
        blows = (self._cut, self._stop_database, self._stop_leader, self._fail_over, self._read_only, self._starve)
        self._all: dict[str, Callable[[], str]] = dict(zip(KINDS, (*blows, self._skew), strict=True))

    def strike(self, name: str) -> str:
        return f"{name}: {self._all[name]()}"

    def _lasts(self) -> float:
        return self._dice.uniform(4, 9)

    def _cut(self) -> str:
        names = [*NAMES[: len(self._stage.sidecars)], *OTHERS, "clients"]
        one, other = self._dice.choice([pair for pair in combinations(names, 2) if pair != ("hosp", "pg1")])
        self._stage.hosts.cut(one, other)
        time.sleep(self._lasts())
        self._stage.hosts.mend(one, other)
        return f"{one} – {other}"

    def _stop_database(self) -> str:
        self._stage.primary.pause()
        try:
            return self._away()
        finally:
            self._stage.primary.resume()

    def _read_only(self) -> str:
        self._stage.primary.read_only(True)
        try:
            return self._away()
        finally:
            self._stage.primary.read_only(False)

    def _starve(self) -> str:
        with ExitStack() as greedy:
            self._stage.primary.take_all(greedy, [])
            time.sleep(self._lasts())
        return "all connections taken"

    def _fail_over(self) -> str:
        primary, replica = self._stage.primary, self._stage.replica
        primary.stop("immediate")
        turned = self._away(0)
        replica.promote()
        for sidecar in self._stage.sidecars:
            until(lambda s=sidecar: s.plane("GET", "/readyz").status == 200, 60, "it has found the new primary")
        primary.copy(replica)
        primary.start()
        replica.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        replica.ask("SELECT pg_reload_conf()")
        self._stage.primary, self._stage.replica = replica, primary
        return turned

    def _stop_leader(self) -> str:
        held = self._stage.primary.ask("SELECT holder FROM leases WHERE name = 'replay'")
        pid = int(str(held[0][0]).rpartition("/")[2])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._lasts())
            os.kill(pid, signal.SIGCONT)
        return str(held[0][0])

    def _skew(self) -> str:
        off = [self._dice.choice(SKEWS) for _ in self._stage.sidecars]
        for sidecar, seconds in zip(self._stage.sidecars, off, strict=True):
            with Path(sidecar.environ[CLOCK]).open("r+b") as clock:
                clock.write(int(seconds * 1e9).to_bytes(8, sys.byteorder, signed=True))
        time.sleep(self._lasts())
        return ", ".join(f"{seconds:+g} s" for seconds in off)

    def _away(self, lasts: float | None = None) -> str:
        """Until each health check has turned, and for a while."""
        began = time.monotonic()
        found = []
        for sidecar in self._stage.sidecars:
            until(lambda s=sidecar: not _is_healthy(s), 15, "the health check turns")
            found.append(time.monotonic() - began)
        self.turned += found
        time.sleep(self._lasts() if lasts is None else lasts)
        return f"health checks turned after {max(found):.1f} s"


def _is_healthy(sidecar: Sidecar) -> bool:
    try:
        return sidecar.plane("GET", "/healthz").status == 200
    except (OSError, HTTPException):
        return False


def shares(history: History, direct: Direct, since: float, until_: float) -> tuple[int, int, int, int]:
    """Of what began in a span: users' requests, those that failed, HOSP's own, and those that failed."""
    mine = [o for o in history.operations if since <= o.began < until_]
    own = [well for at, well in direct.seen if since <= at < until_]
    return len(mine), sum(o.status == 0 or o.status >= 500 for o in mine), len(own), own.count(False)


def play(folder: Path, minutes: float, sidecars: int, seed: int, chosen: Sequence[str]) -> int:
    """0 when no promise was broken."""
    history, began, dice = History(), time.monotonic(), random.Random(seed)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    worse: Counter[str] = Counter()
    with site(folder, False, sidecars, clocks=True) as stage:
        learn(stage)
        say("all is up")
        blows, direct = Blows(stage, dice), Direct(stage, stage.hosp.users[CLIENTS])
        names = list(chosen or KINDS)
        start = time.monotonic()
        with users(stage, history, seed):
            while time.monotonic() - start < minutes * 60:
                name, at = dice.choice(names), time.monotonic()
                said = blows.strike(name)
                time.sleep(BETWEEN)
                asked, failed, own, own_failed = shares(history, direct, at, time.monotonic())
                worse[name] += failed
                say(f"{said}; {failed} of {asked} users' requests failed, {own_failed} of {own} at HOSP itself")
        direct.stop()
        parked = drained(stage.sidecars[0], say)
        violations: list[object] = [*check(judged(history), final_state(stage.hosp, parked))]
    history.save(folder / "history.jsonl")
    asked, failed, own, own_failed = shares(history, direct, start, time.monotonic())
    say(f"{asked} requests, {failed} failed ({failed / asked:.2%}); HOSP itself: {own_failed} of {own} failed")
    say("failed by blow: " + ", ".join(f"{n} {name}" for name, n in worse.most_common()))
    if failed / asked > own_failed / own + SLACK:
        violations.append(f"worse off: {failed / asked:.2%} of users' requests failed, {own_failed / own:.2%} at HOSP")
    if blows.turned and max(blows.turned) > TURN:
        violations.append(f"late: a health check turned after {max(blows.turned):.1f} s")
    for entry in parked:
        say(f"parked: {entry['action']} {entry['record_id']}: {entry['reason']}")
    for violation in violations:
        say(str(violation))
    say(f"{len(violations)} violations, {len(parked)} parked, seed {seed}, history in {folder}")
    return 1 if violations else 0


def main(words: list[str]) -> int:
    enter("tests.consistency.endurance", words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--sidecars", type=int, choices=range(2, len(NAMES) + 1), default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--blow", action="append", choices=KINDS, help="only these")
    given = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="understudy-endurance-"))
    return play(folder, given.minutes, given.sidecars, given.seed, given.blow or ())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
