"""Per-endpoint health: closed, open, half-open. Pure: (circuit, tallies, now) → circuit.

Tallies come in buckets of one second, from all processes of all nodes; their order and how they are split over
processes change nothing. Failures are upstream attempts that failed or whose outcome is unknown; a 4xx is good. Every
transition begins a new epoch, and only tallies of the current epoch count, so late news cannot reopen what has closed.

One or two failures never open a circuit: the upstream fails 3 to 6% of requests on a normal day. Three refused
connections in a row do, and so do four failures in a row that are spread over more than one second, whatever the
traffic; with more traffic, so does half of the window failing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sidecar.timeunits import SECOND

RATES: Final = ((5, 10), (30, 5))
"""(window in seconds, failures at least): opens when they are half or more of the window's attempts."""
RUN: Final = 4
"""Failures in a row, over at least two seconds of the clock, that open."""
REFUSED_RUN: Final = 3
RUN_WINDOW: Final = 120
"""How far back a run of failures may begin, in seconds."""
PROBES: Final = 3
"""Successes in a row that close a half-open circuit."""
FIRST_BACKOFF: Final = 1.0
LAST_BACKOFF: Final = 30.0
CALM: Final = 60
"""A circuit that opens again within so many seconds of closing goes on with its longer back-off."""


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts that ended within one second of the wall clock. `refused` of the `bad` found no listener."""

    second: int
    good: int = 0
    bad: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Circuit:
    """`since` is wall time in ns; `backoff` in seconds is how long it stays open."""

    state: State = State.CLOSED
    since: int = 0
    backoff: float = 0.0
    epoch: int = 0
    reason: str = ""


def evaluate(circuit: Circuit, tallies: Iterable[Tally], now: int) -> Circuit:
    """The circuit after `tallies`, all of its own epoch, at `now` (wall ns). The same object when nothing changes."""
    if circuit.state is State.OPEN:
        # A wall clock set back must not keep it open: waiting also ends when `since` lies in the future.
        waited = now - circuit.since
        return _half_open(circuit, now) if waited >= circuit.backoff * SECOND or waited < 0 else circuit
    merged = merge(tallies)
    if circuit.state is State.HALF_OPEN:
        if any(tally.bad for tally in merged):
            return _open(circuit, _longer(circuit.backoff), now, "probe_failed")
        if sum(tally.good for tally in merged) >= PROBES:
            return _next(circuit, State.CLOSED, circuit.backoff, now, "recovered")
        return circuit
    reason = why_open(merged, now // SECOND)
    if reason is None:
        return circuit
    calm = now - circuit.since > CALM * SECOND
    return _open(circuit, FIRST_BACKOFF if calm or not circuit.backoff else _longer(circuit.backoff), now, reason)


def why_open(tallies: Sequence[Tally], second: int) -> str | None:
    """Why a closed circuit must open, one word, or None. `tallies` as `merge` gives them."""
    run = _run(tallies, second)
    if sum(tally.refused for tally in run) >= REFUSED_RUN:
        return "refused"
    if len(run) >= 2 and sum(tally.bad for tally in run) >= RUN:
        return "consecutive_failures"
    for window, least in RATES:
        recent = [tally for tally in tallies if tally.second > second - window]
        bad, good = sum(tally.bad for tally in recent), sum(tally.good for tally in recent)
        if bad >= least and bad >= good:
            return "failure_rate"
    return None


def merge(tallies: Iterable[Tally]) -> list[Tally]:
    """One tally a second, oldest first; seconds without attempts are left out."""
    seconds: dict[int, tuple[int, int, int]] = {}
    for tally in tallies:
        good, bad, refused = seconds.get(tally.second, (0, 0, 0))
        seconds[tally.second] = (good + tally.good, bad + tally.bad, refused + tally.refused)
    return [Tally(second, *counts) for second, counts in sorted(seconds.items()) if any(counts)]


def _run(tallies: Sequence[Tally], second: int) -> list[Tally]:
    """The seconds at the end in which nothing was good, newest first."""
    run = []
    for tally in reversed(tallies):
        if tally.good or tally.second <= second - RUN_WINDOW:
            break
        run.append(tally)
    return run


def _longer(backoff: float) -> float:
    return min(LAST_BACKOFF, max(FIRST_BACKOFF, backoff * 2))


def _open(circuit: Circuit, backoff: float, now: int, reason: str) -> Circuit:
    return _next(circuit, State.OPEN, backoff, now, reason)


def _half_open(circuit: Circuit, now: int) -> Circuit:
    return _next(circuit, State.HALF_OPEN, circuit.backoff, now, "probing")


def _next(circuit: Circuit, state: State, backoff: float, now: int, reason: str) -> Circuit:
    return replace(circuit, state=state, since=now, backoff=backoff, epoch=circuit.epoch + 1, reason=reason)


def probe_now(circuit: Circuit, now: int) -> Circuit:
    """An open circuit half-open at once, because a person said so; others as they are."""
    return _half_open(circuit, now) if circuit.state is State.OPEN else circuit
