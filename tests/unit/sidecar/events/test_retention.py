"""What of the journal goes by age, what stays since it is held, and bodies erased without breaking the chain."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from sidecar.events import trail
from sidecar.events.retention import free_bodies, matches
from sidecar.events.shipper import Shipper
from sidecar.events.store import Hold
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.journal.erasure import erase, holding
from sidecar.journal.writer import read_segment
from sidecar.timeunits import parse_rfc3339
from tests.unit.sidecar.journal.test_signer import Signed
from tests.unit.sidecar.journal.test_verify import lines

NOW = parse_rfc3339("2026-03-10T12:00:00Z")
DAY = 86_400.0


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def hold(**given: object) -> Hold:
    return Hold(id="h", at="2026-03-10T12:00:00Z", by="Ms Pell", reason="court", **given)  # type: ignore[arg-type]


def test_erased_bodies_are_gone_and_the_chain_holds(signed: Signed) -> None:
    path = signed.paths[0]
    size, before = path.stat().st_size, path.stat().st_mtime_ns
    offsets = [offset for _, offset in read_segment(path)]
    places = holding(path, lambda line: line["sequence"] == 4)
    erase(places, signed.statements, signed.key, "Ms Pell", "asked for")
    assert (b"Limps" in lines(path)[1], b"Limps" in lines(path)[3]) == (True, False)
    assert [offset for _, offset in read_segment(path)] == offsets
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, before)
    assert signed.verify().ok
    assert holding(path, lambda line: line["sequence"] == 4) == []
    erase(places, signed.statements, signed.key, "Ms Pell", "again, after a crash")
    assert signed.verify().ok


def test_an_erased_line_cannot_be_altered_further(signed: Signed, tmp_path: Path) -> None:
    path = signed.paths[0]
    erase(holding(path, lambda line: True), signed.statements, signed.key, "Ms Pell", "asked for")
    good = path.read_bytes()
    blank = good.index(b"null}  ")
    for place in (blank + 1, blank + 6):  # the null, and a space after it
        altered = bytearray(good)
        altered[place] ^= 1
        path.write_bytes(altered)
        assert not signed.verify().ok
    path.write_bytes(good)
    signed.paths = [path, *signed.paths[1:]]
    assert signed.exported(tmp_path / "export.jsonl").exists()


def test_a_segment_that_is_held_outlives_its_time(signed: Signed, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    shipper = Shipper(
        signed.journal, store, tmp_path / "shipped.json", tmp_path / "dead", journal_retention=7 * DAY,
        dropping=signed.signer.dropping,
    )  # fmt: skip
    for path in signed.paths:
        os.utime(path, (1_000_000, 1_000_000))
    laid = hold(since=NOW, until=NOW + 10**9)  # every segment has an event of that second
    store.hold(laid)
    now = 1_000_000 + 30 * DAY
    while shipper.step(now) == 0:
        pass
    assert all(path.exists() for path in signed.paths)
    store.release("h")
    shipper.step(now + 700)
    assert not any(path.exists() for path in signed.paths)
    assert signed.verify().ok
    store.close()


def test_bodies_go_before_their_segments_but_for_what_is_held(signed: Signed, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    shipper = Shipper(
        signed.journal, store, tmp_path / "shipped.json", tmp_path / "dead", journal_retention=365 * DAY,
        body_retention=30 * DAY,
        erase=lambda places: erase(places, signed.statements, signed.key, "understudy", "retention"),
    )  # fmt: skip
    for path in signed.paths:
        os.utime(path, (1_000_000, 1_000_000))
    store.hold(hold(since=NOW + 3 * 10**9))  # the last event of each
    while shipper.step(1_000_000 + 31 * DAY) == 0:
        pass
    kept = [[b"Limps" in raw for raw in lines(path)] for path in signed.paths]
    assert kept == [[False, False, False, True]] * 3
    assert signed.verify().ok
    store.close()


def test_a_hold_matches_all_that_is_given() -> None:
    event = {
        "@timestamp": "2026-03-10T12:00:00.000000000Z",
        "user": {"name": "Dr Holt"},
        "understudy": {"patient": {"id": "17"}},
    }
    assert matches(hold(user="Dr Holt", patient="17", since=NOW, until=NOW + 1), event)
    for other in ({"user": "Dr Ames"}, {"patient": "18"}, {"since": NOW + 1}, {"until": NOW}):
        assert not matches(hold(**other), event)
    assert matches(hold(user="Dr Ames"), {}), "what cannot be read may be held"
    assert free_bodies(Path(os.devnull), []) == []


def test_who_did_what_outlives_the_segment_for_its_time(signed: Signed, tmp_path: Path) -> None:
    store, folder = EmbeddedStore(tmp_path / "events.db"), tmp_path / trail.FOLDER
    store.install()
    full = True

    def keep(segment: Path) -> None:
        if full:
            raise OSError("no space left on device")
        trail.keep(segment, folder)

    shipper = Shipper(
        signed.journal, store, tmp_path / "shipped.json", tmp_path / "dead", journal_retention=7 * DAY,
        dropping=signed.signer.dropping, keep=keep,
    )  # fmt: skip
    for path in signed.paths:
        os.utime(path, (1_000_000, 1_000_000))
    known = [event["event"]["id"] for event in trail.everything(tmp_path)]
    now = 1_000_000 + 30 * DAY
    while shipper.step(now) == 0:
        pass
    assert all(path.exists() for path in signed.paths)  # what cannot be put away is not thrown away
    full = False
    shipper.step(now + 700)
    assert not any(path.exists() for path in signed.paths)
    kept = list(trail.everything(tmp_path))
    assert [event["event"]["id"] for event in kept] == known
    assert {key for event in kept for key in event} <= {"@timestamp", *trail.SECTIONS}
    assert b"Limps" not in b"".join(gzip.decompress(path.read_bytes()) for path in folder.iterdir())
    laid = hold(since=NOW, until=NOW + 10**9)
    assert trail.drop_before(folder, 2_000_000, [laid]) == []
    assert trail.drop_before(folder, 1_000_000, []) == []
    assert len(trail.drop_before(folder, 2_000_000, [])) == len(signed.paths)
    assert list(trail.everything(tmp_path)) == []
    store.close()
