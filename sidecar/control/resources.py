"""What the standby holds of each resource, and who owns it: promotion and demotion."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, g

from sidecar.control.requests import Problem, acted, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.standby.promotion import NotFit

log = logging.getLogger(__name__)


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("resources", __name__)

    @views.get("/standby")
    def standby() -> Any:
        return {"resources": dict(services.standby.completeness())}

    @views.get("/resources")
    def resources() -> Any:
        owned, pending = services.promotion.owned(), services.desk.entries()["entries"]
        return {
            name: {
                **row,
                "owner": "standby" if name in owned else "upstream",
                "promoted": owned.get(name),
                "pending": sum(entry["resource"] == name and entry["state"] != "parked" for entry in pending),
                "parked": sum(entry["resource"] == name and entry["state"] == "parked" for entry in pending),
                "doubts": services.promotion.doubts(name),
            }
            for name, row in services.standby.completeness().items()
        }

    @views.post("/resources/<resource>/promote")
    def promote(resource: str) -> Any:
        body = json_body()
        force, reason = body_field(body, "force", bool, False), body_field(body, "reason", str, "")
        try:
            overruled = services.promotion.promote(services.resource(resource), g.by, reason, force=force)
        except NotFit as error:
            raise Problem(409, f"{resource} is not fit to be promoted: {error}") from None
        log.warning("%s was promoted", resource, extra=acted("promote", resource, g.by, reason))
        return {"resource": resource, "owner": "standby", "overruled": overruled}

    @views.post("/resources/<resource>/demote")
    def demote(resource: str) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        missed = services.promotion.demote(services.resource(resource))
        log.warning("%s was demoted", resource, extra=acted("demote", resource, g.by, reason))
        return {"resource": resource, "owner": "upstream", "to_replay": missed}

    return views
