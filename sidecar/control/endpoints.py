"""The state of each endpoint, and what people do about it: takeover, handback, a share of callers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flask import Blueprint, g, jsonify

from sidecar.contract import Action
from sidecar.control.requests import Problem, body_field, json_body
from sidecar.control.services import ControlServices, completeness_ratio


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("endpoints", __name__)

    def state(name: str, completeness: Mapping[str, Any], owned: Collection[str]) -> dict[str, Any]:
        found, declared = services.switchboard.state(name), services.contract.endpoints[name]
        able, reason = services.standby.ready(name)
        known = completeness.get(declared.resource) if declared.resource else None
        return {
            "id": name,
            "name": declared.name,
            "mode": found.mode,
            "percent": found.percent,
            "circuit": found.circuit.state,
            "circuit_reason": found.circuit.reason,
            "answered_by": found.answered_by,
            "owned": declared.action is not Action.CALL and declared.resource in owned,
            "reason": found.reason,
            "changed_at": found.changed_at or None,
            "changed_by": found.changed_by,
            "ready": able,
            "ready_reason": reason,
            "parity": services.parity.ratio(name),
            "completeness": completeness_ratio(known) if declared.resource else None,
        }

    def act(action: Callable[..., Any], endpoint: str, *given: Any) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        action(services.endpoint(endpoint), *given, g.by, reason)
        return state(endpoint, services.standby.completeness(), services.promotion.owned())

    @views.get("/endpoints")
    def endpoints() -> Any:
        completeness, owned = services.standby.completeness(), services.promotion.owned()
        return jsonify([state(name, completeness, owned) for name in services.contract.endpoints])

    @views.post("/endpoints/<endpoint>/takeover")
    def takeover(endpoint: str) -> Any:
        return act(services.switchboard.takeover, endpoint)

    @views.post("/endpoints/<endpoint>/handback")
    def handback(endpoint: str) -> Any:
        return act(services.switchboard.handback, endpoint)

    @views.post("/endpoints/<endpoint>/route")
    def route(endpoint: str) -> Any:
        percent = body_field(json_body(), "percent", (int, float))
        if isinstance(percent, bool) or not math.isfinite(percent) or not 0 <= percent <= 100:
            raise Problem(400, f"percent: expected a number from 0 to 100; found {percent!r}", "percent")
        return act(services.switchboard.route, endpoint, percent)

    @views.get("/parity")
    def parity() -> Any:
        scores, samples = services.parity.scores(), services.parity.sampled()
        return {
            "endpoints": {
                name: {
                    "ratio": services.parity.ratio(name), **scores.get(name, {}), "samples": samples.get(name, []),
                }
                for name in services.contract.endpoints
            }
        }  # fmt: skip

    @views.get("/evidence")
    def evidence() -> Any:
        return {"endpoints": services.standby.evidence()}

    return views
