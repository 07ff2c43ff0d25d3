"""How far each segment of a journal had come when it was last shipped: what a journal that was cut cannot show."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from sidecar.journal.offsets import started
from sidecar.journal.segment import node_prefix
from sidecar.journal.statements import MARK
from sidecar.settings import Settings
from sidecar.storage.instance import SHORT, known_instance
from sidecar.timeunits import SECOND


class CheckpointNotKept(Exception):
    """The event store did not take a checkpoint: the next one does as well."""


class Checkpoint(Protocol):
    """A segment's name, and the sequence and hash of its last line that was shipped."""

    @property
    def segment(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def hash(self) -> str: ...


def known_checkpoints(kept_in_store: Iterable[Checkpoint], settings: Settings) -> Mapping[str, tuple[int, str]]:
    """Segment → (sequence, hash), of this instance's segments: others' are in others' journals, be they of another node
    or of one that had this name. Names of before there were instances say only the node."""
    mine = re.escape((known_instance(settings.data) or "")[:SHORT])
    name = re.escape(node_prefix(settings.node_name))
    own = re.compile(rf"{name}(-({mine}_)?(deeds_)?\d+-\d+|(\.{mine})?@\w+)")
    points = {at.segment: (at.sequence, at.hash) for at in kept_in_store if own.fullmatch(at.segment)}
    oldest = time.time_ns() - int(settings.journal_retention * SECOND)
    kept = {path.stem for path in (settings.data / "journal").glob("*.jsonl")}
    # What retention removed is not a cut: such a segment is gone as a whole, and began that long ago.
    return {name: point for name, point in points.items() if name in kept or MARK in name or started(name)[0] > oldest}
