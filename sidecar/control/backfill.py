"""Filling the copy, and shipping the journal: how far they are, a start on request, and whether such work goes on."""

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

    @views.get("/background")
    def background() -> Any:
        why = services.background()
        return {"alive": why is None, "trouble": why}

    @views.get("/shipper")
    def shipper() -> Any:
        return dict(services.shipper())

    return views
