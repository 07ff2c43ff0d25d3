"""The control plane: health, readiness, metrics, the state of each endpoint, and what people do about it.

Served on a port of its own. Reading is free; every action needs `Authorization: Bearer CONTROL_TOKEN`. Errors are
problem+json and name the field at fault. Each blueprint is a file of its own.
"""

from __future__ import annotations

from typing import Final

from flask import Flask

from sidecar.control import (
    backfill,
    endpoints,
    health,
    outbox,
    policies,
    resources,
    revocations,
    timeline,
    traffic,
)
from sidecar.control.gauges import readings
from sidecar.control.requests import handle_errors, require_token
from sidecar.control.services import ControlServices
from sidecar.telemetry.metrics import SharedState, serve_metrics

BLUEPRINTS: Final = (
    health, endpoints, traffic, resources, outbox, revocations, policies, timeline, backfill,
)  # fmt: skip


def create_control(services: ControlServices) -> Flask:
    """The Flask application."""
    app = Flask("understudy.control")
    app.before_request(lambda: require_token(services.settings.control_token))
    for module in BLUEPRINTS:
        app.register_blueprint(module.blueprint(services))
    handle_errors(app)
    serve_metrics(app, SharedState(readings(services)))
    return app
