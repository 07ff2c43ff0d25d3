"""The control plane's part for policies: their modes and exceptions, the report, and the refusal to stop users."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from flask import g, request
from sqlalchemy import Engine, select

from sidecar.access.activity import habits
from sidecar.access.identities import People
from sidecar.access.policies import Mode
from sidecar.access.policy_store import Rulebook, exceptions
from sidecar.access.simulation import Hindsight, Past, replay
from sidecar.contract import Contract
from sidecar.control.app import Problem, body_field, json_body
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.settings import duration
from sidecar.standby.tables import credentials, revocations
from sidecar.timeunits import DAY

log = logging.getLogger(__name__)
WEEK: Final = 7 * DAY
LAG: Final = 60.0
"""Seconds that the event store may be behind when the past is to decide."""
Route = tuple[str, str, Callable[..., Any]]


class PolicyPlane:
    """Its routes, for `create_control`."""

    def __init__(
        self, contract: Contract, engine: Engine, rulebook: Rulebook, open_store: Callable[[], EventStore],
        behind: Callable[[], float | None] = lambda: 0.0,
    ) -> None:  # fmt: skip
        """`behind`: the age in seconds of the oldest exchange that the event store does not have; None: unknown."""
        self._contract = contract
        self._reader = engine.execution_options(writes=False)
        self._rulebook = rulebook
        self._people = People(contract, engine)
        self._open_store = open_store
        self._behind = behind

    def routes(self) -> list[Route]:
        return [
            ("/policies", "GET", lambda: {"policies": self._rulebook.told()}),
            ("/policies/report", "GET", self.report),
            ("/policies/<policy>/off", "POST", lambda policy: self.set_mode(policy, Mode.OFF)),
            ("/policies/<policy>/report-only", "POST", lambda policy: self.set_mode(policy, Mode.REPORT)),
            ("/policies/<policy>/enforce", "POST", self.enforce),
            ("/policies/<policy>/exceptions", "POST", self.allow),
        ]

    def report(self) -> Any:
        """?since=7d&policy=NAME: what each policy would have stopped."""
        given = request.args.get("since", "7d")
        try:
            span = int(duration(given) * 1e9)
        except ValueError as error:
            raise Problem(400, f"since: expected {error}; found {given!r}", "since") from None
        names = request.args.getlist("policy") or list(self._rulebook.policies)
        return self._replayed([self._known(name) for name in names], span)

    def set_mode(self, policy: str, mode: Mode) -> Any:
        reason = body_field(json_body(), "reason", str, "")
        self._open(policy)
        self._rulebook.set_mode(self._known(policy), mode, g.by, reason)
        self._say(f"policy {policy}: {mode}", policy, mode, reason)
        return {"policy": policy, "mode": self._rulebook.mode(policy)}

    def enforce(self, policy: str) -> Any:
        """Refused with 409 while people who did it with success would be stopped, unless each is excepted, or force."""
        body = json_body()
        force = body_field(body, "force", bool, False)
        would = []
        if not force:
            behind = self._behind()
            if behind is None or behind > LAG:
                lag = "an unknown time" if behind is None else f"{behind:.0f} s"
                raise Problem(409, f"the event store is {lag} behind the journal: nobody can say who would be stopped")
            found = self._replayed([self._known(policy)], WEEK)["policies"][policy]
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
        return self.set_mode(policy, Mode.ENFORCE)

    def allow(self, policy: str) -> Any:
        body = json_body()
        user, detail = body_field(body, "user", str), body_field(body, "detail", str, "")
        reason, remove = body_field(body, "reason", str, ""), body_field(body, "remove", bool, False)
        if not user or len(user) > 200 or len(detail) > 200:
            raise Problem(400, "user: expected a name of 1 to 200 characters, and a detail of at most 200", "user")
        self._open(policy)
        if remove:
            if not self._rulebook.disallow(policy, user, detail):
                raise Problem(404, f"{policy} has no such exception for {user!r}")
        else:
            self._rulebook.allow(policy, user, detail, g.by, reason)
        self._say(f"policy {policy}: exception", policy, "exception_removed" if remove else "exception", reason)
        return {"policy": policy, "user": user, "detail": detail, "excepted": not remove}

    def _known(self, policy: str) -> str:
        if policy not in self._rulebook.policies:
            raise Problem(404, f"{self._contract.name} has no policy {policy!r}")
        return policy

    def _open(self, policy: str) -> None:
        if self._rulebook.policies[self._known(policy)].fixed:
            raise Problem(409, f"{policy} always holds: `understudy restore USER` takes a revocation back")

    def _say(self, text: str, policy: str, action: str, reason: str) -> None:
        fields = {"event.action": "policy", "understudy.subject": policy, "understudy.by": g.by}
        log.warning(text, extra={"fields": {**fields, "understudy.did": action, "understudy.reason": reason}})

    def _replayed(self, names: list[str], span: int) -> dict[str, Any]:
        now = time.time_ns()
        since = now - span
        with self._reader.connect() as connection, connection.begin():
            gone = frozenset(connection.scalars(select(revocations.c.user)))
            before = credentials.c.accepted_at < since
            signed_in = set(connection.scalars(select(credentials.c.user).where(before)))
            columns = (exceptions.c.policy, exceptions.c.user, exceptions.c.detail)
            excepted = frozenset((row[0], row[1], row[2]) for row in connection.execute(select(*columns)))
            days: dict[str, dict[int, int]] = {}
            for row in connection.execute(select(habits)):
                days.setdefault(row.user, {})[row.day] = row.most
        past = Past(self._people.everyone(), gone, signed_in, days)
        hindsight = Hindsight(self._contract, [self._rulebook.policies[name] for name in names], past, excepted)
        store = self._open_store()
        try:
            replay(store, hindsight, since, now)
        except StoreUnavailable as error:
            raise Problem(503, f"the event store cannot be asked what users did: {error}") from None
        finally:
            store.close()
        return {"since": since, "until": now, **hindsight.report()}
