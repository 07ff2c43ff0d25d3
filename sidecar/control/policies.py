"""The control plane's part for policies: their modes and exceptions, the report, and the refusal to stop users."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from flask import Blueprint, g, request
from sqlalchemy import select

from sidecar.access.activity import habits
from sidecar.access.identities import People
from sidecar.access.policies import Mode
from sidecar.access.policy_store import exceptions
from sidecar.access.simulation import Hindsight, Past, replay
from sidecar.control.requests import Problem, body_field, json_body
from sidecar.control.services import ControlServices
from sidecar.events.store import StoreUnavailable
from sidecar.settings import duration
from sidecar.standby.tables import credentials, revocations
from sidecar.timeunits import DAY, SECOND

log = logging.getLogger(__name__)
WEEK: Final = 7 * DAY
LAG: Final = 60.0
"""Seconds that the event store may be behind when the past is to decide."""


def blueprint(services: ControlServices) -> Blueprint:
    views = Blueprint("policies", __name__)
    people = People(services.contract, services.engine)
    reader = services.engine.execution_options(writes=False)

    def known(policy: str) -> str:
        if policy not in services.policies.policies:
            raise Problem(404, f"{services.contract.name} has no policy {policy!r}")
        return policy

    def refuse_fixed(policy: str) -> None:
        if services.policies.policies[known(policy)].fixed:
            raise Problem(409, f"{policy} always holds: `understudy restore USER` takes a revocation back")

    def say(text: str, policy: str, action: str, reason: str) -> None:
        fields = {"event.action": "policy", "understudy.subject": policy, "understudy.by": g.by}
        log.warning(text, extra={"fields": {**fields, "understudy.did": action, "understudy.reason": reason}})

    def replayed(names: list[str], span: int) -> dict[str, Any]:
        now = time.time_ns()
        since = now - span
        with reader.connect() as connection, connection.begin():
            gone = frozenset(connection.scalars(select(revocations.c.user)))
            before = credentials.c.accepted_at < since
            signed_in = set(connection.scalars(select(credentials.c.user).where(before)))
            columns = (exceptions.c.policy, exceptions.c.user, exceptions.c.detail)
            excepted = frozenset((row[0], row[1], row[2]) for row in connection.execute(select(*columns)))
            days: dict[str, dict[int, int]] = {}
            for row in connection.execute(select(habits)):
                days.setdefault(row.user, {})[row.day] = row.most
        past = Past(people.everyone(), gone, signed_in, days)
        hindsight = Hindsight(services.contract, [services.policies.policies[name] for name in names], past, excepted)
        store = services.open_store()
        try:
            replay(store, hindsight, since, now)
        except StoreUnavailable as error:
            raise Problem(503, f"the event store cannot be asked what users did: {error}") from None
        finally:
            store.close()
        return {"since": since, "until": now, **hindsight.report()}

    def set_mode(policy: str, mode: Mode) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        refuse_fixed(policy)
        services.policies.set_mode(known(policy), mode, g.by, reason)
        say(f"policy {policy}: {mode}", policy, mode, reason)
        return {"policy": policy, "mode": services.policies.mode(policy)}

    @views.get("/policies")
    def policies() -> Any:
        return {"policies": services.policies.told()}

    @views.get("/policies/report")
    def report() -> Any:
        """?since=7d&policy=NAME: what each policy would have stopped."""
        given = request.args.get("since", "7d")
        try:
            span = int(duration(given) * SECOND)
        except ValueError as error:
            raise Problem(400, f"since: expected {error}; found {given!r}", "since") from None
        names = request.args.getlist("policy") or list(services.policies.policies)
        return replayed([known(name) for name in names], span)

    @views.post("/policies/<policy>/off")
    def off(policy: str) -> Any:
        return set_mode(policy, Mode.OFF)

    @views.post("/policies/<policy>/report-only")
    def report_only(policy: str) -> Any:
        return set_mode(policy, Mode.REPORT)

    @views.post("/policies/<policy>/enforce")
    def enforce(policy: str) -> Any:
        """Refused with 409 while people who did it with success would be stopped, unless each is excepted, or force."""
        body = json_body()
        force = body_field(body, "force", bool, False)
        would = []
        if not force:
            behind = services.events_behind()
            if behind is None or behind > LAG:
                lag = "an unknown time" if behind is None else f"{behind:.0f} s"
                raise Problem(409, f"the event store is {lag} behind the journal: nobody can say who would be stopped")
            found = replayed([known(policy)], WEEK)["policies"][policy]
            would = [row for row in found["stopped"] if row["legitimate"]]
        if would:
            people = sorted({row["user"] or "nobody" for row in would})
            shown = ", ".join(people[:5]) + (f" and {len(people) - 5} more" if len(people) > 5 else "")
            times = sum(row["succeeded"] for row in would)
            raise Problem(
                409,
                f"{policy} would have stopped {shown} {times} times in the last 7 days, with requests that succeeded: "
                "except each of them, revoke them, or use force",
            )
        return set_mode(policy, Mode.ENFORCE)

    @views.post("/policies/<policy>/exceptions")
    def allow(policy: str) -> Any:
        body = json_body()
        user, detail = body_field(body, "user", str), body_field(body, "detail", str, "")
        reason, remove = body_field(body, "reason", str, ""), body_field(body, "remove", bool, False)
        if not user or len(user) > 200 or len(detail) > 200:
            raise Problem(400, "user: expected a name of 1 to 200 characters, and a detail of at most 200", "user")
        refuse_fixed(policy)
        if remove:
            if not services.policies.disallow(policy, user, detail):
                raise Problem(404, f"{policy} has no such exception for {user!r}")
        else:
            services.policies.allow(policy, user, detail, g.by, reason)
        say(f"policy {policy}: exception", policy, "exception_removed" if remove else "exception", reason)
        return {"policy": policy, "user": user, "detail": detail, "excepted": not remove}

    return views
