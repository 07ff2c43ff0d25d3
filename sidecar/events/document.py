"""An exchange as an ECS document, and its bodies as another. Pure, and on the request path: no I/O, no waiting.

Of `event.category` and `event.type` ECS allows but some together: what is created or deleted is of the category api.

Nothing secret comes out of here (`redact`). `understudy.body.{request,response,before}` are SHA-256 digests of the
bodies as they are recorded, redacted, capped and, where there is a key, encrypted (before: the record as the standby
knew it before a write). So a recorded body can be held against its event, without the key, and erased without breaking
the journal's chain. Sizes are those of the whole body as it went over the wire.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final

from sidecar.events.redact import Redactor
from sidecar.exchange import Attempt, Exchange, Outcome
from sidecar.http.determining import shows
from sidecar.storage.encryption import Vault, about
from sidecar.telemetry import ecs
from sidecar.timeunits import to_rfc3339

CLEAR: Final = Vault()
"""Bodies are recorded as they are."""
CLIENT_ABORTED: Final = "client_aborted"
CLIENT_CLOSED_REQUEST: Final = 499
_TYPES: Final = {"create": "creation", "update": "change", "delete": "deletion"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def to_event(
    exchange: Exchange, *, node: str, contract_secrets: frozenset[str], body_cap: int, vault: Vault = CLEAR
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The event, and the bodies document unless there is no body to record. `body_cap` in bytes, per body."""
    request, redactor = exchange.request, Redactor(contract_secrets, exchange.request)
    query = redactor.query(request.query)
    bodies = _bodies(exchange, redactor, body_cap)
    if vault.head is not None:
        bodies = {side: vault.close(body, about(exchange.id, side)) for side, body in bodies.items()}
    event: dict[str, Any] = {
        "@timestamp": to_rfc3339(exchange.started),
        "ecs": {"version": ecs.VERSION},
        "event": _about(exchange),
        "http": _http(exchange),
        "url": {"path": redactor.path(request.path)},
        "trace": {"id": exchange.trace_id},
        "service": {"name": "understudy", "node": {"name": node}},
        "understudy": _understudy(exchange, {side: _digest(body) for side, body in bodies.items()}),
    }
    if query:
        event["url"]["query"] = redactor.text(query)
    if exchange.user:
        event["user"] = {"name": _clean(exchange.user)}
    if (address := _address(request.remote)) is not None:
        event["source"] = {"ip": address}
    if agent := request.header("user-agent"):
        event["user_agent"] = {"original": redactor.text(agent)}
    return event, _bodies_document(exchange, event["@timestamp"], bodies)


def _about(exchange: Exchange) -> dict[str, Any]:
    aborted = exchange.reason == CLIENT_ABORTED
    denied = ["denied"] if exchange.verdict == "deny" else []
    return {
        "id": exchange.id,
        "kind": "event",
        "category": ["api"],
        "type": [_TYPES.get(exchange.action, "access"), *denied],
        "action": str(exchange.action),
        "outcome": str(Outcome.UNKNOWN if aborted else exchange.outcome),
        "duration": exchange.duration,
        "start": to_rfc3339(exchange.started),
        "end": to_rfc3339(exchange.ended),
    }


def _http(exchange: Exchange) -> dict[str, Any]:
    request, response = exchange.request, exchange.response
    asked: dict[str, Any] = {"id": exchange.request_id, "method": request.method, "bytes": request.size}
    if mime := _mime(request.header("content-type")):
        asked["mime_type"] = mime
    if exchange.reason == CLIENT_ABORTED:
        return {"request": asked, "response": {"status_code": CLIENT_CLOSED_REQUEST, "bytes": 0}}
    if response is None:
        return {"request": asked}
    answered: dict[str, Any] = {"status_code": response.status}
    if response.size is not None:
        answered["bytes"] = response.size
    if mime := _mime(response.header("content-type")):
        answered["mime_type"] = mime
    return {"request": asked, "response": answered}


def _understudy(exchange: Exchange, digests: dict[str, str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "endpoint": exchange.endpoint,
        "endpoint_id": exchange.endpoint_id,
        "answered_by": str(exchange.answered_by),
        "attempts": [_attempt(attempt) for attempt in exchange.attempts],
        "circuit": exchange.circuit,
        "verdict": exchange.verdict,
        "findings": list(exchange.findings),
        "client": str(exchange.client),
        "identity": str(exchange.identity),
        "purpose": str(exchange.purpose),
        "outcome": CLIENT_ABORTED if exchange.reason == CLIENT_ABORTED else str(exchange.outcome),
        "upstream_outcome": exchange.upstream_said,
    }
    if exchange.as_given and exchange.response is not None:
        shown = shows(exchange.request, exchange.response, exchange.parameters)
        if shown is not None:
            document["shows"] = shown
    if exchange.break_glass is not None:
        document["break_glass"] = exchange.break_glass
    if exchange.reason:
        document["reason"] = exchange.reason
    if exchange.resource_type:
        document["resource"] = {"type": exchange.resource_type}
        if exchange.resource_id is not None:
            document["resource"]["id"] = _clean(exchange.resource_id)
    if exchange.patient_id is not None:
        document["patient"] = {"id": _clean(exchange.patient_id)}
    if exchange.change is not None:
        document["change"] = {"before": exchange.change[0], "after": exchange.change[1]}
    if digests:
        document["body"] = digests
    return document


def _attempt(attempt: Attempt) -> dict[str, Any]:
    document: dict[str, Any] = {
        "start": to_rfc3339(attempt.started),
        "duration": attempt.duration,
        "outcome": str(attempt.outcome),
        "hedge": attempt.hedge,
    }
    if attempt.status is not None:
        document["status"] = attempt.status
    if attempt.error is not None:
        document["error"] = attempt.error
    return document


def _bodies(exchange: Exchange, redactor: Redactor, cap: int) -> dict[str, str]:
    """What is recorded of each body; the request's comes first, since it teaches the redactor what is secret."""
    found = {}
    for side, message in (("request", exchange.request), ("response", exchange.response)):
        if message is not None and message.body:
            encoding = message.header("content-encoding")
            text = redactor.body(message.body, encoding, cap, request=side == "request")
            if text is not None:
                found[side] = text
    if exchange.before is not None:
        text = redactor.body(exchange.before.encode(), None, cap, request=False)
        if text is not None:
            found["before"] = text
    return found


def _bodies_document(exchange: Exchange, start: str, bodies: dict[str, str]) -> dict[str, Any] | None:
    if not bodies:
        return None
    return {
        "@timestamp": start,
        "event": {"id": exchange.id},
        "understudy": {"endpoint": exchange.endpoint},
        "http": {side: {"body": {"content": content}} for side, content in bodies.items()},
    }


def _digest(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def _mime(content_type: str | None) -> str | None:
    return content_type.partition(";")[0].strip().lower() if content_type else None


def _clean(text: str) -> str:
    """Text that JSON can hold: no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
