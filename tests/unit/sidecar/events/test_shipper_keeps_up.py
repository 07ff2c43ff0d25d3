"""The shipper goes on at once while there is more: the event store keeps up with the journal."""

from __future__ import annotations

from pathlib import Path

from sidecar.events.shipper import DOCUMENTS, IDLE, Report, Shipper
from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.journal.writer import Journal
from tests.contracts.event_store import NOON, bodies, event

NOW = NOON / 1e9


def test_a_full_batch_is_followed_by_the_next_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "n1", "1")
    for number in range(2 * DOCUMENTS):
        journal.append(event(number), bodies(number))
    journal.close()
    told: list[Report] = []
    store = EmbeddedStore(tmp_path / "events.db")
    shipper = Shipper(
        tmp_path / "journal", store, tmp_path / "shipped.json", tmp_path / "dead-letter", on_progress=told.append
    )
    waits = [shipper.step(NOW) for _ in range(9)]
    assert sorted({*waits}) == [0.0, IDLE]
    assert waits.index(IDLE) == waits.count(0.0), "it pauses only when all is shipped"
    assert shipper.shipped == 2 * DOCUMENTS
    assert told[-1].lag.events == 0


def test_text_is_found_in_every_batch_and_once(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    store.append([event(1), event(2)])
    store.append([event(2), event(3)])
    path = event(1)["url"]["path"].strip("/").partition("/")[0]
    found = store.search(Filter(text=path)).events
    assert len({each["event"]["id"] for each in found}) == len(found) >= 1
    everything = store.search(Filter()).events
    assert len(everything) == 3
    store.close()
