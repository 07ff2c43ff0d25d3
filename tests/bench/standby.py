"""What the standby costs as it grows: learning, answering and accepting, with 10^6 records and 10^5 pending entries.

    python -m tests.bench.standby [--records 1000000] [--pending 100000]

Milliseconds of CPU, of the whole process, by which such figures can be compared on a machine that does other work. A
whole list, and what is learned from one, are measured with 10^5 records.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import insert

from sidecar.clock import stamp
from sidecar.contract import Contract
from sidecar.events.shipper import DOCUMENTS
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.http.identifiers import uuid7
from sidecar.http.messages import Request, Response
from sidecar.settings import load_settings
from sidecar.standby import by_reference, knowledge
from sidecar.standby.answer import Answer
from sidecar.standby.derivations import MEANINGS, MISSING, ONE_PAGE, PAGES, by_filter
from sidecar.standby.evidence import evidence
from sidecar.standby.outbox.entries import State, changed, outbox
from sidecar.standby.standby import Standby
from sidecar.standby.tables import collections, records
from sidecar.storage.database import create_all, open_engine
from tests.support.dashboard import seed

CONTRACT = Contract.load("hosp")
RECORDS, PENDING = 1_000_000, 100_000
LISTED = 100_000
PATIENTS = 10_000
"""Notes are about one of so many patients."""
LEARNED = 2_000
SYNCS = 200
USER = "Dr Holt"
JSON = [("Content-Type", "application/json; charset=utf-8")]


def note(number: int) -> dict[str, Any]:
    """As the simulator shows it, nearly."""
    made = "2024-03-01T09:00:00.000Z"
    return {
        "id": number, "title": "Round", "body": "x" * 220, "patient_id": number % PATIENTS, "staff_id": 1,
        "created_at": made, "updated_at": made, "url": f"/notes/{number}.json",
    }  # fmt: skip


class World:
    """A standby that knows `size` notes."""

    def __init__(self, folder: Path, size: int) -> None:
        settings = load_settings({"UNDERSTUDY_DATA": str(folder), "UNDERSTUDY_UNPROVEN": "serve"})
        self.engine = open_engine(settings)
        create_all(self.engine)
        self.standby = Standby(CONTRACT, self.engine, settings)
        self.fill(size)
        self.standby.refresh()

    def index(self) -> float:
        """All that is out of line; returns µs of CPU a record."""
        began, done = time.process_time(), 0
        while True:
            with self.engine.begin() as connection:
                some = by_reference.index_some(connection, CONTRACT)
            if not some:
                return (time.process_time() - began) * 1e6 / done
            done += some

    def fill(self, size: int) -> None:
        now = stamp()
        with self.engine.begin() as connection:
            for start in range(1, size + 1, 10_000):
                rows = [
                    {
                        "type": "notes", "id": str(number), "state": "known", "body": json.dumps(note(number)),
                        "stamp": now, "observed": now, "source": "list", "caller": USER,
                    }
                    for number in range(start, min(start + 10_000, size + 1))
                ]  # fmt: skip
                connection.execute(insert(records), rows)
            for name in ("notes", "patients", "staffs"):
                whole = {"complete": True, "stamp": now, "observed": now, "private": False, "caller": USER}
                connection.execute(insert(collections).values(type=name, **whole, listed=size))
            told = orjson.dumps([*MEANINGS, *PAGES, ONE_PAGE]).decode()
            proven = {"agreements": 9, "inputs": "[]", "differences": 0, "refuted": False, "at": 0, "told_apart": told}
            for endpoint, derivation in (("notes.list", by_filter("patient_id")), ("notes.read", MISSING)):
                connection.execute(insert(evidence).values(endpoint=endpoint, derivation=derivation, **proven))
            for name, number in (("patients", 17), ("staffs", 1)):
                row = {"type": name, "id": str(number), "state": "known", "body": json.dumps({"id": number})}
                connection.execute(insert(records).values(**row, stamp=now, observed=now, source="read", caller=USER))

    def queue(self, size: int) -> None:
        """So many more accepted writes, each to another note."""
        now = time.time_ns()
        row = {
            "endpoint": "notes.update", "type": "notes", "action": "update", "user": USER, "method": "PATCH",
            "fields": '{"title":"later"}', "whole": True, "sealed": b"", "state": State.PENDING.value, "sent": False,
            "attempts": 0, "accepted_at": now, "accepted_stamp": stamp(), "due": 0, "token": 0,
        }  # fmt: skip
        rows = [
            {**row, "id": uuid7(now + n), "record": str(n + 1), "target": f"/notes/{n + 1}", "request_id": str(n)}
            for n in range(size)
        ]
        with self.engine.begin() as connection:
            revision = changed(connection)
            connection.execute(insert(outbox), [{**each, "revision": revision} for each in rows])
        self.standby.outbox.touch()
        assert len(self.standby.outbox.snapshot().entries) >= size

    def ask(self, target: str) -> None:
        match = CONTRACT.match("GET", target.partition("?")[0])
        answer = self.standby.answer(match, Request("GET", target, [("Accept", "application/json")], host="h"), USER)
        assert isinstance(answer, Answer), answer

    def accept(self, number: int) -> None:
        """An update that cannot be sent now."""
        target, body = f"/notes/{number}", b'{"title":"now"}'
        match = CONTRACT.match("PATCH", target)
        request = Request("PATCH", target, [("Content-Type", "application/json")], body, host="h")
        write = self.standby.begin_write(match, request, USER)
        assert write is not None
        sent = {"sent": False, "answered": False, "under_way": False}
        answer = self.standby.accept(write, request, "r", request.headers, USER, "secret", **sent)
        assert isinstance(answer, Answer), answer

    def learn(self, target: str, value: Any) -> None:
        match = CONTRACT.match("GET", target)
        request = Request("GET", target, [("Accept", "application/json")], host="h")
        self.standby.learn(match, request, Response(200, JSON, json.dumps(value).encode()), USER, stamp())

    def close(self) -> None:
        self.standby.close()
        self.engine.dispose()


def cost(work: Callable[[], object], times: int = 7) -> float:
    """Median ms of CPU."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent)


def learning(world: World, first: int) -> float:
    """ms a read of a record that is not known yet."""
    began = time.process_time()
    for number in range(first, first + LEARNED):
        world.learn(f"/notes/{number}", note(number))
        if number % 1000 == 0:
            world.standby.flush(120)
    world.standby.flush(120)
    return (time.process_time() - began) * 1000 / LEARNED


def measure(size: int, pending: int) -> dict[str, float]:
    found: dict[str, float] = {"records": size, "pending": pending}
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "many", size)
        with world.engine.connect() as connection:
            found["highest_ms"] = cost(lambda: knowledge.highest(connection))
            found["count_ms"] = cost(lambda: knowledge.count_highest(connection), 1)
        found["item_ms"] = cost(lambda: world.ask("/notes/77"), 51)
        found["learn_ms"] = learning(world, size + 1)
        numbers = iter(range(size - 1000, size))
        found["accept_first_ms"] = cost(lambda: world.accept(next(numbers)), 51)
        world.queue(pending)
        world.accept(next(numbers))
        found["accept_ms"] = cost(lambda: world.accept(next(numbers)), 51)
        found["pending_list_ms"] = cost(lambda: world.standby.outbox.snapshot().pending("notes"), 1)
        world.close()
        world = World(Path(folder) / "few", LISTED)
        found["filtered_all_ms"] = cost(lambda: world.ask("/notes?patient_id=17"), 3)
        found["index_us"] = world.index()
        found["filtered_ms"] = cost(lambda: world.ask("/notes?patient_id=17"), 21)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["list_ms"] = cost(lambda: world.ask("/notes"), 3)
        found["list_mib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        world.close()
        world = World(Path(folder) / "none", 0)
        values = [note(number) for number in range(LISTED, 0, -1)]

        def backfill() -> None:
            world.learn("/notes", values)
            world.standby.flush(600)

        found["backfill_ms"] = cost(backfill, 1)
        world.close()
        found["sync_ms"], found["sync_ahead_ms"] = (syncing(Path(folder), ahead=ahead) for ahead in (False, True))
    found["ship_us"] = shipping()
    return found


def shipping() -> float:
    """µs of CPU by which an event gets into the embedded store, as the shipper gives them to it."""
    dice, now = random.Random(1), time.time_ns()
    batches = [[seed.event(now + n * 1000 + m, dice)[0] for m in range(DOCUMENTS)] for n in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "events.db")
        store.install()
        began = time.process_time()
        for batch in batches:
            store.append(batch)
        spent = time.process_time() - began
        store.close()
    return spent * 1e6 / (8 * DOCUMENTS)


def syncing(folder: Path, *, ahead: bool) -> float:
    """Median ms until 16 records of 2 kB are on disk, at the end of a file that grows, or of one made `ahead`."""
    path, records_ = folder / "segment", (b"x" * 1999 + b"\n") * 16
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if ahead:
            os.write(descriptor, bytes(len(records_) * (SYNCS + 1)))
            os.lseek(descriptor, 0, os.SEEK_SET)
        os.fsync(descriptor)
        took = []
        for _ in range(SYNCS):
            os.write(descriptor, records_)
            began = time.monotonic()
            os.fdatasync(descriptor)
            took.append((time.monotonic() - began) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(took)


def table(row: dict[str, float]) -> list[str]:
    """README's."""
    many, waiting, listed = f"{row['records']:,.0f} records", f"{row['pending']:,.0f} pending entries", f"{LISTED:,}"
    rows = [
        (f"a record read, of {many}", f"{row['item_ms']:.2f} ms"),
        (f"an answer learned from, to a record's first read, beside {many}", f"{row['learn_ms']:.2f} ms"),
        (f"the highest ids, of {many}, every 5 s", f"{row['highest_ms']:.2f} ms"),
        ("… counted anew, every 10 minutes", f"{row['count_ms']:.0f} ms"),
        ("a write accepted by the outbox when nothing else is pending", f"{row['accept_first_ms']:.1f} ms"),
        (f"… beside {waiting}", f"{row['accept_ms']:.1f} ms"),
        (f"{waiting} in order, for a list", f"{row['pending_list_ms']:.0f} ms"),
        (f"a list by one reference, of {listed} records", f"{row['filtered_ms']:.1f} ms"),
        ("… before they are indexed, or by another field", f"{row['filtered_all_ms']:.0f} ms"),
        ("a record indexed", f"{row['index_us']:.0f} µs"),
        (f"a whole list of {listed} records (and {row['list_mib']:.0f} MiB)", f"{row['list_ms']:.0f} ms"),
        (f"a list of {listed} new records learned from, as by backfill", f"{row['backfill_ms']:.0f} ms"),
        ("an event shipped to the embedded store", f"{row['ship_us']:.0f} µs"),
        ("16 records synced to a segment that grows (waited, not CPU)", f"{row['sync_ms']:.2f} ms"),
        ("… to one that was filled with zeros before (waited)", f"{row['sync_ahead_ms']:.2f} ms"),
    ]
    return ["| what | CPU time |", "|---|---|", *(f"| {what} | {cost_} |" for what, cost_ in rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--pending", type=int, default=PENDING)
    given = parser.parse_args()
    print("\n".join(table(measure(given.records, given.pending))))


if __name__ == "__main__":
    main()
