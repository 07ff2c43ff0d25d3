"""A database that was restored from a backup: nothing is sent twice, and no provisional id is given out twice."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Server, programs
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def write(side: Sidecar, title: str) -> int:
    """A note that the outbox takes; its provisional id."""
    took = until(
        lambda: (got := side.ask("POST", "/notes", HOLT, {"title": title, "body": "b"})).status in (200, 201) and got,
        20, side.log.read_text(),
    )  # fmt: skip
    return int(took.json()["id"])


def finish(side: Sidecar) -> None:
    """Hands back, and waits until nothing is pending."""
    assert side.plane("POST", "/endpoints/notes.create/handback", {}).status == 200
    until(lambda: not side.plane("GET", "/outbox").json()["pending"], 40, side.log.read_text())
    time.sleep(1.5)  # the mark is written once a second


def program(server: Server, name: str, *words: str) -> None:
    where = programs()
    assert where is not None
    command = [str(where / name), "-h", "127.0.0.1", "-p", str(server.port), "-U", "understudy", *words, "postgres"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["copy", pytest.param("dump", marks=pytest.mark.postgresql)])
def test_a_restored_database_sends_nothing_again_and_gives_no_id_twice(
    tmp_path: Path, upstream: Upstream, kind: str
) -> None:
    data, backup, settings = tmp_path / "data", tmp_path / "backup", {}
    server = None
    if kind == "dump":
        if (where := programs()) is None:
            pytest.skip("PostgreSQL is not installed (apt install postgresql)")
        server = Server(where)
        server.make()
        server.start()
        settings["database"] = server.url

    def save() -> None:
        if server is None:
            shutil.copytree(data, backup)
        else:
            program(server, "pg_dump", "--clean", "--if-exists", "--file", str(backup))

    def put_back() -> None:
        if server is None:
            shutil.rmtree(data)
            shutil.copytree(backup, data)
        else:
            program(server, "psql", "--quiet", "--file", str(backup))

    side = None
    try:
        side = Sidecar(upstream.url, data, late_effect="1s", upstream_timeout="2s", **settings)
        assert side.ask("GET", "/patients", HOLT).status == 200
        assert side.plane("POST", "/endpoints/notes.create/takeover", {}).status == 200
        time.sleep(1)
        first = write(side, "before")
        side.stop()
        save()
        side.start()
        second = write(side, "after")
        assert second > first >= 2_000_000_000
        finish(side)
        side.stop()
        put_back()
        said = side.cli("restore", "--check")
        assert said.returncode == 0, said.stderr
        assert "1 pending entries will be looked up" in said.stdout, said.stdout
        side.start()
        assert "database_went_back" in side.log.read_text()
        assert "understudy_database_went_back_timestamp_seconds" in side.plane("GET", "/metrics").body.decode()
        third = write(side, "restored")
        assert third > second
        finish(side)
        titles = [note["title"] for note in upstream.state.notes.values()]
        assert titles.count("before") == titles.count("after") == 1, titles
        assert titles.count("restored") <= 1
    finally:
        if side is not None:
            side.stop()
        if server is not None:
            server.stop()
            server.remove()
