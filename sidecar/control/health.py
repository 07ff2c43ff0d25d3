"""Whether users may be sent here, and whether the standby could answer for an endpoint: for load balancers."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from sidecar.control.requests import Problem
from sidecar.control.services import ControlServices
from sidecar.server.phase import Phase


def ask_database(engine: Engine) -> None:
    """Raises SQLAlchemyError when the database does not answer."""
    with engine.execution_options(writes=False).connect() as connection:
        connection.execute(text("SELECT 1"))


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("health", __name__)

    @views.get("/healthz")
    def healthz() -> Any:
        """Whether users may be sent here: others, or the upstream, serve them better where the database is away."""
        phase = services.phase()
        if services.settings.database_lost == "refuse" and services.why_away() is not None:
            raise Problem(503, "the database is away: send nobody here")
        if services.drained():
            raise Problem(503, "the node is drained: send nobody here")
        if phase is not Phase.SERVING:
            raise Problem(503, f"the sidecar is {phase.name.lower()}: send nobody here")
        refused = services.reload().get("refused")
        return {"status": "alive", **({"reload_refused": refused} if refused else {})}

    @views.get("/readyz")
    def readyz() -> Any:
        """Whether it could serve. `?full`: also whether all that no user waits for goes on, which alone turns nobody
        away: replay, shipping, signing."""
        healthz()
        try:
            ask_database(services.engine)  # refused where it is away, though health does not say so
        except SQLAlchemyError as error:
            raise Problem(503, f"the database does not answer ({type(error).__name__})") from None
        if "full" in request.args and (why := services.background()) is not None:
            raise Problem(503, why)
        return {"status": "ready"}

    @views.get("/ready/<endpoint>")
    def ready(endpoint: str) -> Any:
        healthz()
        able, reason = services.standby.ready(services.endpoint(endpoint))
        if not able:
            raise Problem(503, reason)
        return {"ready": True, "reason": reason}

    return views
