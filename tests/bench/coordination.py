"""What it takes of a PostgreSQL that many sidecars agree: heartbeats, places and a lease, and nothing else.

    python -m tests.bench.coordination [--nodes 200] [--seconds 20]

Each node is a thread with a connection of its own, and does once a second what a sidecar does: it beats
(storage/nodes.py), tells what it wants of the places and hears the others (storage/place_leases.py), and tries to hold
the lease of replay (storage/lease.py). Told are CPU time of the server's sessions, transactions, and how long the three
took. CPU time of this machine hardly depends on what else it does, as waiting does. At the end: how many transactions
a second can write one after another, as all of a deployment's do (storage/postgresql.py); that is what bounds its
writes.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Engine, create_engine, insert

from sidecar.clock import stamp
from sidecar.http.identifiers import uuid7
from sidecar.settings import Settings
from sidecar.standby.tables import writes
from sidecar.storage.database import GLANCE, create_all, open_engine
from sidecar.storage.lease import Lease
from sidecar.storage.nodes import beat
from sidecar.storage.place_leases import Told, take, tell
from tests.support.postgres import Server, running

PLACES = 8


class Node:
    """One that is alive. Its first round is not counted: connections are made in it."""

    def __init__(self, url: str, number: int) -> None:
        self._name = f"node-{number}"
        self._engine = create_engine(url, pool_size=1, max_overflow=0)
        self._lease = Lease(self._engine, "replay", self._name)
        self._granted = 0
        self.took: list[float] = []
        """Seconds of each round."""
        self.held = 0

    def run(self, stop: threading.Event) -> None:
        stop.wait(random.random())  # they do not begin together
        while not stop.is_set():
            began = time.monotonic()
            self._round()
            self.took.append(time.monotonic() - began)
            stop.wait(max(0.0, began + 1 - time.monotonic()))
        self._engine.dispose()

    def _round(self) -> None:
        with self._engine.execution_options(**GLANCE).connect() as connection:
            beat(connection, self._name, self._name, {"skew": 0, "unshipped": 0, "head": None})
        if not self._granted:
            self._granted = take(self._engine, self._name, Told(1, 1), PLACES)
        tell(self._engine, self._name, Told(self._granted, 1))
        self.held += self._lease.hold()


def cpu(server: Server) -> float:
    """Seconds that the server's processes have used."""
    master = int((server.home / "data" / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        if master in (int(path.parent.name), int(fields[1])):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def committed(server: Server) -> int:
    return int(server.ask("SELECT sum(xact_commit) FROM pg_stat_database")[0][0])


def measure(count: int, seconds: float) -> dict[str, float]:
    """A second and node: ms of the server's CPU, and transactions; ms that a round took; leaders at one time."""
    with running(max_connections=str(count + 20), shared_buffers="64MB") as server:
        engine = create_engine(server.url)
        create_all(engine)
        engine.dispose()
        stop, nodes = threading.Event(), [Node(server.url, number) for number in range(count)]
        threads = [threading.Thread(target=node.run, args=(stop,), daemon=True) for node in nodes]
        for thread in threads:
            thread.start()
        while any(not node.took for node in nodes):
            time.sleep(0.1)
        began, spent, done, rounds = time.monotonic(), cpu(server), committed(server), sum(len(n.took) for n in nodes)
        time.sleep(seconds)
        lasted, spent, done = time.monotonic() - began, cpu(server) - spent, committed(server) - done
        rounds = sum(len(node.took) for node in nodes) - rounds
        stop.set()
        for thread in threads:
            thread.join(20)
        took = sorted(each * 1000 for node in nodes for each in node.took[1:])
        return {
            "nodes": count,
            "cpu_ms_round": spent * 1000 / rounds,
            "transactions_round": done / rounds,
            "rounds_node_s": rounds / lasted / count,
            "p50_ms": statistics.median(took),
            "p99_ms": took[int(len(took) * 0.99)],
            "leaders": sum(node.held > 0 for node in nodes),
        }


def through_the_lock(seconds: float, writers: int = 8) -> float:
    """Writing transactions a second, each a turn, a row and a commit, of so many at once."""
    with running() as server, ThreadPoolExecutor(writers) as pool:
        engine = open_engine(Settings(database=server.url))
        create_all(engine)
        until = time.monotonic() + seconds
        done = sum(pool.map(lambda _: _written(engine, until), range(writers)))
        engine.dispose()
        return done / seconds


def _written(engine: Engine, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        with engine.begin() as connection:
            row = {"id": uuid7(time.time_ns()), "endpoint": "notes.create", "type": "notes", "process": "bench"}
            connection.execute(insert(writes).values(**row, accepted_at=0, started=stamp(), outcome="open"))
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    for count in given.nodes or (10, 50, 200):
        print({name: round(value, 2) for name, value in measure(count, given.seconds).items()}, flush=True)
    print({"writing_transactions_s": round(through_the_lock(given.seconds))}, flush=True)


if __name__ == "__main__":
    main()
