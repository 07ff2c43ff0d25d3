"""Recording under the worst, with traffic: `python -m tests.support.recording --kills 20 --outage 60 --version 9`.

kill -9 of every process of the sidecar, and an Elasticsearch node that is stopped, started, killed and started again.
Every answered request must be in the journal, and every journalled one in the event store exactly once. The tests run
the same with a shorter outage.
"""

from __future__ import annotations

import argparse
import http.client
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from compose.elasticsearch.node import VERSIONS, Node, prepare
from sidecar.events.store import EventStore, Filter, pages
from sidecar.events.store.elasticsearch import ElasticStore
from sidecar.events.store.sqlite import EmbeddedStore
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream


class Traffic:
    """Requests from four threads until it is left; `answered` are the ids of those that got a whole answer."""

    def __init__(self, sidecar: Sidecar, pause: float) -> None:
        self._sidecar = sidecar
        self._pause = pause
        self._stop = threading.Event()
        self.answered: list[str] = []
        self.statuses: set[int] = set()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(4)]

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.wait(self._pause):
            count += 1
            ident = f"t{number}-{count}-{random.randrange(10**9)}"
            try:
                got = self._sidecar.ask("GET", "/patients/17", {**HOLT, "X-Request-Id": ident})
            except (OSError, http.client.HTTPException):
                continue
            self.answered.append(ident)
            self.statuses.add(got.status)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def stored(store: EventStore) -> Counter[str]:
    """How often each request is in the event store."""
    where = Filter(terms={"understudy.endpoint": ["GET /patients/{id}"]})
    return Counter(event["http"]["request"]["id"] for page in pages(store, where, 1000) for event in page.events)


def as_journalled(sidecar: Sidecar, open_store: Callable[[], EventStore]) -> None:
    """The journal holds each exchange once, answered or not, and the store exactly those."""
    until(lambda: sidecar.plane("GET", "/shipper").json()["unshipped"] == 0, 30, "all shipped")
    recorded = Counter(event["http"]["request"]["id"] for event in sidecar.events(path="/patients/17"))
    store = open_store()
    try:
        assert stored(store) == recorded
    finally:
        store.close()
    assert set(recorded.values()) == {1}


def all_there_once(open_store: Callable[[], EventStore], answered: list[str], seconds: float = 60) -> None:
    """Each answered request is in the store, and none is there twice."""
    store = open_store()
    wanted = set(answered)
    try:
        until(lambda: wanted <= stored(store).keys(), seconds, f"{len(wanted)} exchanges shipped")
        assert set(stored(store).values()) == {1}
    finally:
        store.close()


def killed(upstream: Upstream, folder: Path, kills: int) -> str:
    """kill -9 of every process, so many times, under traffic. Figures; raises AssertionError when anything is lost."""
    with Sidecar(upstream.url, folder / "data") as sidecar:
        with Traffic(sidecar, 0) as traffic:  # no pause: a kill meets what was answered a moment ago
            for _ in range(kills):
                time.sleep(random.uniform(0.1, 0.5))
                sidecar.kill()
                sidecar.start()
            time.sleep(0.5)
        recorded = {event["http"]["request"]["id"] for event in sidecar.events()}
        assert len(traffic.answered) > 5 * kills
        lost = set(traffic.answered) - recorded
        assert not lost
        all_there_once(lambda: EmbeddedStore(sidecar.data / "events.db"), traffic.answered)
        as_journalled(sidecar, lambda: EmbeddedStore(sidecar.data / "events.db"))
        until(
            lambda: sidecar.cli("audit", "verify").returncode == 0, 30, "the journal is signed, and as it was written"
        )
        return f"{kills} times kill -9: {len(traffic.answered)} answered, {len(lost)} lost, all in the store once"


def away(upstream: Upstream, folder: Path, version: str, outage: float) -> str:
    """Elasticsearch away for `outage` seconds under traffic, then killed and back. Figures; raises AssertionError."""
    node = Node(version, folder / "node")
    node.start()
    try:
        with Sidecar(upstream.url, folder / "data", elasticsearch=node.url) as sidecar:
            with Traffic(sidecar, 0.03) as traffic:
                time.sleep(2)
                node.stop()
                time.sleep(outage)
                node.start()
                time.sleep(2)
                node.kill()
                time.sleep(1)
                node.start()
                time.sleep(1)
            assert len(traffic.answered) > 100
            all_there_once(lambda: ElasticStore(node.url), traffic.answered, 180)
            as_journalled(sidecar, lambda: ElasticStore(node.url))
            assert traffic.statuses == {200}  # users notice nothing
    finally:
        node.stop()
    return (
        f"Elasticsearch {version} away for {outage:g} s, then killed: {len(traffic.answered)} answered, all 200, "
        "each there once"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--outage", type=float, default=60)
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[-1])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Upstream() as upstream:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        print(killed(upstream, Path(folder) / "killed", given.kills))
        prepare(given.version)
        print(away(upstream, Path(folder) / "away", given.version, given.outage))


if __name__ == "__main__":
    main()
