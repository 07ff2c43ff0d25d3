"""The shipper and a real node that goes away."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sidecar.events.store import Filter
from sidecar.events.store.elasticsearch import ElasticStore
from sidecar.journal.writer import Journal
from tests.contracts.event_store import bodies, event, everything, name
from tests.stack.test_event_store import node_or_skip
from tests.support.stack import until
from tests.unit.sidecar.events.test_shipper import new_shipper


@pytest.mark.elasticsearch
@pytest.mark.parametrize(("version", "end"), [("8.19.21", "stop"), ("9.5.3", "kill")])
def test_a_real_node_goes_away_under_load_and_comes_back(tmp_path: Path, version: str, end: str) -> None:
    node = node_or_skip(version, tmp_path / "node")
    store, stop = ElasticStore(node.url, timeout=5), threading.Event()
    shipper = new_shipper(tmp_path, store, uniform=lambda low, high: min(high, 0.5))
    journal = Journal(tmp_path / "journal", "n1", 0)
    thread = threading.Thread(target=shipper.run, args=(stop,))
    thread.start()
    try:
        for number in range(1500):
            journal.append(event(number), bodies(number) if number % 3 == 0 else None).wait(5)
            if number == 500:
                until(lambda: shipper.shipped > 0, 60)
                getattr(node, end)()
            if number == 1000:
                until(lambda: shipper.trouble is not None)
                node.start()
        until(lambda: shipper.shipped >= 1500 and shipper.lag(time.time()).events == 0, 45)
        store._client.indices.refresh(index="understudy-*")
        assert sorted(everything(store, Filter(), 1000)) == sorted(name(number) for number in range(1500))
        assert store._client.count(index="understudy-bodies-*")["count"] == 500
        assert [kept.sequence for kept in store.checkpoints()] == [1500]
    finally:
        stop.set()
        thread.join(30)
        journal.close()
        store.close()
        node.stop()
