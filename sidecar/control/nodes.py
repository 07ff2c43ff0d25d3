"""The deployment's nodes: who is there, and what people want of them."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, g, jsonify

from sidecar.control.requests import Problem, acted, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.storage import nodes
from sidecar.storage.nodes import SILENT, Node
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("nodes", __name__)

    def known(name: str) -> Node:
        found = next((node for node in nodes.everyone(services.engine) if node.name == name), None)
        if found is None:
            raise Problem(404, f"there is no node {name!r}")
        return found

    @views.get("/nodes")
    def everyone() -> Any:
        own = services.settings.node_name
        rows = nodes.everyone(services.engine)
        return jsonify([{**_told(node), "self": node.name == own} for node in rows])

    @views.post("/nodes/<name>/drain")
    def drain(name: str) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        if not nodes.drain(services.engine, known(name).name):
            raise Problem(404, f"there is no node {name!r}")
        log.warning("the node %s is drained", name, extra=acted("node_drained", name, g.by, reason))
        return _told(known(name))

    @views.post("/nodes/<name>/remove")
    def remove(name: str) -> Any:
        body, node = json_body(), known(name)
        reason, lost = body_field(body, "reason", str, ""), body_field(body, "lost", bool, False)
        if node.silent < SILENT and nodes.is_beating(services.engine, name):
            raise Problem(409, f"{name} is alive: stop it first")
        if node.unshipped != 0 and not lost:
            left = "an unknown number of" if node.unshipped is None else node.unshipped
            raise Problem(
                409,
                f"{name} has {left} events not in the event store: adopt its DATA first, or say that it is lost",
            )
        nodes.remove(services.engine, name)
        log.warning("the node %s is removed", name, extra=acted("node_removed", name, g.by, reason))
        return _told(node)

    return views


def _told(node: Node) -> dict[str, Any]:
    return {
        "node": node.name,
        "instance": node.instance,
        "state": "silent" if node.silent >= SILENT else node.state,
        "silent_seconds": round(node.silent / SECOND, 1),
        "version": node.version,
        "contract": node.contract,
        "control": node.control,
        "skew_seconds": None if node.skew is None else round(node.skew / SECOND, 3),
        "unshipped": node.unshipped,
        "journal": node.head,
    }
