"""`make torture MINUTES=30`: clients, a nemesis and the checker, against a real sidecar and a simulated HOSP; with
RAILS=1, against a real Rails application.

Time is scaled so that HOSP's seconds are quarters, and every setting that counts seconds with them. Sidecars wait for
HOSP a little longer than it ever takes: what they gave up would still be in flight there, as it counts.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from compose.hosp.data import generate
from compose.hosp.server import Simulator
from tests.consistency.checker import Violation, check
from tests.consistency.history import History, Outcome
from tests.consistency.nemesis import Nemesis, stepped
from tests.consistency.upstreams import RailsHosp, SimulatedHosp, Tested, screening
from tests.consistency.workload import KINDS, Client
from tests.support.postgres import cluster
from tests.support.rails_app import RailsApp, generate_app
from tests.support.small_disk import NoDisk, small_disk
from tests.support.stack import Sidecar
from tests.support.upstream import basic

SCALE = 0.25
SCALED = {"upstream_timeout": "10s", "late_effect": "10s", "deadline": "700ms", "hedge_after": "250ms"}
CLIENTS = 6
SHARES = {**KINDS, "screen": 0.1}
SMALL = 1 << 30
"""Bytes of the disk that DATA lies on."""
DRAIN = 600.0
"""Seconds in which all must be settled after the last trouble."""


@dataclass(frozen=True)
class Verdict:
    """What came of a run."""

    violations: list[Violation]
    parked: list[str]
    counts: dict[str, int]
    aliases: int
    most_in_flight: int
    most_awaited: int
    """Of these, what a living process of the sidecar waited for."""
    history: Path

    def lines(self) -> list[str]:
        told = [f"{sum(self.counts.values())} operations: " + ", ".join(f"{n} {k}" for k, n in self.counts.items())]
        flights = f"{self.most_in_flight} in flight at most ({self.most_awaited} for living callers)"
        told.append(f"{self.aliases} provisional ids, {flights}, {len(self.parked)} parked")
        told += [str(violation) for violation in self.violations[:20]] + self.parked[:20]
        told.append(f"{len(self.violations)} violations" + (f"; history: {self.history}" if self.violations else ""))
        return told


def run(
    seconds: float, seed: int, *, strike_every: float, say: Callable[[str], None] = print, postgresql: bool = False,
    pause: float = 0.2, rails: bool = False, only: str = "",
) -> Verdict:  # fmt: skip
    """One run; deterministic but for the machine's own timing. `only`: the one blow, in place of any."""
    dice, history = random.Random(seed), History()
    folder = Path(tempfile.mkdtemp(prefix="understudy-torture-"))
    with ExitStack() as stack:
        extra = {"database": stack.enter_context(cluster())} if postgresql else {}
        upstream = stack.enter_context(a_rails_application(folder) if rails else a_simulator(seed))
        disk = stack.enter_context(a_small_disk(folder / "data", say))
        keeper = ":".join(upstream.staff[-1])
        sidecar = stack.enter_context(
            Sidecar(
                upstream.url, folder / "data", environ=stepped(folder), backfill_credentials=keeper,
                evidence=None if rails else "compose.hosp", **SCALED, **extra,
            )
        )  # fmt: skip
        for user in upstream.staff[:CLIENTS]:
            for path in ("/notes", "/patients", "/staffs", "/hospitals", "/staffs/me"):
                sidecar.ask("GET", path, {"Authorization": basic(*user)})
        nemesis = Nemesis(upstream, [sidecar], seed, disk)
        clients = [Client(n, upstream.staff[n], sidecar.port, history, seed, pause, SHARES) for n in range(CLIENTS)]
        _trouble(seconds, dice, nemesis, strike_every, say, only)
        for client in clients:
            client.stop()
        upstream.calm()
        for client in clients:
            client.join(70)
        parked = drained(sidecar, say)
        final, most = upstream.final(parked), (upstream.most_in_flight, upstream.most_awaited)
    violations = check(history.operations, final, screening)
    history.save(folder / "history.jsonl")
    counts = Counter(f"{operation.kind} {operation.outcome}" for operation in history.operations)
    aliases = sum(o.kind == "create" and o.outcome is Outcome.OK and o.ident >= 2e9 for o in history.operations)
    told = [f"parked: {entry['action']} {entry['payload']}: {entry['reason']}" for entry in parked]
    if not violations and not parked:
        shutil.rmtree(folder)  # nobody will look into it
    return Verdict(violations, told, dict(sorted(counts.items())), aliases, *most, folder / "history.jsonl")


def _trouble(
    seconds: float, dice: random.Random, nemesis: Nemesis, strike_every: float, say: Callable[[str], None], only: str
) -> None:
    began = time.monotonic()
    turn_at = strike_at = began
    while (now := time.monotonic()) - began < seconds:
        if now >= turn_at:
            say(f"{now - began:6.0f} s  {nemesis.turn()}")
            turn_at = now + dice.uniform(3, 8)
        if now >= strike_at + strike_every:
            say(f"{now - began:6.0f} s  {nemesis.strike(only)}")
            strike_at = time.monotonic()
        time.sleep(0.1)


def drained(sidecar: Sidecar, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Waits until nothing is pending; the entries that are parked."""
    began = time.monotonic()
    while True:
        told = sidecar.plane("GET", "/outbox").json()
        if not told["pending"]:
            say(f"drained in {time.monotonic() - began:.0f} s")
            return list(told["parked"])
        if time.monotonic() - began > DRAIN:
            raise AssertionError(f"not drained in {DRAIN} s: {told['entries'][:3]}")
        time.sleep(0.5)


@contextmanager
def a_small_disk(folder: Path, say: Callable[[str], None]) -> Iterator[Path | None]:
    """For DATA alone, so that it can be full; None: none can be made here, and limits on files stand in for it."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(folder, SMALL))
        except NoDisk as why:
            say(f"no small disk, only a limit on files: {why}")
            disk = None
        yield disk


@contextmanager
def a_simulator(seed: int) -> Iterator[Tested]:
    with Simulator("calm", seed=seed, time_scale=SCALE) as simulator:
        yield SimulatedHosp(simulator)


@contextmanager
def a_rails_application(folder: Path) -> Iterator[Tested]:
    generate_app(folder / "hosp", generate(7))
    with RailsApp(folder / "hosp") as app:
        yield RailsHosp(app)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--strike-every", type=float, default=20.0, help="seconds between blows at the sidecar")
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between two operations of a client")
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--rails", action="store_true", help="before a real Rails application, in real time")
    parser.add_argument("--only", default="", help='one blow in place of any, such as "full disk"')
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    verdict = run(
        given.minutes * 60, given.seed, strike_every=given.strike_every, postgresql=given.postgresql, pause=given.pause,
        rails=given.rails, only=given.only, say=lambda line: print(line, flush=True),
    )  # fmt: skip
    print("\n".join(verdict.lines()), flush=True)
    return 1 if verdict.violations or verdict.parked else 0


if __name__ == "__main__":
    sys.exit(main())
