"""What people have said of the policies: each one's mode and exceptions, shared by every worker and sidecar.

Promises: reading touches memory only; `refresh`, called every quarter of a second, takes over what other processes
wrote, so that all agree within a second. It survives restarts. When the database fails, what is known goes on holding.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, Text, delete, insert, select

from sidecar.access.policies import Mode, Policy
from sidecar.access.rules import Finding
from sidecar.storage.database import metadata

modes: Final = Table(
    "policy_modes",
    metadata,
    Column("policy", String(100), primary_key=True),
    Column("mode", String(10), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
exceptions: Final = Table(
    "policy_exceptions",
    metadata,
    Column("policy", String(100), primary_key=True),
    Column("user", String(200), primary_key=True),
    Column("detail", String(200), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""`detail` is that of the finding that is excepted; empty: whatever this user does."""
_MODES: Final = select(modes.c.policy, modes.c.mode)
_EXCEPTED: Final = select(exceptions.c.policy, exceptions.c.user, exceptions.c.detail)


@dataclass(frozen=True)
class Verdict:
    """What the policies say of a request: allow, report or deny. `decider` is the first that denies it."""

    word: str = "allow"
    names: tuple[str, ...] = ()
    decider: Policy | None = None


class Rulebook:
    """One per process."""

    def __init__(self, policies: Iterable[Policy], engine: Engine, *, brake: bool = False) -> None:
        """`brake`: nothing is denied, whatever a policy's own mode; revocations alone hold."""
        self.policies: Mapping[str, Policy] = {policy.name: policy for policy in policies}
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        self._brake = brake
        self._modes: Mapping[str, Mode] = {name: policy.mode for name, policy in self.policies.items()}
        self._excepted: frozenset[tuple[str, str, str]] = frozenset()
        self.active: tuple[Policy, ...] = self._active()

    def mode(self, policy: str) -> Mode:
        """How it acts now."""
        mode = self._modes[policy]
        braked = self._brake and not self.policies[policy].fixed
        return Mode.REPORT if braked and mode is Mode.ENFORCE else mode

    def excepted(self, user: str | None, finding: Finding) -> bool:
        """Whether a person has allowed it."""
        if user is None or not self._excepted or self.policies[finding.policy].fixed:
            return False
        return bool({(finding.policy, user, ""), (finding.policy, user, finding.detail)} & self._excepted)

    def verdict(self, user: str | None, found: Iterable[Finding], *, lifted: bool = False) -> Verdict:
        """What follows from the findings. `lifted`: an emergency lifts all but revocations."""
        left = [finding.policy for finding in found if not self.excepted(user, finding)]
        if not left:
            return Verdict()
        held = [name for name in left if self.policies[name].fixed] if lifted else left
        denying = next((name for name in held if self.mode(name) is Mode.ENFORCE), None)
        decider = None if denying is None else self.policies[denying]
        return Verdict("report" if decider is None else "deny", tuple(left), decider)

    def refresh(self) -> None:
        """Looks at what people have said since. Raises SQLAlchemyError."""
        with self._reader.connect() as connection, connection.begin():
            said = {row.policy: Mode(row.mode) for row in connection.execute(_MODES)}
            self._excepted = frozenset((row[0], row[1], row[2]) for row in connection.execute(_EXCEPTED))
        self._modes = {
            name: policy.mode if policy.fixed else said.get(name, policy.mode) for name, policy in self.policies.items()
        }
        self.active = self._active()

    def _active(self) -> tuple[Policy, ...]:
        return tuple(policy for name, policy in self.policies.items() if self._modes[name] is not Mode.OFF)

    # What people say ------------------------------------------------------------------------------------------------

    def set_mode(self, policy: str, mode: Mode, by: str, reason: str) -> None:
        """From now on it acts so, in every process after its next refresh."""
        row = {"policy": policy, "mode": mode.value, "at": time.time_ns(), "by": by, "reason": reason}
        with self._engine.begin() as connection:
            connection.execute(delete(modes).where(modes.c.policy == policy))
            connection.execute(insert(modes).values(row))
        self.refresh()

    def allow(self, policy: str, user: str, detail: str, by: str, reason: str) -> None:
        """Excepts what the user does against the policy: all of it, or one detail."""
        row = {"policy": policy, "user": user, "detail": detail, "at": time.time_ns(), "by": by, "reason": reason}
        with self._engine.begin() as connection:
            _forget(connection, policy, user, detail)
            connection.execute(insert(exceptions).values(row))
        self.refresh()

    def disallow(self, policy: str, user: str, detail: str) -> bool:
        """Takes an exception back. False: there was none."""
        with self._engine.begin() as connection:
            gone = _forget(connection, policy, user, detail)
        self.refresh()
        return gone

    def told(self) -> list[dict[str, Any]]:
        """Every policy as people see it, with who said what and when (ns)."""
        with self._reader.connect() as connection, connection.begin():
            said = {row.policy: row for row in connection.execute(select(modes))}
            allowed = [dict(row._mapping) for row in connection.execute(select(exceptions).order_by(exceptions.c.at))]
        return [
            {
                "name": name,
                "kind": policy.kind,
                "says": policy.says,
                "status": policy.status,
                "mode": self.mode(name),
                "shipped": policy.mode,
                "at": said[name].at if name in said else None,
                "by": said[name].by if name in said else None,
                "reason": said[name].reason if name in said else None,
                "exceptions": [row for row in allowed if row["policy"] == name],
            }
            for name, policy in self.policies.items()
        ]


def _forget(connection: Connection, policy: str, user: str, detail: str) -> bool:
    where = (exceptions.c.policy == policy) & (exceptions.c.user == user) & (exceptions.c.detail == detail)
    return connection.execute(delete(exceptions).where(where)).rowcount > 0
