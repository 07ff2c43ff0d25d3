"""What goes, and when: days of events, their bodies, whole segments of the journal, by their age; and nothing that is
held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sidecar.events.store import Hold
from sidecar.journal.erasure import Place, holding
from sidecar.journal.writer import read_segment
from sidecar.settings import Settings
from sidecar.timeunits import SECOND, parse_rfc3339


def horizons(settings: Settings, now: int) -> tuple[int, int]:
    """(events, bodies): whole days of the event store that ended before these moments go. In ns."""
    return now - int(settings.retention * SECOND), now - int(settings.body_retention * SECOND)


def matches(hold: Hold, event: Mapping[str, Any]) -> bool:
    """Whether the event is held. What cannot be read is: nobody can say that it is not."""
    try:
        at = parse_rfc3339(event["@timestamp"])
    except (KeyError, TypeError, ValueError):
        return True
    user = event.get("user", {}).get("name")
    patient = event.get("understudy", {}).get("patient", {}).get("id")
    return (
        hold.user in (None, user)
        and hold.patient in (None, patient)
        and (hold.since is None or at >= hold.since)
        and (hold.until is None or at < hold.until)
    )


def is_held(path: Path, holds: Sequence[Hold]) -> bool:
    """Whether a segment that is closed has anything that is held."""
    return bool(holds) and _holds(path, tuple(holds))


@lru_cache(1024)
def _holds(path: Path, holds: tuple[Hold, ...]) -> bool:
    return any(
        matches(hold, line.get("event", {})) for line, _ in read_segment(path) for hold in holds
    )  # a damaged line is read as an empty event


def free_bodies(path: Path, holds: Sequence[Hold]) -> list[Place]:
    """The lines of a segment whose bodies may go: those that are not held."""
    return holding(path, lambda line: not any(matches(hold, line["event"]) for hold in holds))
