"""Upstream or standby, per endpoint and percentage. Pure: no clock, no state of its own.

Order of the rules: what an operator said, then the circuit, then the percentage. A caller's side of a percentage is a
hash of endpoint and caller: it is stable, the same in every process, and raising the share only ever adds callers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from sidecar.takeover.circuit import Circuit, State

_STEPS: Final = 1 << 32


class Mode(StrEnum):
    """Who answers for an endpoint: whoever is well, the standby, or the standby for a share of callers."""

    AUTO = "auto"
    STANDBY = "standby"
    PERCENT = "percent"


class Who(StrEnum):
    """UPSTREAM, STANDBY; PROBE is the upstream too, as a half-open circuit's trial; NOBODY is an honest 503."""

    UPSTREAM = "upstream"
    STANDBY = "standby"
    PROBE = "probe"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers, and why, in one word (empty: nothing out of the ordinary)."""

    who: Who
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What is decided for one endpoint, shared by all processes. `changed_at` is wall time in ns."""

    mode: Mode = Mode.AUTO
    percent: float = 0.0
    circuit: Circuit = field(default_factory=Circuit)
    reason: str = ""
    changed_at: int = 0
    changed_by: str = ""

    @property
    def answered_by(self) -> str:
        """Who answers most callers now: upstream, standby, or both."""
        if self.mode is Mode.STANDBY or self.circuit.state is not State.CLOSED:
            return "standby"
        return "both" if self.mode is Mode.PERCENT and self.percent > 0 else "upstream"


UPSTREAM: Final = Decision(Who.UPSTREAM)
PROBE: Final = Decision(Who.PROBE, "probe")


def decide(endpoint: str, state: EndpointState, caller: str, is_write: bool, *, may_probe: bool) -> Decision:
    """Who answers `caller` at `endpoint`. `may_probe`: no other probe of a half-open circuit is under way."""
    if state.mode is Mode.STANDBY:
        return taken_over(is_write, "takeover")
    if state.circuit.state is State.OPEN:
        return taken_over(is_write, "circuit_open")
    if state.circuit.state is State.HALF_OPEN:
        return PROBE if may_probe else taken_over(is_write, "circuit_half_open")
    if state.mode is Mode.PERCENT and not is_write and chosen(endpoint, caller, state.percent):
        return Decision(Who.STANDBY, "percent")
    return UPSTREAM


def taken_over(is_write: bool, reason: str) -> Decision:
    """The one rule for writes (and calls that are not pure) while the upstream is not asked: nobody takes them."""
    return Decision(Who.NOBODY if is_write else Who.STANDBY, reason)


def chosen(endpoint: str, caller: str, percent: float) -> bool:
    """Whether `caller` is within the first `percent` of all callers of `endpoint`."""
    if percent <= 0:
        return False
    digest = blake2b(f"{endpoint}\0{caller}".encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return int.from_bytes(digest, "big") < percent / 100 * _STEPS
