"""The control plane: health, readiness, metrics, the state of each endpoint, and what people do about it.

Served on a port of its own. Every action, and what shows records, needs `Authorization: Bearer CONTROL_TOKEN`; the rest
is free to be read, by our own names only. Errors are problem+json and name the field at fault. Each blueprint is a file
of its own.
"""

from __future__ import annotations

from typing import Final

from flask import Flask

from sidecar.control import (
    backfill,
    break_glass,
    endpoints,
    health,
    nodes,
    outbox,
    policies,
    resources,
    revocations,
    timeline,
    traffic,
)
from sidecar.control.gauges import readings
from sidecar.control.requests import handle_errors, require_own_host, require_token
from sidecar.control.services import ControlServices
from sidecar.telemetry.metrics import SharedState, serve_metrics

BLUEPRINTS: Final = (
    health, endpoints, traffic, resources, outbox, revocations, break_glass, policies, timeline, backfill, nodes,
)  # fmt: skip


def create_control(services: ControlServices) -> Flask:
    """The Flask application."""
    app = Flask("understudy.control")
    app.before_request(lambda: require_own_host(services.settings.allowed_hosts))
    app.before_request(lambda: require_token(services.settings.control_token))
    for module in BLUEPRINTS:
        app.register_blueprint(module.blueprint(services))
    handle_errors(app)
    serve_metrics(app, SharedState(readings(services)))
    return app
