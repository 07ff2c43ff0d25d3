"""A canary: the standby gets more of an endpoint's callers step by step, and less again by itself when it does worse.

`judge` is pure. `walk` asks and acts through two functions that it is given, and waits through a third. A step whose
look gave no figures is unknown: not good, so the canary stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

PARITY_FLOOR: Final = 0.99
PATIENCE: Final = 6
"""Looks without a figure after which it goes back: a canary nobody can judge is not left standing."""


class Verdict(StrEnum):
    FORWARD = "forward"
    BACK = "back"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Look:
    """What one endpoint shows. `parity` from 0 to 1, None: nothing compared. `different` counts differences so far."""

    ready: bool
    parity: float | None
    different: int | None


def judge(before: Look, after: Look, floor: float = PARITY_FLOOR) -> tuple[Verdict, str]:
    """Whether a step was good: (verdict, why). Worse is: not ready, new differences below the floor, or falling."""
    if not after.ready:
        return Verdict.BACK, "the standby is not ready"
    if after.parity is None or after.different is None or before.different is None:
        return Verdict.UNKNOWN, "no figures for parity"
    if after.parity < floor:
        return Verdict.BACK, f"parity {after.parity:.2%} is below {floor:.2%}"
    if after.different > before.different and before.parity is not None and after.parity < before.parity:
        return Verdict.BACK, f"parity fell from {before.parity:.2%} to {after.parity:.2%}"
    return Verdict.FORWARD, f"parity {after.parity:.2%}"


def look(control: Callable[[str], Any], endpoint: str) -> Look:
    """The endpoint now, from the control plane's /endpoints and /parity. `control` gets a path and returns JSON."""
    row = next((row for row in control("/endpoints") if row["id"] == endpoint), None)
    if row is None:
        raise LookupError(endpoint)
    score = control("/parity")["endpoints"].get(endpoint, {})
    return Look(bool(row["ready"]), score.get("ratio"), score.get("different"))


def walk(
    steps: Sequence[float],
    see: Callable[[], Look],
    route: Callable[[float, str], None],
    wait: Callable[[], None],
    said: Callable[[str], None] = lambda _: None,
) -> bool:
    """Goes through `steps` (percent, rising), one `wait` each. True: the last was reached and held; False: back at 0.

    Whatever breaks off a step (an error of the control plane, Ctrl-C) takes the canary back before it is raised.
    """
    try:
        for percent in steps:
            before = see()
            route(percent, "canary")
            verdict, why = _held(before, see, wait)
            said(f"{percent:g}%: {verdict}, {why}")
            if verdict is not Verdict.FORWARD:
                route(0, f"canary: {why}")
                return False
    except BaseException:
        route(0, "canary: broken off")
        raise
    return True


def _held(before: Look, see: Callable[[], Look], wait: Callable[[], None]) -> tuple[Verdict, str]:
    verdict, why = Verdict.UNKNOWN, ""
    for _ in range(PATIENCE):
        wait()
        verdict, why = judge(before, see())
        if verdict is not Verdict.UNKNOWN:
            break
    return verdict, why
