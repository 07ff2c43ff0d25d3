"""What a request to the control plane brings, and how it is refused: problem+json (RFC 9457) that names the field."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, g, json, request
from werkzeug.exceptions import HTTPException

from sidecar.http.problem import RetryAfter
from sidecar.settings import PREFIX
from sidecar.settings.hosts import is_own_host

log = logging.getLogger(__name__)


class Problem(Exception):
    """An error of ours, with its status, a sentence, and the field at fault if there is one."""

    def __init__(self, status: int, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field


ANYBODY: Final = frozenset(("healthz", "readyz", "ready", "metrics"))
"""What is asked by load balancers and monitoring, by whatever name; nothing of anybody's is in it."""
CONFIDENTIAL: Final = frozenset(("outbox", "parity", "evidence", "break-glass", "policies"))
"""What shows records, or what somebody did or wrote of a person: it needs the token also to be read."""


def require_own_host(names: Iterable[str]) -> None:
    """Only whether we are well is told to who asks for somebody else's name (DNS rebinding). Raises Problem."""
    if _first() not in ANYBODY and not is_own_host(request.headers.get("Host"), names):
        raise Problem(421, f"this is not the host that was asked for; {PREFIX}ALLOWED_HOSTS names more of them")


def _first() -> str:
    """The path's first segment."""
    return request.path.split("/")[1] if "/" in request.path else ""


def require_token(token: str | None) -> None:
    """Actions, and what shows records, need the token, compared in constant time; `g.by` is then who asks. Raises
    Problem."""
    if request.method in ("GET", "HEAD", "OPTIONS") and _first() not in CONFIDENTIAL:
        return
    if not token:
        raise Problem(403, f"this is refused because {PREFIX}CONTROL_TOKEN is not set")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise Problem(401, f"this needs `Authorization: Bearer` with the token in {PREFIX}CONTROL_TOKEN")
    g.by = request.headers.get("X-Understudy-By", "control")[:200]


def acted(action: str, what: str, by: str, reason: str) -> dict[str, Any]:
    """For `extra` of a log line: what a person did."""
    fields = {"event.action": action, "understudy.subject": what, "understudy.by": by, "understudy.reason": reason}
    return {"fields": fields}


def json_body() -> dict[str, Any]:
    """The request's JSON object. Raises Problem."""
    if not request.get_data():
        return {}
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise Problem(400, "the body must be a JSON object")
    return body


def body_field(body: dict[str, Any], name: str, kind: Any, otherwise: Any = None) -> Any:
    """A member of the body, of that kind. Raises Problem, naming it."""
    value = body.get(name, otherwise)
    if value is None:
        raise Problem(400, f"{name}: required", name)
    if not isinstance(value, kind):
        words = {str: "text", bool: "true or false", list: "a list"}.get(kind, "a number")
        raise Problem(400, f"{name}: expected {words}; found {type(value).__name__}", name)
    return value


def handle_errors(app: Flask) -> None:
    """Every error is problem+json."""
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, _unexpected)


def _answer(status: int, title: str, detail: str, **more: Any) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    answer = Response(json.dumps(body), status, mimetype="application/problem+json")
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="understudy"'
    if status == 503:
        answer.headers["Retry-After"] = str(RetryAfter.SHORTLY.value)
    return answer


def _problem(error: Problem) -> Response:
    return _answer(error.status, HTTPStatus(error.status).phrase, error.detail, **_only(field=error.field))


def _only(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _http_problem(error: HTTPException) -> Response:
    status = error.code or 500
    answer = _answer(status, error.name, error.description or error.name)
    if allowed := getattr(error, "valid_methods", None):
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _unexpected(error: Exception) -> Response:
    log.error("the control plane failed", exc_info=error)
    return _answer(500, "Internal Server Error", f"the control plane failed ({type(error).__name__}); see its log")
