"""What happened and when: takeovers with their ends, and the marks that people put beside them."""

from __future__ import annotations

import time
from typing import Any, Final

from flask import Blueprint, g, jsonify
from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, insert, select

from sidecar.control.requests import Problem, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.storage.database import metadata

SHOWN: Final = 500
marks: Final = Table(
    "marks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("by", String(200), nullable=False),
)


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("timeline", __name__)

    @views.get("/transitions")
    def transitions() -> Any:
        made = services.switchboard.history()
        return jsonify([{name: getattr(each, name) for name in each.__slots__} for each in made])

    @views.post("/marks")
    def mark() -> Any:
        said = body_field(json_body(), "text", str).strip()
        if not said or len(said) > 2000:
            raise Problem(400, "text: expected 1 to 2000 characters", "text")
        row = {"at": time.time_ns(), "text": said, "by": g.by}
        with services.engine.begin() as connection:
            connection.execute(insert(marks).values(row))
        return row, 201

    @views.get("/marks")
    def latest() -> Any:
        query = select(marks.c.at, marks.c.text, marks.c.by).order_by(marks.c.id.desc()).limit(SHOWN)
        with services.engine.execution_options(writes=False).connect() as connection:
            return jsonify([dict(row._mapping) for row in connection.execute(query)])

    return views
