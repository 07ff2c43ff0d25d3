"""What people did to Understudy itself and its trail, written into the same journal: revoked, held, erased, rotated.

A deed is an event as any other (`understudy.purpose` is audit, so no figure counts it), in a segment of its own, on
disk before `record` returns. A disk that hangs is waited for as long as by an exchange, and no longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

from sidecar.http.identifiers import uuid7
from sidecar.journal.writer import PATIENCE, Journal, RecordingFailed
from sidecar.settings import Settings
from sidecar.storage.instance import named
from sidecar.telemetry import ecs
from sidecar.timeunits import to_rfc3339

PURPOSE = "audit"
CLOSING: Final = 1.0
"""Seconds for which the end of its segment is waited for."""


def record(
    settings: Settings, action: str, by: str, reason: str, *, user: str | None = None, patient: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Writes down that `by` did this, and returns the event's id. `user` or `patient`: whom it was about.

    Raises RecordingFailed: then it must not be done. Where the disk hangs, the trail may tell of it all the same.
    """
    now = time.time_ns()
    ident, at = uuid7(now), to_rfc3339(now)
    said: dict[str, Any] = {
        "endpoint": "other",
        "endpoint_id": "other",
        "answered_by": "understudy",
        "client": "user",
        "identity": "verified",
        "purpose": PURPOSE,
        "outcome": "success",
        "reason": reason,
        "deed": {**(about or {}), **({"user": user} if user else {})},
    }
    if patient is not None:
        said["patient"] = {"id": patient}
    event = {
        "@timestamp": at,
        "ecs": {"version": ecs.VERSION},
        "event": {
            "id": ident, "kind": "event", "category": ["configuration"], "type": ["change"], "action": action,
            "outcome": "success", "duration": 0, "start": at, "end": at,
        },
        "http": {"request": {"id": ident, "method": "AUDIT", "bytes": 0}},
        "url": {"path": ""},
        "service": {"name": "understudy", "node": {"name": settings.node_name}},
        "user": {"name": by},
        "understudy": said,
    }  # fmt: skip
    journal = Journal(settings.data / "journal", settings.node_name, named(settings.data, f"deeds_{os.getpid()}"))
    try:
        journal.append(event).wait(PATIENCE)
    except RecordingFailed as error:
        if journal.close(CLOSING):
            raise
        raise RecordingFailed(f"{error}; once it does, the trail may tell of it all the same") from None
    journal.close(CLOSING)
    return ident
