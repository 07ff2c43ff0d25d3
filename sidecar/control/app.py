"""The control plane: health, readiness, metrics, the state of each endpoint, and what people do about it.

Served on a port of its own. Reading is free; every action needs `Authorization: Bearer CONTROL_TOKEN`. Errors are
problem+json (RFC 9457) and name the field at fault.
"""

from __future__ import annotations

import hmac
import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from flask import Flask, Response, g, json, jsonify, request
from sqlalchemy import BigInteger, Column, Engine, Integer, String, Table, Text, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from sidecar.contract import Action, Contract, Endpoint
from sidecar.events import audit_entries
from sidecar.journal.writer import RecordingFailed
from sidecar.server.certificates import expiries
from sidecar.server.phase import Phase
from sidecar.settings import PREFIX, Settings
from sidecar.standby.outbox.review import Desk, Undecidable
from sidecar.standby.promotion import NotFit, Promotion
from sidecar.storage.database import metadata
from sidecar.takeover.coordinator import Switchboard
from sidecar.telemetry.metrics import CIRCUIT, SharedState, serve_metrics

log = logging.getLogger(__name__)

marks: Final = Table(
    "marks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("by", String(200), nullable=False),
)


class Standby(Protocol):
    """What the control plane asks of the standby. Completeness: resource → {"ratio": 0..1 or None, …}."""

    def completeness(self) -> Mapping[str, Any]: ...
    def ready(self, endpoint_id: str) -> tuple[bool, str]: ...
    def revoke(self, user: str) -> Any: ...
    def restore(self, user: str) -> Any: ...


class Parity(Protocol):
    def ratio(self, endpoint: str) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the rest of what is shown comes from, and what starts a backfill."""

    desk: Desk
    promotion: Promotion
    phase: Callable[[], Phase] = lambda: Phase.SERVING
    database_lost: Callable[[], bool] = lambda: False
    shipper: Callable[[], Mapping[str, Any]] = dict
    """At least `unshipped`: a number of events, or None."""
    start_backfill: Callable[[], Any] | None = None
    backfill: Callable[[], Mapping[str, Any]] | None = None
    """Progress, as the backfill tells it."""
    parity_counts: Callable[[str], Mapping[str, Any]] = lambda _: {}
    """What stands beside an endpoint's ratio: equal, different, unknown."""
    parity_samples: Callable[[], Mapping[str, Any]] = dict
    """Per endpoint its latest differences, masked."""
    routes: Sequence[tuple[str, str, Callable[..., Any]]] = ()
    """What other modules add: rule, method, view."""


class Problem(Exception):
    """An error of ours, with its status, a sentence, and the field at fault if there is one."""

    def __init__(self, status: int, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field


def create_control(
    settings: Settings,
    contract: Contract,
    engine: Engine,
    standby: Standby,
    switchboard: Switchboard,
    parity: Parity | None = None,
    *,
    sources: Sources,
) -> Flask:
    """The Flask application. The caller ticks `switchboard`."""
    app = Flask("understudy.control")
    plane = _Plane(settings, contract, engine, standby, switchboard, parity, sources)
    app.before_request(plane.admit)
    for rule, method, view in [*plane.routes(), *sources.routes]:
        app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, _unexpected)
    serve_metrics(app, SharedState(plane.readings()))
    return app


@dataclass(frozen=True)
class _Plane:
    settings: Settings
    contract: Contract
    engine: Engine
    standby: Standby
    switchboard: Switchboard
    parity: Parity | None
    sources: Sources

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("/healthz", "GET", self.healthz),
            ("/readyz", "GET", self.readyz),
            ("/ready/<endpoint>", "GET", self.ready),
            ("/endpoints", "GET", self.endpoints),
            ("/endpoints/<endpoint>/takeover", "POST", self.takeover),
            ("/endpoints/<endpoint>/handback", "POST", self.handback),
            ("/endpoints/<endpoint>/route", "POST", self.route),
            ("/resources", "GET", self.resources),
            ("/resources/<resource>/promote", "POST", self.promote),
            ("/resources/<resource>/demote", "POST", self.demote),
            ("/transitions", "GET", self.transitions),
            ("/outbox", "GET", lambda: self.sources.desk.entries()),
            ("/outbox/<entry>", "GET", self.outbox_entry),
            ("/outbox/<entry>/retry", "POST", lambda entry: self.outbox_entry(entry, self.sources.desk.retry)),
            ("/outbox/<entry>/discard", "POST", lambda entry: self.outbox_entry(entry, self.sources.desk.discard)),
            ("/revocations", "POST", self.revocations),
            ("/marks", "POST", self.mark),
            ("/marks", "GET", self.marks),
            ("/standby", "GET", lambda: {"resources": dict(self.standby.completeness())}),
            ("/parity", "GET", self.parities),
            ("/shipper", "GET", lambda: dict(self.sources.shipper())),
            ("/backfill", "POST", self.start_backfill),
            ("/backfill", "GET", self.backfill),
        ]

    def admit(self) -> None:
        """Actions need the token, compared in constant time."""
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        token = self.settings.control_token
        if not token:
            raise Problem(403, f"actions are refused because {PREFIX}CONTROL_TOKEN is not set")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
        if scheme.lower() != "bearer" or not same:
            raise Problem(401, f"actions need `Authorization: Bearer` with the token in {PREFIX}CONTROL_TOKEN")
        g.by = request.headers.get("X-Understudy-By", "control")[:200]

    def healthz(self) -> Any:
        """Whether users may be sent here: others, or the upstream, serve them better where the database is away."""
        phase = self.sources.phase()
        if self.settings.database_lost == "refuse" and self.sources.database_lost():
            raise Problem(503, "the database is away: send nobody here")
        if phase is not Phase.SERVING:
            raise Problem(503, f"the sidecar is {phase.name.lower()}: send nobody here")
        return {"status": "alive"}

    def readyz(self) -> Any:
        self.healthz()
        try:
            self._ask_database()
        except SQLAlchemyError as error:
            raise Problem(503, f"the database does not answer ({type(error).__name__})") from None
        return {"status": "ready"}

    def _ask_database(self) -> None:
        with self.engine.execution_options(writes=False).connect() as connection:
            connection.execute(text("SELECT 1"))

    def _database_up(self) -> int:
        try:
            self._ask_database()
        except SQLAlchemyError:
            return 0
        return 1

    def ready(self, endpoint: str) -> Any:
        self.healthz()
        able, reason = self.standby.ready(self._known(endpoint))
        if not able:
            raise Problem(503, reason)
        return {"ready": True, "reason": reason}

    def endpoints(self) -> Any:
        completeness = self.standby.completeness()
        return jsonify([self._endpoint(name, completeness) for name in self.contract.endpoints])

    def _endpoint(self, name: str, completeness: Mapping[str, Any]) -> dict[str, Any]:
        state, declared = self.switchboard.state(name), self.contract.endpoints[name]
        able, reason = self.standby.ready(name)
        return {
            "id": name,
            "name": declared.name,
            "mode": state.mode,
            "percent": state.percent,
            "circuit": state.circuit.state,
            "circuit_reason": state.circuit.reason,
            "answered_by": state.answered_by,
            "reason": state.reason,
            "changed_at": state.changed_at or None,
            "changed_by": state.changed_by,
            "ready": able,
            "ready_reason": reason,
            "parity": self._parity(name),
            "completeness": _ratio(completeness.get(declared.resource)) if declared.resource else None,
        }

    def _act(self, action: Callable[..., Any], endpoint: str, *given: Any) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        action(self._known(endpoint), *given, g.by, reason)
        return self._endpoint(endpoint, self.standby.completeness())

    def takeover(self, endpoint: str) -> Any:
        return self._act(self.switchboard.takeover, endpoint)

    def handback(self, endpoint: str) -> Any:
        return self._act(self.switchboard.handback, endpoint)

    def route(self, endpoint: str) -> Any:
        percent = body_field(json_body(), "percent", (int, float))
        if isinstance(percent, bool) or not math.isfinite(percent) or not 0 <= percent <= 100:
            raise Problem(400, f"percent: expected a number from 0 to 100; found {percent!r}", "percent")
        return self._act(self.switchboard.route, endpoint, percent)

    def resources(self) -> Any:
        owned, pending = self.sources.promotion.owned(), self.sources.desk.entries()["entries"]
        return {
            name: {
                **row,
                "owner": "standby" if name in owned else "upstream",
                "promoted": owned.get(name),
                "pending": sum(entry["resource"] == name and entry["state"] != "parked" for entry in pending),
                "parked": sum(entry["resource"] == name and entry["state"] == "parked" for entry in pending),
                "doubts": self.sources.promotion.doubts(name),
            }
            for name, row in self.standby.completeness().items()
        }

    def promote(self, resource: str) -> Any:
        body = json_body()
        force, reason = body_field(body, "force", bool, False), body_field(body, "reason", str, "")
        try:
            overruled = self.sources.promotion.promote(self._resource(resource), g.by, reason, force=force)
        except NotFit as error:
            raise Problem(409, f"{resource} is not fit to be promoted: {error}") from None
        log.warning("%s was promoted", resource, extra=_said("promote", resource, g.by, reason))
        return {"resource": resource, "owner": "standby", "overruled": overruled}

    def demote(self, resource: str) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        missed = self.sources.promotion.demote(self._resource(resource))
        log.warning("%s was demoted", resource, extra=_said("demote", resource, g.by, reason))
        return {"resource": resource, "owner": "upstream", "to_replay": missed}

    def outbox_entry(self, entry: str, decide: Callable[[str, str, str], Any] | None = None) -> Any:
        try:
            if decide is None:
                return self.sources.desk.entry(entry)
            decided = decide(entry, g.by, body_field(json_body(), "reason", str, ""))
        except LookupError:
            raise Problem(404, f"the outbox has no entry {entry!r}") from None
        except Undecidable as error:
            raise Problem(409, str(error)) from None
        log.warning("a parked write was decided", extra=_said(decided["state"], entry, g.by, decided["reason"] or ""))
        return decided

    def _resource(self, name: str) -> str:
        if name not in self.contract.resources:
            raise Problem(404, f"{self.contract.name} has no resource {name!r}")
        return name

    def transitions(self) -> Any:
        return jsonify([{name: getattr(made, name) for name in made.__slots__} for made in self.switchboard.history()])

    def revocations(self) -> Any:
        body = json_body()
        user, revoked = body_field(body, "user", str), body_field(body, "revoked", bool, True)
        if not 0 < len(user) <= 200:
            raise Problem(400, "user: expected a name of 1 to 200 characters", "user")
        (self.standby.revoke if revoked else self.standby.restore)(user)
        recorded = True
        try:
            audit_entries.record(self.settings, "revoke" if revoked else "restore", g.by, "", user=user)
        except (RecordingFailed, OSError) as error:  # it holds all the same
            recorded = False
            log.error("a revocation was not recorded: %s", error, extra={"fields": {"event.action": "record_failed"}})
        return {"user": user, "revoked": revoked, "recorded": recorded}

    def mark(self) -> Any:
        said = body_field(json_body(), "text", str).strip()
        if not said or len(said) > 2000:
            raise Problem(400, "text: expected 1 to 2000 characters", "text")
        row = {"at": time.time_ns(), "text": said, "by": g.by}
        with self.engine.begin() as connection:
            connection.execute(insert(marks).values(row))
        return row, 201

    def marks(self) -> Any:
        query = select(marks.c.at, marks.c.text, marks.c.by).order_by(marks.c.id.desc()).limit(500)
        with self.engine.execution_options(writes=False).connect() as connection:
            return jsonify([dict(row._mapping) for row in connection.execute(query)])

    def start_backfill(self) -> Any:
        if self.sources.start_backfill is None:
            raise Problem(501, "this sidecar runs without a backfill")
        self.sources.start_backfill()
        return self.backfill(), 202

    def backfill(self) -> Any:
        if self.sources.backfill is None:
            raise Problem(501, "this sidecar runs without a backfill")
        return dict(self.sources.backfill())

    def parities(self) -> Any:
        names, samples = self.contract.endpoints, self.sources.parity_samples()
        return {
            "endpoints": {
                n: {"ratio": self._parity(n), **self.sources.parity_counts(n), "samples": samples.get(n, [])}
                for n in names
            }
        }

    def _parity(self, endpoint: str) -> float | None:
        return None if self.parity is None else self.parity.ratio(endpoint)

    def _known(self, endpoint: str) -> str:
        if endpoint not in self.contract.endpoints:
            raise Problem(404, f"{self.contract.name} has no endpoint {endpoint!r}")
        return endpoint

    def readings(self) -> dict[str, Callable[[], Any]]:
        """The gauges; endpoints by name, as in the other metrics."""
        declared = self.contract.endpoints
        states = self.switchboard.states
        return {
            "database_up": self._database_up,
            "circuit_state": lambda: {declared[n].name: CIRCUIT[s.circuit.state] for n, s in states().items()},
            "outbox_pending": lambda: len(self.sources.desk.entries()["entries"]),
            "outbox_oldest_seconds": lambda: _oldest(self.sources.desk.entries()["entries"]),
            "outbox_parked": lambda: len(self.sources.desk.entries()["parked"]),
            "parity_ratio": lambda: {declared[name].name: self._parity(name) for name in declared},
            "standby_completeness_ratio": lambda: {n: _ratio(v) for n, v in self.standby.completeness().items()},
            "certificate_expiry_timestamp_seconds": lambda: expiries(self.settings.certificates),
            "standby_ready": lambda: {
                e.name: float(self.standby.ready(n)[0]) for n, e in declared.items() if _coverable(e)
            },
            "journal_unshipped_events": lambda: self.sources.shipper().get("unshipped"),
            "journal_behind_seconds": lambda: _behind(self.sources.shipper()),
            "data_free_ratio": lambda: _free(self.settings.data),
        }


def _said(action: str, what: str, by: str, reason: str) -> dict[str, Any]:
    fields = {"event.action": action, "understudy.subject": what, "understudy.by": by, "understudy.reason": reason}
    return {"fields": fields}


def _oldest(outbox: list[Mapping[str, Any]]) -> float | None:
    times = [entry["accepted_at"] for entry in outbox]
    return max(0.0, (time.time_ns() - min(times)) / 1e9) if times else None


def _coverable(endpoint: Endpoint) -> bool:
    """What only the upstream can answer is never ready, and that is no trouble."""
    return endpoint.action is not Action.CALL and (endpoint.resource is not None or endpoint.public)


def _behind(shipper: Mapping[str, Any]) -> float | None:
    """The age of the oldest unshipped event, and of that news: a shipper that died tells nothing new."""
    if "at" not in shipper:
        return None
    return max(0.0, time.time() - float(shipper["at"])) + float(shipper.get("oldest_seconds") or 0)


def _free(folder: Path) -> float | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free / usage.total


def _ratio(completeness: Any) -> float | None:
    ratio = completeness.get("ratio") if isinstance(completeness, Mapping) else completeness
    return None if ratio is None else float(ratio)


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
        words = {str: "text", bool: "true or false"}.get(kind, "a number")
        raise Problem(400, f"{name}: expected {words}; found {type(value).__name__}", name)
    return value


def _answer(status: int, title: str, detail: str, **more: Any) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    answer = Response(json.dumps(body), status, mimetype="application/problem+json")
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="understudy"'
    if status == 503:
        answer.headers["Retry-After"] = "5"
    return answer


def _problem(error: Problem) -> Response:
    from http import HTTPStatus

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
