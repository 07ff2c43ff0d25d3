"""`make bench-scale`: what sidecars carry and what it takes, for README's capacity section; tables and plots.

    python -m tests.bench.scale [--part fleet|events|space|standby] [--events N] [--out DIR] [--readme FILE]

`fleet`: requests a second and p99 of 1, 2 and 4 sidecars (one worker each) on one PostgreSQL, the load generator and
the upstream on the same cores. `events`: writing and asking the embedded store as it grows tenfold. `space`: disk an
exchange takes, and memory and disk of 100,000 records of the standby. `standby`: CPU time of what the standby does with
1,000,000 records and 100,000 pending entries (standby.py). Needs wrk, nginx, PostgreSQL; plots need
Chromium. What was measured is kept as JSON in DIR, so that parts may be run one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from compose.hosp.server import Simulator
from sidecar.clock import stamp
from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.standby.tables import records
from sidecar.storage.database import open_engine
from tests.bench import standby
from tests.bench.peers import Target
from tests.bench.plots import draw
from tests.bench.wrk import ANSWER, nginx, wrk
from tests.support.dashboard import seed
from tests.support.postgres import cluster
from tests.support.stack import Sidecar
from tests.support.upstream import basic

MARK = "bench-scale"
SIDECARS = (1, 2, 4)
ROUNDS, SECONDS, CONNECTIONS = 3, 4, 16
RECORDS = 100_000
EXCHANGES = 20_000
WORKERS = 1
"""Of the sidecars whose memory is measured."""


def fleet() -> list[dict[str, float]]:
    """Each with the same number of connections in all; the median of the rounds. The first row is one sidecar alone, on
    SQLite. CPU time is the sidecars' and the database's, less what they use idle: unlike the rate it hardly depends on
    what else runs here."""
    found = []
    with ExitStack() as stack:
        upstream, _ = stack.enter_context(nginx(ANSWER))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"seal_key": str(folder / "key"), "workers": "1", "parity_sample": "0"}
        url = f"http://127.0.0.1:{upstream}"
        with Sidecar(url, folder / "alone", **settings) as alone:
            found.append({"sidecars": 1, "shared": 0, **_together([alone])})
            print(found[-1], flush=True)
        settings["database"] = stack.enter_context(cluster())
        sidecars: list[Sidecar] = []
        for count in SIDECARS:
            while len(sidecars) < count:
                name = f"s{len(sidecars)}"
                sidecars.append(stack.enter_context(Sidecar(url, folder / name, node=name, **settings)))
            found.append({"sidecars": count, "shared": 1, **_together(sidecars)})
            print(found[-1], flush=True)
    return found


def _together(sidecars: list[Sidecar]) -> dict[str, float]:
    rounds = []
    with ThreadPoolExecutor(len(sidecars)) as pool:
        for one in sidecars:
            wrk(one.port, 4, 1)  # warm
        idle = _cpu(sidecars)
        time.sleep(SECONDS)
        spent = _cpu(sidecars)
        idle = (spent - idle) * ROUNDS
        for _ in range(ROUNDS):
            results = list(pool.map(lambda one: wrk(one.port, CONNECTIONS // len(sidecars), SECONDS), sidecars))
            rounds.append((sum(run.rate for run in results), max(run.p99 for run in results)))
        spent = max(_cpu(sidecars) - spent - idle, 0.0)
    rate, p99 = sorted(rounds)[ROUNDS // 2]
    requests = sum(each for each, _ in rounds) * SECONDS
    return {"rate": rate, "p99_ms": p99, "cpu_ms": spent * 1000 / requests, "idle": idle / ROUNDS / SECONDS}


def _cpu(sidecars: list[Sidecar]) -> float:
    """Seconds of CPU that the sidecars' processes, and PostgreSQL's sessions for them, have used."""
    ticks = 0
    sessions = subprocess.run(["pgrep", "-f", "^postgres: "], capture_output=True, text=True, check=False).stdout
    for pid in [*(pid for one in sidecars for pid in one.processes()), *map(int, sessions.split())]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # a session that ended
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def events(most: int) -> list[dict[str, float]]:
    """As the embedded store grows: events written a second, its size, and the median ms of what the dashboard asks."""
    found, dice, size, stored = [], random.Random(1), 10_000, 0
    now = time.time_ns()
    day = Filter(since=now - seed.DAY, until=now)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "events.db")
        store.install()
        while size <= most:
            began = time.monotonic()
            for start in range(stored, size, 1000):
                batch = [seed.event(now - (size - n) * seed.SECOND, dice) for n in range(start, start + 1000)]
                store.append([event for event, _ in batch])
            wrote, stored_now = time.monotonic() - began, size - stored
            stored = size
            row = {
                "events": size,
                "written": stored_now / wrote,
                "bytes": sum(path.stat().st_size for path in Path(folder).iterdir()) / size,
                "newest_ms": _median(lambda: store.search(Filter(), 50)),
                "person_ms": _median(lambda: store.search(Filter(terms={"user.name": ["Dr Sato"]}), 50)),
                "day_ms": _median(lambda: store.count(day, seed.HOUR, ["understudy.endpoint", "event.outcome"])),
            }  # fmt: skip
            found.append(row)
            print(row, flush=True)
            size *= 10
        store.close()
    return found


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        began = time.monotonic()
        work()
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def space() -> dict[str, float]:
    """Bytes of journal and event store for an exchange; MiB of memory and disk for RECORDS records more."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream, _ = stack.enter_context(nginx(ANSWER))
        with Sidecar(f"http://127.0.0.1:{upstream}", folder / "data") as one:
            done = 0.0
            while done < EXCHANGES:
                done += wrk(one.port, CONNECTIONS, SECONDS).rate * SECONDS
            journal = sum(path.stat().st_size for path in (folder / "data" / "journal").iterdir())
            lines = len(one.journal())
        hosp = stack.enter_context(Simulator("calm"))
        asked = {"Authorization": basic(*hosp.users[0])}
        settings = {"evidence": "compose.hosp", "unverified": "serve", "workers": str(WORKERS)}
        with Sidecar(hosp.url, folder / "few", **settings):
            pass  # its first start makes the tables, with what that takes of memory
        with Sidecar(hosp.url, folder / "few", **settings) as few:
            few.ask("GET", "/notes", asked)
            before = Target("few", few.port, few.process.pid).resident()
        file = folder / "few" / "understudy.db"
        small = file.stat().st_size
        _fill(folder / "few")
        with Sidecar(hosp.url, folder / "few", **settings) as many:
            many.ask("GET", "/notes", asked)
            after = Target("many", many.port, many.process.pid).resident()
        row = {
            "journal_bytes": journal / lines,
            "records": RECORDS,
            "records_mib": after - before,
            "records_disk_mib": (file.stat().st_size - small) / 2**20,
            "resident_mib": before,
            "workers": WORKERS,
        }
    print(row, flush=True)
    return row


def _fill(data: Path) -> None:
    engine, now = open_engine(Settings(data=data)), stamp()
    body = json.dumps({"title": "Round", "body": "x" * 220, "patient_id": 17, "staff_id": 1})
    with engine.begin() as connection:
        rows = [
            {"type": "notes", "id": str(10**6 + n), "state": "known", "body": body, "stamp": now, "observed": now}
            for n in range(RECORDS)
        ]
        connection.execute(insert(records), rows)
    engine.dispose()


def tables(found: dict[str, Any]) -> str:
    """README's."""
    lines = [
        f"Measured by `make bench-scale` on {os.cpu_count()} cores that also ran the load generator, the upstream and "
        f"other work (load {found.get('load', 0):.0f}): the CPU time a request takes is what to reckon with."
    ]
    if rows := found.get("fleet"):
        head = "| sidecars, one worker each | requests/s | p99 ms | CPU ms a request | requests/s a core carries |"
        lines += ["", head, "|---" * 5 + "|"]
        lines += [
            f"| {row['sidecars']}, {'one PostgreSQL' if row['shared'] else 'SQLite'} | {row['rate']:.0f} "
            f"| {row['p99_ms']:.0f} | {row['cpu_ms']:.2f} | {1000 / row['cpu_ms']:.0f} |"
            for row in rows
        ]
    if rows := found.get("events"):
        head = "| events, embedded | written/s | bytes each | newest 50, ms | a person's, ms | a day's counts, ms |"
        lines += ["", head, "|---" * 6 + "|"]
        lines += [
            f"| {row['events']:,} | {row['written']:.0f} | {row['bytes']:.0f} | {row['newest_ms']:.1f} "
            f"| {row['person_ms']:.1f} | {row['day_ms']:.0f} |"
            for row in rows
        ]
    if row := found.get("space"):
        memory = f"{row['records_mib']:.0f} MiB" if row["records_mib"] >= 1 else "nothing measurable"
        lines += [
            "",
            f"A journalled exchange (a read of 300 bytes) takes {row['journal_bytes']:.0f} bytes. 100,000 records of "
            f"the standby take {row['records_disk_mib']:.0f} MiB of disk and {memory} of memory, beside the "
            f"{row['resident_mib']:.0f} MiB of a sidecar with {row['workers']} worker{'s' * (row['workers'] > 1)}.",
        ]
    if row := found.get("standby"):
        lines += ["", *standby.table(row)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("fleet", "events", "space", "standby"))
    parser.add_argument("--events", type=int, default=10_000_000, help="the most: 10,000,000 take 30 GB and 40 minutes")
    parser.add_argument("--out", type=Path, default=Path("tests/bench/plots"))
    parser.add_argument("--readme", type=Path)
    given = parser.parse_args()
    kept = given.out / "scale.json"
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    parts: dict[str, Callable[[], Any]] = {"fleet": fleet, "events": lambda: events(given.events), "space": space}
    parts["standby"] = lambda: standby.measure(standby.RECORDS, standby.PENDING)
    for part in given.part or parts:
        found["load"] = os.getloadavg()[0]
        found[part] = parts[part]()
        kept.write_text(json.dumps(found, indent=1) + "\n")
    text = tables(found)
    print(text)
    draw(found, given.out)
    if given.readme:
        page = given.readme.read_text()
        before, after = page.split(f"<!-- {MARK} -->")[0], page.split(f"<!-- /{MARK} -->")[1]
        given.readme.write_text(f"{before}<!-- {MARK} -->\n{text}\n<!-- /{MARK} -->{after}")


if __name__ == "__main__":
    main()
