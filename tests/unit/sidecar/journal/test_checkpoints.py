"""Which segments of an event store's checkpoints must be in this journal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sidecar.journal.checkpoints import known_checkpoints
from sidecar.settings import Settings
from sidecar.storage.instance import SHORT, instance_of, named


@dataclass(frozen=True)
class At:
    segment: str
    sequence: int = 7
    hash: str = "ab"


def test_segments_of_another_instance_of_the_same_name_are_not_missed_in_this_one(tmp_path: Path) -> None:
    ours, theirs = (Settings(data=tmp_path / name, node="ward") for name in ("ours", "theirs"))
    now = time.time_ns()
    mine = [f"ward-{named(ours.data, '12')}-{now}", f"ward-{named(ours.data, 'deeds_13')}-{now}"]
    mine.append(f"ward.{instance_of(ours.data)[:SHORT]}@statements")
    old = [f"ward-14-{now}", f"ward-deeds_15-{now}", "ward@statements"]
    others = [f"ward-{named(theirs.data, '12')}-{now}", f"ward.{instance_of(theirs.data)[:SHORT]}@statements"]
    others += [f"ward2-16-{now}", f"my-ward-17-{now}"]
    kept = [At(segment) for segment in (*mine, *old, *others)]
    assert sorted(known_checkpoints(kept, ours)) == sorted([*mine, *old])
