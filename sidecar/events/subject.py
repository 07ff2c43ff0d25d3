"""Whom an exchange is about: the patient named by the path, a filter, or the record that was sent or answered. Pure.

Without it "who looked at this patient" would miss everyone who opened one of the patient's notes.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from sidecar.contract import Contract
from sidecar.exchange import Exchange

LONGEST: Final = 1 << 20
"""A single record is small; a body beyond this is not parsed on the request path."""


def subject(contract: Contract, exchange: Exchange) -> str | None:
    """The id of the record that an audit is about, by the contract's `x-understudy-subject`; None when unknown."""
    if exchange.patient_id is not None:
        return exchange.patient_id
    resource = contract.resources.get(exchange.resource_type or "")
    if resource is None or resource.subject_field is None:
        return None
    if exchange.action == "list":
        asked = parse_qs(exchange.request.query).get(resource.subject_field, [])
        return asked[0] if len(asked) == 1 and resource.subject_field != resource.id_field else None
    response = exchange.response
    answered = response.body if response is not None and response.status < 300 else b""
    for body in (answered, exchange.request.body):
        if (found := _value(body, resource.subject_field)) is not None:
            return found
    return None


def _value(body: bytes, field: str) -> str | None:
    if not body or len(body) > LONGEST or field.encode() not in body:
        return None
    try:
        record: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    value = record.get(field) if isinstance(record, dict) else None
    return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
