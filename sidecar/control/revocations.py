"""People whose credentials are refused from now on, also while the upstream is down."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, g

from sidecar.control.requests import Problem, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.events import audit_entries
from sidecar.journal.writer import RecordingFailed

log = logging.getLogger(__name__)


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("revocations", __name__)

    @views.post("/revocations")
    def revocations() -> Any:
        body = json_body()
        user, revoked = body_field(body, "user", str), body_field(body, "revoked", bool, True)
        if not 0 < len(user) <= 200:
            raise Problem(400, "user: expected a name of 1 to 200 characters", "user")
        (services.standby.revoke if revoked else services.standby.restore)(user)
        recorded = True
        try:
            audit_entries.record(services.settings, "revoke" if revoked else "restore", g.by, "", user=user)
        except (RecordingFailed, OSError) as error:  # it holds all the same
            recorded = False
            log.error("a revocation was not recorded: %s", error, extra={"fields": {"event.action": "record_failed"}})
        return {"user": user, "revoked": revoked, "recorded": recorded}

    return views
