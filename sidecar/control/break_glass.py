"""Break-glass: opened for a person, some hours and a reason, and ended; the trail says so before it holds."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, g

from sidecar.access.break_glass import Grant
from sidecar.control.requests import Problem, acted, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.events import audit_entries
from sidecar.journal.writer import RecordingFailed
from sidecar.settings import Settings

log = logging.getLogger(__name__)


def recorded(settings: Settings, action: str, grant: Grant, by: str, reason: str) -> None:
    """Raises RecordingFailed, OSError."""
    audit_entries.record(settings, action, by, reason, user=grant.user, about=grant.about())


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("break_glass", __name__)

    def record(action: str, grant: Grant, by: str, reason: str) -> None:
        try:
            recorded(services.settings, action, grant, by, reason)
        except (RecordingFailed, OSError) as error:
            raise Problem(503, f"it could not be written to the trail, and was not done: {error}") from None
        log.warning("break-glass", extra=acted(action, grant.user, by, reason))

    @views.get("/break-glass")
    def grants() -> Any:
        return {"grants": services.break_glass.told()}

    @views.post("/break-glass")
    def begin() -> Any:
        body = json_body()
        user, reason = body_field(body, "user", str), body_field(body, "reason", str).strip()
        hours = body_field(body, "hours", (int, float))
        if not 0 < len(user) <= 200:
            raise Problem(400, "user: expected a name of 1 to 200 characters", "user")
        if not 3 <= len(reason) <= 500:
            raise Problem(400, f"reason: expected 3 to 500 characters; found {len(reason)}", "reason")
        try:
            return vars(services.break_glass.begin(user, float(hours), g.by, reason, record))
        except (ValueError, OverflowError) as error:
            raise Problem(400, str(error), "hours") from None

    @views.post("/break-glass/<ident>/end")
    def end(ident: str) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        try:
            return vars(services.break_glass.end(ident, g.by, reason, record))
        except LookupError:
            raise Problem(404, f"no break-glass {ident!r} is open") from None

    return views
