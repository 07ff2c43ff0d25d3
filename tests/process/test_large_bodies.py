"""Bodies too large for memory: whole before a byte goes upstream, nowhere on disk under a name, and looked into."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.http.spooled_body import IN_MEMORY, Spool
from tests.bench.uploads import digesting, measure
from tests.consistency.nemesis import children
from tests.support.stack import Sidecar, raw, until
from tests.support.upstream import HOLT, Upstream, basic

SIZE = 3 * IN_MEMORY + 17
SECRET = "5ecret-in-a-large-body"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data = tmp_path_factory.mktemp("large") / "data"
    with Sidecar(upstream.url, data, workers="1", late_effect="1s", deadline="5s") as running:
        yield running


def screening(size: int = SIZE) -> bytes:
    return json.dumps({"images": ["A" * size], "password": SECRET}).encode()


def remembered(sidecar: Sidecar) -> Any:
    got = sidecar.ask("POST", "/patients/17/screen", HOLT, screening())
    return got.json() if got.status == 200 else None


def spools(sidecar: Sidecar) -> list[Path]:
    """Files under DATA that a process has open and that have no name."""
    links = [link for pid in sidecar.processes() for link in Path(f"/proc/{pid}/fd").iterdir()]
    return [path for path in map(Path.readlink, links) if path.name.startswith("#") and sidecar.data in path.parents]


def test_a_spool_gives_back_what_was_written_and_has_no_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for piece in (b"ab", b"", b"c" * 1_000_000):
        spool.write(piece)
    assert (spool.size, spool.read(1, 3), spool.whole()) == (1_000_002, b"bcc", b"abc" + b"c" * 999_999)
    assert list(tmp_path.iterdir()) == []


def test_a_large_body_arrives_whole_and_is_remembered_by_its_digest(sidecar: Sidecar, upstream: Upstream) -> None:
    got = sidecar.ask("POST", "/patients/17/screen", HOLT, screening())
    assert got.json()["results"] == [SIZE]
    assert upstream.seen("/patients/17/screen")[-1].body == screening()
    event = until(lambda: sidecar.events(path="/patients/17/screen"), what="recorded")[-1]
    assert event["http"]["request"]["bytes"] == len(screening())
    upstream.stop()
    again = until(lambda: remembered(sidecar), what="remembered")
    assert again["results"] == [SIZE]
    assert sidecar.ask("POST", "/patients/17/screen", HOLT, screening(SIZE + 1)).status == 503
    upstream.start()
    until(lambda: sidecar.ask("POST", "/patients/17/screen", HOLT, screening(9)).status == 200, what="handed back")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_body_cut_short_is_never_forwarded(sidecar: Sidecar, upstream: Upstream, framing: str) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nX-Request-Id: %s\r\nAuthorization: %s\r\n"
    head = head % (framing.encode(), basic("Dr Holt").encode())
    sent = b"x" * (2 * IN_MEMORY)
    fields = b"Content-Length: %d\r\n\r\n" % SIZE if framing == "length" else b"Transfer-Encoding: chunked\r\n\r\n"
    body = sent if framing == "length" else b"%x\r\n%s\r\n" % (len(sent), sent)
    raw(sidecar.port, head + fields + body, half_close=True)
    until(lambda: sidecar.events(request_id=framing), what="recorded")
    assert sidecar.events(request_id=framing)[0]["understudy"]["outcome"] == "client_aborted"
    assert upstream.seen("/echo") == []


def test_while_it_is_sent_it_has_no_name_and_afterwards_it_is_gone(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("slow", "/patients/17/screen", seconds=1)
    unknown = screening(SIZE + 7)  # what is remembered may be answered at once
    asking = threading.Thread(target=sidecar.ask, args=("POST", "/patients/17/screen", HOLT, unknown))
    asking.start()
    until(lambda: spools(sidecar), what="spooled")
    asking.join()
    kept = [path for path in sidecar.data.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []
    until(lambda: not spools(sidecar), 60, "let go of")


def test_a_policy_looks_into_a_large_note(sidecar: Sidecar, upstream: Upstream) -> None:
    """Padding must not carry a note in another's name past the policy."""
    assert sidecar.ask("GET", "/staffs/me", HOLT).status == 200
    note = {"title": "x" * SIZE, "patient_id": 17, "staff_id": 999}

    def found() -> bool:
        assert sidecar.ask("POST", "/notes", HOLT, note).status == 201
        return sidecar.events(path="/notes")[-1]["understudy"]["findings"] == ["author_is_caller"]

    until(found, what="found")
    assert upstream.seen("/notes", "POST")[-1].body == json.dumps(note).encode()


def test_a_large_note_is_taken_by_the_outbox_and_replayed_whole(sidecar: Sidecar, upstream: Upstream) -> None:
    for path in ("/notes", "/patients"):
        assert sidecar.ask("GET", path, HOLT).status == 200
    until(lambda: sidecar.plane("GET", "/ready/notes.list").status == 200, what="notes known")
    upstream.stop()
    got = sidecar.ask("POST", "/notes", HOLT, {"title": "y" * SIZE, "patient_id": 17})
    assert (got.status, "outbox" in got["Cache-Status"]) == (201, True)
    upstream.start()
    until(lambda: [n["title"][0] for n in upstream.state.notes.values()].count("y") == 1, 30, "replayed")


def test_without_room_a_large_body_is_refused_and_small_ones_pass(sidecar: Sidecar, upstream: Upstream) -> None:
    for pid in children(sidecar):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * IN_MEMORY, resource.RLIM_INFINITY))
    before = len(upstream.seen("/patients/17/screen"))
    got = sidecar.ask("POST", "/patients/17/screen", HOLT, screening(SIZE + 2))
    assert (got.status, bool(got["Retry-After"])) == (503, True)
    assert sidecar.ask("POST", "/patients/17/screen", HOLT, screening(100)).status == 200
    assert {len(seen.body) for seen in upstream.seen("/patients/17/screen")[before:]} == {len(screening(100))}
    for pid in children(sidecar):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_memory_does_not_grow_with_uploads(tmp_path: Path) -> None:
    """Of 160 MB at once a fraction is in memory; the full measure is `python -m tests.bench.uploads`."""
    with digesting() as url, Sidecar(url, tmp_path / "data", workers="1", threads="64") as sidecar:
        measure(sidecar, 8, 4 << 20)
        whole, before, most = measure(sidecar, 8, 20 << 20)
    assert whole == 8
    assert most - before < 40 << 20
