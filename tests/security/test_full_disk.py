"""A real, small disk without a block left: nothing that took effect is refused, and nothing is done unrecorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.journal.reserve import Reserve
from sidecar.journal.writer import Journal, read_segment
from tests.support.small_disk import MIB, NoDisk, fill, small_disk
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """48 MiB."""
    try:
        with small_disk(tmp_path / "disk", 48 * MIB) as folder:
            yield folder
    except NoDisk as why:
        pytest.skip(f"needs to mount a file system: {why}")


def test_the_reserve_takes_the_records_of_what_was_under_way(disk: Path) -> None:
    journal = Journal(disk / "journal", "n", "1", reserve=Reserve(disk / "reserve", 1 << 20))
    assert journal.ready()
    filler = fill(disk)
    for number in range(20):
        journal.append({"event": {"id": str(number)}, "body": "x" * 9000}, None).wait(5)
    assert not journal.ready()
    filler.unlink()
    until(journal.ready, 20, "room again")
    journal.append({"event": {"id": "20"}}, None).wait(5)
    journal.close()
    lines = [line for path in sorted((disk / "journal").glob("*.jsonl")) for line, _ in read_segment(path)]
    assert {line["event"]["event"]["id"] for line in lines} == {str(number) for number in range(21)}


def test_refuse_refuses_before_anything_is_sent(disk: Path) -> None:
    with (
        Upstream() as upstream,
        Sidecar(upstream.url, disk / "data", workers="1", on_record_failure="refuse") as sidecar,
    ):
        assert sidecar.ask("POST", "/notes", HOLT, {"title": "before"}).status == 201
        filler = fill(disk)
        statuses = [sidecar.ask("POST", "/notes", HOLT, {"title": f"n{number}"}).status for number in range(12)]
        assert set(statuses) <= {201, 503}
        assert len(upstream.seen("/notes", "POST")) == 1 + statuses.count(201)
        assert statuses[-1] == 503
        filler.unlink()
        until(lambda: sidecar.ask("POST", "/notes", HOLT, {"title": "after"}).status == 201, 15, "recovered")
        done = [event for event in sidecar.events(path="/notes") if event["http"]["response"]["status_code"] == 201]
        assert len(done) == len(upstream.seen("/notes", "POST"))


def test_by_default_traffic_goes_on_and_no_write_is_lost_or_doubled(disk: Path) -> None:
    """Neither while HOSP is well nor while it is away; what was not recorded is said."""
    quick = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "500ms"}
    with Upstream() as upstream, Sidecar(upstream.url, disk / "data", workers="1", **quick) as sidecar:
        for path in ("/notes", "/patients", "/staffs/me"):
            assert sidecar.ask("GET", path, HOLT).status == 200
        seen: dict[str, int] = {}

        def write(title: str) -> int:
            seen[title] = sidecar.ask("POST", "/notes", HOLT, {"title": title, "body": "b"}).status
            return seen[title]

        assert write("before") == 201
        filler = fill(disk)
        for number in range(12):
            write(f"full-{number}")
        upstream.stop()
        for number in range(12):
            write(f"away-{number}")
        upstream.start()
        for number in range(6):
            write(f"back-{number}")
        filler.unlink()
        until(lambda: write(f"after-{len(seen)}") == 201, 20, "recovered")
        until(lambda: not sidecar.plane("GET", "/outbox").json()["entries"], 40, "settled")
        recorded = [event for event in sidecar.events(path="/notes") if event["http"]["request"]["method"] == "POST"]
        until(lambda: _failures(sidecar) >= len(seen) - len(recorded), 10, "what was not recorded is counted")
    assert len(seen) > len(recorded)
    assert set(seen.values()) <= {201, 503}, seen
    applied = Counter(str(row["title"]) for row in upstream.state.notes.values())
    assert [title for title, status in seen.items() if status == 201 and applied[title] != 1] == []
    assert [title for title, times in applied.items() if times > 1] == []


def _failures(sidecar: Sidecar) -> float:
    lines = sidecar.plane("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("understudy_journal_failures_total"))
