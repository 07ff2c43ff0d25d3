"""A shipper that is killed ships each event once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.events.store.elasticsearch import ElasticStore
from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.unit.sidecar.events.test_shipper import drain, each_once, new_shipper, write


@pytest.fixture
def fake() -> Iterator[FakeElasticsearch]:
    with FakeElasticsearch() as fake:
        yield fake


def until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def test_kill_9_at_any_moment(tmp_path: Path, fake: FakeElasticsearch) -> None:
    write(tmp_path, range(3000))
    program = (
        "import sys, threading; from pathlib import Path; from sidecar.events.shipper import Shipper;"
        "from sidecar.events.store.elasticsearch import ElasticStore; d = Path(sys.argv[1]);"
        "s = Shipper(d / 'journal', ElasticStore(sys.argv[2]), d / 'shipped.json', d / 'dead-letter');"
        "s.run(threading.Event())"
    )
    for kill in range(4):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), fake.url])
        until(lambda target=fake.bulks + 2: fake.bulks >= target or len(fake.documents()) == 3000)
        time.sleep(0.003 * kill)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    store = ElasticStore(fake.url)
    drain(new_shipper(tmp_path, store))
    store.close()
    each_once(fake, range(3000))
