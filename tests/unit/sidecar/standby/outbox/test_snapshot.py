"""One moment of the outbox, which is told without walking through all that waits."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sidecar.contract import Action, Contract
from sidecar.standby.outbox import overlay
from sidecar.standby.outbox.dependencies import Needs
from sidecar.standby.outbox.overlay import Pending
from sidecar.standby.outbox.snapshot import Snapshot

NOTES = Contract.load("hosp").resources["notes"]
NONE = Needs(frozenset(), frozenset())


def write(seq: int, action: Action, record: str, user: str = "u", **given: Any) -> Pending:
    return Pending(seq, "notes", action, record, {"title": record}, {"title": record}, user, 0, **given)


@pytest.mark.parametrize("seed", range(20))
def test_what_may_be_about_a_record_is_all_that_is_about_it(seed: int) -> None:
    """An unclear create that has arrived without our knowing is found, with what follows it."""
    dice, seen, every = random.Random(seed), Snapshot(), []
    for seq in range(30):
        record, action = str(dice.randrange(8)), dice.choice([Action.CREATE, Action.UPDATE, Action.DELETE])
        entry = write(seq, action, record, sent=dice.random() < 0.2, parked=dice.random() < 0.2)
        seen = seen.with_entry(str(seq), entry, NONE, ())
        every.append(entry)
    for seq in dice.sample(range(30), 10):
        seen = seen.without(str(seq), ())
        every = [entry for entry in every if entry.seq != seq]
    waiting = [entry for entry in every if not entry.parked]
    assert seen.pending("notes") == waiting
    for record in map(str, range(8)):
        shown = [{"id": int(record), "title": str(dice.randrange(8)), "created_at": "2030-01-01T00:00:00Z"}]
        of_all = overlay.about(NOTES, waiting, record, shown, lambda _: False)
        assert overlay.about(NOTES, seen.about("notes", record), record, shown, lambda _: False) == of_all


def test_a_caller_is_shown_their_own_and_what_is_about_records_that_they_see() -> None:
    seen = Snapshot()
    for seq, (record, user) in enumerate((("1", "u"), ("2", "v"), ("3", "v"))):
        seen = seen.with_entry(str(seq), write(seq, Action.UPDATE, record, user), NONE, ())
    assert [entry.record for entry in seen.only("u", {"3"}).pending("notes")] == ["1", "3"]
    assert [entry.record for entry in seen.pending("notes")] == ["1", "2", "3"]
    assert list(seen.only("u", ()).about("notes", "2")) == []
