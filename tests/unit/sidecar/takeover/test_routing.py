"""Who answers: the operator's word, then the circuit, then the percentage; writes go upstream or nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.takeover.circuit import Circuit, State
from sidecar.takeover.routing import EndpointState, Mode, Who, chosen, decide

OPEN, HALF = Circuit(State.OPEN), Circuit(State.HALF_OPEN)


@pytest.mark.parametrize(
    ("state", "may_probe", "read", "write", "reason"),
    [
        (EndpointState(), True, Who.UPSTREAM, Who.UPSTREAM, ""),
        (EndpointState(Mode.STANDBY), True, Who.STANDBY, Who.NOBODY, "takeover"),
        (EndpointState(Mode.STANDBY, circuit=HALF), True, Who.STANDBY, Who.NOBODY, "takeover"),
        (EndpointState(circuit=OPEN), True, Who.STANDBY, Who.NOBODY, "circuit_open"),
        (EndpointState(circuit=HALF), True, Who.PROBE, Who.PROBE, "probe"),
        (EndpointState(circuit=HALF), False, Who.STANDBY, Who.NOBODY, "circuit_half_open"),
        (EndpointState(Mode.PERCENT, 100, OPEN), True, Who.STANDBY, Who.NOBODY, "circuit_open"),
    ],
)
def test_rules(state: EndpointState, may_probe: bool, read: Who, write: Who, reason: str) -> None:
    for is_write, who in ((False, read), (True, write)):
        decision = decide("notes.read", state, "ann", is_write, may_probe=may_probe)
        assert (decision.who, decision.reason) == (who, reason)


@given(st.text(), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_only_adds_callers(caller: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert chosen("notes.read", caller, low) <= chosen("notes.read", caller, high)
    assert chosen("notes.read", caller, 100)
    assert not chosen("notes.read", caller, 0)


def test_the_share_is_the_share_and_differs_by_endpoint() -> None:
    callers = [f"staff-{number}" for number in range(4000)]
    taken = {caller for caller in callers if chosen("notes.read", caller, 25)}
    assert 850 < len(taken) < 1150
    assert taken != {caller for caller in callers if chosen("notes.list", caller, 25)}


def test_a_percentage_concerns_reads_only() -> None:
    state = EndpointState(Mode.PERCENT, 100)
    assert decide("notes.read", state, "ann", False, may_probe=True).reason == "percent"
    assert decide("notes.read", state, "ann", True, may_probe=True).who is Who.UPSTREAM


@pytest.mark.parametrize(
    ("state", "who"),
    [
        (EndpointState(), "upstream"),
        (EndpointState(circuit=HALF), "standby"),
        (EndpointState(Mode.STANDBY), "standby"),
        (EndpointState(Mode.PERCENT, 5), "both"),
        (EndpointState(Mode.PERCENT, 0), "upstream"),
    ],
)
def test_answered_by(state: EndpointState, who: str) -> None:
    assert state.answered_by == who
