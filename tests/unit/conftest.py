"""Tests of this folder start no process: one that does fails, and says what it started.

The seam is the interpreter's audit events, which no way to a process avoids; a hook cannot be taken back, so it heeds
only while a test of this folder runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROCESSES = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "os.spawn", "pty.spawn"}
)
FOLDER = Path(__file__).parent
started: list[str] | None = None
"""What the test that runs has started; None between tests."""


def _heed(event: str, arguments: tuple[Any, ...]) -> None:
    if started is not None and event in PROCESSES:
        started.append(f"{event}{arguments[:2]!r}"[:300])
        raise RuntimeError(f"a test under tests/unit starts no process: {started[-1]}")


sys.addaudithook(_heed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fixtures of the test included, those of its module too."""
    global started
    started = [] if FOLDER in item.path.parents else None  # the hook is called for tests of every folder
    try:
        return (yield)
    finally:
        started = None


@pytest.fixture(autouse=True)
def starts_no_process() -> Iterator[None]:
    yield
    assert not started, f"started a process (move it to tests/process): {started}"
