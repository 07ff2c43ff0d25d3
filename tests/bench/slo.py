"""`make bench-slo`: how long it takes to evaluate every shipped objective over 30 days at 50 requests a second.

130 million events do not fit into a reasonable run. The store holds real events for some hours of that pace; the hours
before are as the evaluator would have left them: counted, and in the store's own totals (embedded), or added to its
answer (Elasticsearch). Each line is one size of real events; what grows with it is extrapolated in a straight line.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alerts.counting.block_store import Kept
from alerts.counting.counts import Cube, limits_of
from alerts.counting.rollups import MONTH, SETTLE, Rollups
from alerts.objectives import openslo
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import Evaluation, levels
from sidecar.contract import Contract
from sidecar.events.store import Bucket, EventStore, Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.alerts.recorded import exchange

PACE, HOUR, BATCH = 50, 3600, 5000
ENDPOINTS = [endpoint.name for endpoint in Contract.load("hosp").endpoints.values()]
PROMISES = openslo.load("hosp", ENDPOINTS)
LIMITS = limits_of(PROMISES)
FAILED: dict[str, Any] = {"outcome": "failure", "status": 500, "upstream": ("failure",)}
COVERED: dict[str, Any] = {"answered_by": "standby", "upstream": ("failure",)}


class Longer:
    """A store, and the totals of hours that it does not hold: `events` each."""

    def __init__(self, store: EventStore, before: int, events: int) -> None:
        self._store = store
        self._before = before
        self._events = events

    def count(self, where: Filter, interval: int | None = None, by: Sequence[str] = ()) -> Sequence[Bucket]:
        found = list(self._store.count(where, interval, by))
        if not by and interval == HOUR * SECOND and where.since is not None:
            hours = range(where.since, min(self._before * SECOND, where.until or 0), interval)
            found += [Bucket(at, (), self._events) for at in hours]
        return found


def fill(store: EventStore, since: int, until: int) -> None:
    """Fifty a second over all endpoints; some fail, more are covered."""
    batch: list[dict[str, Any]] = []
    for n in range(since * PACE, until * PACE):
        given = FAILED if n % 997 == 0 else COVERED if n % 23 == 0 else {}
        batch.append(exchange(n, n * (SECOND // PACE), endpoint=ENDPOINTS[n * 7 % len(ENDPOINTS)], **given))
        if len(batch) == BATCH:
            store.append(batch)
            batch = []
    store.append(batch)


def remember(folder: Path, like: dict[int, Cube], before: int, volumes: bool) -> None:
    """A month of hours before `before`, each counted `like` one that was."""
    kept = Kept(folder / "rollups.db", f"15s {' '.join(map(str, LIMITS))}", LIMITS)
    whole = Cube(LIMITS)
    for cube in like.values():
        whole.add(cube)
    for start in range(before - MONTH - HOUR, before, HOUR):
        kept.put(start, whole, {start + at % HOUR: cube for at, cube in like.items()})
    kept.close()
    if volumes:
        with sqlite3.connect(folder / "events.db") as connection:
            rows = ((start * SECOND, whole.events) for start in range(before - MONTH - HOUR, before, HOUR))
            connection.executemany("INSERT OR REPLACE INTO volumes VALUES (?, ?)", rows)
        connection.close()


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[EventStore]:
    if kind == "embedded":
        store: EventStore = EmbeddedStore(folder / "events.db")
        store.install()
        yield store
        store.close()
        return
    from compose.elasticsearch.node import VERSIONS, Node, prepare
    from sidecar.events.store.elasticsearch import ElasticStore

    prepare(VERSIONS[0])
    node = Node(VERSIONS[0], folder / "elasticsearch")
    node.start()
    store = ElasticStore(node.url, timeout=60)
    store.install()
    yield store
    store.close()
    node.stop()


def measure(kind: str, hours: float, rounds: int) -> dict[str, float]:
    """Seconds of a first evaluation (of a new process), of a following one, and of counting one hour: the best."""
    now = 1_773_144_000 + HOUR - 60  # the open hour is as long as it gets
    start = now - int(hours * HOUR)
    with tempfile.TemporaryDirectory() as scratch, opened(kind, Path(scratch)) as store:
        folder = Path(scratch)
        fill(store, start, now + 15 * rounds)
        time.sleep(2 if kind == "elasticsearch" else 0)
        before = now // HOUR * HOUR - max(0, int(hours - 1)) * HOUR
        recent = Rollups(store, LIMITS, MONTH)
        began = time.perf_counter()
        like = dict(recent.buckets(now // HOUR * HOUR, now // HOUR * HOUR + HOUR - SETTLE))
        counting = time.perf_counter() - began
        remember(folder, like, before, kind == "embedded")
        asked = store if kind == "embedded" else Longer(store, before, sum(cube.events for cube in like.values()))
        firsts, nexts = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            evaluation = Evaluation(asked, PROMISES, levels(PROMISES), Rule(), folder / "rollups.db")  # type: ignore[arg-type]
            found, unknown, _ = evaluation.step(now, lambda _: True)
            firsts.append(time.perf_counter() - began)
            assert not unknown
            for n in range(1, rounds):
                began = time.perf_counter()
                evaluation.step(now + 15 * n, lambda _: True)
                nexts.append(time.perf_counter() - began)
    return {
        "events": hours * HOUR * PACE, "first": min(firsts), "next": min(nexts),
        "hour": counting, "alerts": len(found),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["embedded", "elasticsearch"], default="embedded")
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 2], help="of real events")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(
        f"{given.store}; load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores; {len(PROMISES)} promises; 720 hours"
    )
    print("| real events | first evaluation | each following one | counting an hour |\n|---|---|---|---|")
    rows = [measure(given.store, hours, given.rounds) for hours in given.hours]
    for row in rows:
        print(f"| {row['events']:,.0f} | {row['first']:.2f} s | {row['next']:.2f} s | {row['hour']:.2f} s |")
    if len(rows) > 1:
        least, most = rows[0], rows[-1]
        more = (MONTH * PACE - most["events"]) / (most["events"] - least["events"])
        far = {name: most[name] + max(0.0, most[name] - least[name]) * more for name in ("first", "next")}
        print(f"| {MONTH * PACE:,} (extrapolated) | {far['first']:.2f} s | {far['next']:.2f} s | |")


if __name__ == "__main__":
    main()
