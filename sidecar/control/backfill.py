"""Filling the copy, and shipping the journal: how far they are, and a start on request."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from sidecar.control.services import ControlServices


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("backfill", __name__)

    @views.get("/backfill")
    def progress() -> Any:
        return dict(services.backfill())

    @views.post("/backfill")
    def start() -> Any:
        services.start_backfill()
        return dict(services.backfill()), 202

    @views.get("/shipper")
    def shipper() -> Any:
        return dict(services.shipper())

    return views
