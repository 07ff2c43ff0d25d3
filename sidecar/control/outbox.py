"""Writes that the upstream has not confirmed, and what a person decides about those that are parked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, g

from sidecar.control.requests import Problem, acted, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.settings import PREFIX
from sidecar.standby.outbox.review import Undecidable
from sidecar.standby.outbox.sealing import SealError

log = logging.getLogger(__name__)


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("outbox", __name__)

    def decided(decide: Callable[[str, str, str], Any], entry: str) -> Any:
        try:
            found = decide(entry, g.by, body_field(json_body(), "reason", str, ""))
        except LookupError:
            raise _no_entry(entry) from None
        except (Undecidable, SealError) as error:
            raise Problem(409, str(error)) from None
        log.warning("a parked write was decided", extra=acted(found["state"], entry, g.by, found["reason"] or ""))
        return found

    @views.get("/outbox")
    def entries() -> Any:
        return {"node": services.settings.node_name, **services.desk.entries()}

    @views.get("/outbox/discarded")
    def discarded() -> Any:
        return {"entries": services.desk.discarded()}

    @views.get("/outbox/<entry>")
    def one(entry: str) -> Any:
        try:
            return services.desk.entry(entry)
        except LookupError:
            raise _no_entry(entry) from None

    @views.post("/outbox/<entry>/retry")
    def retry(entry: str) -> Any:
        """`replay_credentials`: with these, in place of the writer's own."""
        in_anothers_name = body_field(json_body(), "replay_credentials", bool, False)
        if in_anothers_name and services.settings.replay_credentials is None:
            raise Problem(409, f"{PREFIX}REPLAY_CREDENTIALS is not set", "replay_credentials")
        return decided(lambda ident, by, why: services.desk.retry(ident, by, why, in_anothers_name), entry)

    @views.post("/outbox/<entry>/merge")
    def merge(entry: str) -> Any:
        """A conflict: only `fields` of the write as it says, the others as the upstream has them."""
        body = json_body()
        fields, revision = body_field(body, "fields", list), body_field(body, "revision", int)
        if not all(isinstance(name, str) for name in fields):
            raise Problem(400, "fields: expected names of fields", "fields")
        return decided(lambda ident, by, _reason: services.desk.merge(ident, by, revision, fields), entry)

    @views.post("/outbox/<entry>/discard")
    def discard(entry: str) -> Any:
        return decided(services.desk.discard, entry)

    return views


def _no_entry(entry: str) -> Problem:
    return Problem(404, f"the outbox has no entry {entry!r}")
