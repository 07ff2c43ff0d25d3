"""Sidecars whose wall clocks differ, on one PostgreSQL: order does not depend on them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.consistency.nemesis import CLOCK, stepped
from tests.support.postgres import Server, running
from tests.support.stack import Got, Sidecar, until
from tests.support.upstream import HOLT, Fault, Upstream, with_a_note

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(shutil.which("cc") is None, reason="a stepped clock needs a C compiler"),
]


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with with_a_note("Old") as server:
        yield server


def step(sidecar: Sidecar, seconds: float) -> None:
    with Path(sidecar.environ[CLOCK]).open("r+b") as clock:
        clock.write(int(seconds * 1e9).to_bytes(8, sys.byteorder, signed=True))


@contextmanager
def pair(server: Server, upstream: Upstream, folder: Path, off: float) -> Iterator[tuple[Sidecar, Sidecar]]:
    """The second's clock is off by so many seconds from its start."""
    shared = {
        "database": server.url, "seal_key": str(folder / "seal-key"), "upstream_timeout": "4s", "late_effect": "1s",
        "workers": "1", "hedge_after": "4s",
    }  # fmt: skip
    (folder / "clock").mkdir()
    environ = stepped(folder / "clock")
    Path(environ[CLOCK]).write_bytes(int(off * 1e9).to_bytes(8, sys.byteorder, signed=True))
    with (
        Sidecar(upstream.url, folder / "one", node="one", **shared) as one,
        Sidecar(upstream.url, folder / "two", environ, node="two", **shared) as two,
    ):
        for path in ("/notes", "/patients", "/staffs/me"):
            assert one.ask("GET", path, HOLT).status == two.ask("GET", path, HOLT).status == 200
        until(lambda: two.plane("GET", "/ready/notes.list").status == 200, what="notes known")
        yield one, two


@pytest.mark.parametrize(("off", "ahead"), [(0.5, 1), (-0.5, 0), (60.0, 1), (-60.0, 0)])
def test_a_read_that_a_write_overtook_is_never_shown(
    server: Server, upstream: Upstream, tmp_path: Path, off: float, ahead: int
) -> None:
    """It was asked by the one whose clock is ahead, so that by the clocks it came after the write."""
    with pair(server, upstream, tmp_path, off) as both:
        reads, writes = both[ahead], both[1 - ahead]
        asked = len(upstream.state.seen)
        upstream.state.faults.append(Fault("stale", "/notes/5", "GET", seconds=0.4))
        stale: list[Got] = []
        reading = threading.Thread(target=lambda: stale.append(reads.ask("GET", "/notes/5", HOLT)))
        reading.start()
        until(lambda: len(upstream.state.seen) > asked, what="the read is with the upstream")
        assert writes.ask("PATCH", "/notes/5", HOLT, {"title": "New"}).status == 200
        reading.join()
        assert stale[0].json()["title"] == "Old"
        upstream.stop()
        for sidecar in both:
            for path in ("/notes/5", "/notes"):
                seen = sidecar.ask("GET", path, HOLT)
                assert seen.status == 503 or "New" in seen.body.decode(), (path, seen)


def test_a_dead_leader_whose_clock_was_ahead_does_not_stop_replay(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    with pair(server, upstream, tmp_path, 60.0) as (one, two):
        upstream.stop()
        until(lambda: _leader(server).startswith("one/"), what="the first leads")
        leads = int(_leader(server).rpartition("/")[2])
        os.kill(leads, signal.SIGSTOP)
        until(lambda: _leader(server).startswith("two/"), 20, "the one that is ahead leads")
        os.kill(leads, signal.SIGCONT)
        assert one.ask("POST", "/notes", HOLT, {"title": "Kept", "patient_id": 17}).status == 201
        two.kill()
        upstream.start()
        until(lambda: not one.plane("GET", "/outbox").json()["entries"], 30, "the other has sent it")
        assert [row["title"] for row in upstream.state.notes.values()] == ["Old", "Kept"]


def test_skew_is_told_and_a_step_of_the_clock_changes_no_order(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    def skew(sidecar: Sidecar) -> float:
        lines = sidecar.plane("GET", "/metrics").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("understudy_clock_skew_seconds "))

    with pair(server, upstream, tmp_path, 0.0) as (one, two):
        assert max(skew(one), skew(two)) < 1
        step(two, 30)
        assert 29 < skew(two) < 31
        assert two.ask("PATCH", "/notes/5", HOLT, {"title": "New"}).status == 200
        assert one.ask("GET", "/notes", HOLT).status == 200
        until(lambda: one.plane("GET", "/ready/notes.list").status == 200, what="learned")
        upstream.stop()
        until(lambda: [row["title"] for row in one.ask("GET", "/notes", HOLT).json()] == ["New"], what="shown by one")
        assert two.ask("GET", "/notes/5", HOLT).json()["title"] == "New"


@pytest.mark.parametrize("off", [60.0, -60.0])
def test_a_database_whose_clock_is_set_keeps_the_order(
    server: Server, upstream: Upstream, tmp_path: Path, off: float
) -> None:
    server.stop("fast")
    server.environ = stepped(server.home)
    for path in (server.environ["LD_PRELOAD"], server.environ[CLOCK]):
        Path(path).chmod(0o755)
    server.start()
    with pair(server, upstream, tmp_path, 0.0) as (one, two):
        with Path(server.environ[CLOCK]).open("r+b") as clock:
            clock.write(int(off * 1e9).to_bytes(8, sys.byteorder, signed=True))
        until(lambda: server.ask("SELECT 1 FROM clocks WHERE bias <> 0"), what="it is noticed")
        until(lambda: '"database_clock_set"' in one.log.read_text() + two.log.read_text(), what="it is told")
        assert two.ask("PATCH", "/notes/5", HOLT, {"title": "New"}).status == 200
        assert one.ask("GET", "/notes", HOLT).status == 200
        until(lambda: one.plane("GET", "/ready/notes.list").status == 200, what="learned at once")
        upstream.stop()
        until(lambda: [row["title"] for row in one.ask("GET", "/notes", HOLT).json()] == ["New"], 20, "shown by one")
        assert two.ask("GET", "/notes/5", HOLT).json()["title"] == "New"


def _leader(server: Server) -> str:
    found = server.ask("SELECT holder FROM leases WHERE name = 'replay' AND until > 0")
    return str(found[0][0]) if found else ""
