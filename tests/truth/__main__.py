"""`python -m tests.truth`: the whole matrix once, or with --hours again and again, in random order, until the time is
over, each time with thousands of random questions."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from tests.truth.drive import Drive
from tests.truth.judge import BAD, Judged, table
from tests.truth.worlds import CELLS, WORLDS, World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--more", type=int, help="random questions in each outage: none, with --hours 5000")
    parser.add_argument("--jobs", type=int, default=1, help="how many worlds run side by side: 1")
    parser.add_argument("--world", action="append", default=[], help="api or api/twist; may be repeated")
    parser.add_argument("--known", action="store_true", help="print what is false as lines of known.txt")
    parser.add_argument("--verbose", action="store_true", help="print every false answer")
    given = parser.parse_args()
    worlds = [world for world in WORLDS if not given.world or _named(world) & set(given.world)]
    judged: list[Judged] = []
    broken = 0
    more = given.more if given.more is not None else 5000 if given.hours else 0
    until = time.monotonic() + given.hours * 3600
    order = _again_and_again(worlds, given.seed) if given.hours else iter([(world, given.seed) for world in worlds])
    running: set[Future[list[Judged]]] = set()
    with ProcessPoolExecutor(given.jobs, initializer=_obey_the_parent) as pool:
        try:
            while True:
                due = not (judged or broken) or not given.hours or time.monotonic() < until
                for world, seed in itertools.islice(order, given.jobs - len(running) if due else 0):
                    running.add(pool.submit(_run, world, seed, more))
                if not running:
                    break
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for each in ended:
                    try:
                        judged += each.result()
                    except Exception:  # what the others have shown is told all the same
                        traceback.print_exc()
                        broken += 1
        except KeyboardInterrupt:
            print("interrupted: what was judged until now", file=sys.stderr)
            for child in multiprocessing.active_children():
                child.terminate()
    print(table(judged, len(CELLS), given.seed))
    if given.known:
        print("\n".join(sorted({f"{each.cell} {each.verdict}" for each in judged if each.verdict in BAD})))
    if given.verbose:
        print("\n".join(f"{each.verdict} {each.cell} {each.what}" for each in judged if each.verdict in BAD))
    if broken:
        print(f"{broken} worlds broke, and were not judged", file=sys.stderr)
    return int(bool(broken) or any(each.verdict in BAD for each in judged))


def _obey_the_parent() -> None:
    """Of a process that drives worlds: what interrupts it, once, is the parent; it ends what it has started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _named(world: World) -> set[str]:
    return {world.api, f"{world.api}/{world.twist or 'plain'}"}


def _again_and_again(worlds: list[World], seed: int) -> Iterator[tuple[World, int]]:
    """All worlds in a random order, then in another one, each time with another seed, without end."""
    for each in itertools.count(seed):
        yield from ((world, each) for world in random.Random(each).sample(worlds, len(worlds)))


def _run(world: World, seed: int, more: int) -> list[Judged]:
    with tempfile.TemporaryDirectory() as folder:
        judged = list(Drive(world, Path(folder) / "data", seed, more=more).run())
    bad, own = sum(each.verdict in BAD for each in judged), sum(each.standby for each in judged)
    name = f"{world.api}/{world.twist or 'plain'}"
    print(f"{name}: {len(judged)} answers, {own} of them the standby's, {bad} false", file=sys.stderr, flush=True)
    return judged


if __name__ == "__main__":
    sys.exit(main())
