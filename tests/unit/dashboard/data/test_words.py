"""Words that were written: found in whichever field was sent, whatever its case, and never half of what is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.data import words
from dashboard.data.event_queries import Queries
from dashboard.data.words import Said
from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.dashboard import seed

NOW = 1_800_000_000 * SECOND


@pytest.fixture
def queries(tmp_path: Path) -> Iterator[Queries]:
    store, dice = EmbeddedStore(tmp_path / "events.db"), random.Random(1)
    store.install()
    notes = [("Round", "Limps on the left"), ("LEFT ear", "clean"), ("Vaccination", "done")]
    made = [
        seed.event(NOW + n * SECOND, dice, kind="create", user="Dr Holt", patient="17",
                   body={"title": title, "body": body, "patient_id": 17})
        for n, (title, body) in enumerate(notes)
    ]  # fmt: skip
    made.append(seed.event(NOW, dice, kind="patient", user="Dr Left", patient="17"))
    store.append([event for event, _ in made], [body for _, body in made if body])
    yield Queries(store)
    store.close()


@pytest.mark.parametrize(
    ("text", "count"), [("left", 2), ("left limps", 1), ("Left clean vaccination", 0), ("17", 0), ("", 0)]
)
def test_every_word_must_be_there(queries: Queries, text: str, count: int) -> None:
    assert len(words.said(queries, Filter(text=text or None)).events) == count


def test_what_was_not_read_is_told(queries: Queries) -> None:
    assert words.said(queries, Filter(text="nowhere")) == Said([], 3, 3)
    assert words.said(queries, Filter(text="nowhere"), most=1, page=1) == Said([], 1, 3)


def test_other_filters_hold(queries: Queries) -> None:
    assert words.said(queries, Filter(text="left", terms={"user.name": ["Dr Left"]})).events == []
    assert words.said(queries, Filter(text="left", terms={"event.action": ["update"]})).events == []
