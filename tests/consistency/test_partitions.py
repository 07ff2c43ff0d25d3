"""The short mix of partitions for CI: `python -m tests.consistency.partitions` is the whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.hosts import missing

pytestmark = [pytest.mark.namespaces, pytest.mark.postgresql, pytest.mark.haproxy, pytest.mark.slow]


def test_no_promise_is_broken_while_parts_are_cut_off_and_the_database_fails_over() -> None:
    said = missing()
    if said and os.environ.get("UNDERSTUDY_TESTS") != "all":
        pytest.skip(said)
    words = ["--cut", "one-pg1", "--blow", "failover of PostgreSQL", "--seconds", "3"]
    command = [sys.executable, "-m", "tests.consistency.partitions", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=115, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "0 violations" in done.stdout
