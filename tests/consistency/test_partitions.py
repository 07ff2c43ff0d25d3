"""The short mix of partitions for CI: `python -m tests.consistency.partitions` is the whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.hosts import missing
from tests.support.nodes import prepared

pytestmark = [
    pytest.mark.namespaces, pytest.mark.postgresql, pytest.mark.haproxy, pytest.mark.elasticsearch, pytest.mark.slow,
]  # fmt: skip


@pytest.mark.timeout(480)
def test_no_promise_is_broken_while_parts_are_cut_off_the_database_fails_over_and_a_node_is_lost() -> None:
    said = missing()
    if said and os.environ.get("UNDERSTUDY_TESTS") != "all":
        pytest.skip(said)
    prepared()  # in there nothing can be fetched
    words = ["--events", "--cut", "one-pg1", "--cut", "es1-es2", "--seconds", "3"]
    words += ["--blow", "failover of PostgreSQL", "--blow", "loss of an Elasticsearch node"]
    command = [sys.executable, "-m", "tests.consistency.partitions", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=450, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "0 violations" in done.stdout
