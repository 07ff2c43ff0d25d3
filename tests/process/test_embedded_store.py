"""The embedded store under several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from tests.contracts.event_store import everything, name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.db"


WRITER = """
import sys
from pathlib import Path
from sidecar.events.store.sqlite import EmbeddedStore
from tests.contracts.event_store import NOON, event
store = EmbeddedStore(Path(sys.argv[1]))
for batch in range(20):
    numbers = range(batch * 25, batch * 25 + 25)
    store.append([event(number, NOON + number) for number in numbers])
store.close()
"""


def test_two_processes_write_while_a_third_reads(path: Path) -> None:
    store = EmbeddedStore(path)
    store.install()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) for _ in range(2)]
    seen = [0]
    while any(writer.poll() is None for writer in writers):
        seen.append(sum(bucket.count for bucket in store.count(Filter())))
    assert [writer.wait(20) for writer in writers] == [0, 0]
    assert seen == sorted(seen), "what was seen once stays seen"
    assert everything(store, Filter(), 100) == [name(number) for number in reversed(range(500))]
    store.close()
