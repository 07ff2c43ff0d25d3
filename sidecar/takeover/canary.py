"""A canary: the standby gets more of an endpoint's callers step by step, and less again by itself when it does worse.

Worse is: the standby is not ready; its answers differ more often (parity); or users' error budget burns too fast, and
faster than before the step (burn rate: SRE workbook, chapter 5). `judge` is pure. `walk` asks and acts through
functions that it is given, and waits through another. A step whose look gave no figures is unknown: not good, so the
canary stays where it is, and goes back when that does not end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

PARITY_FLOOR: Final = 0.99
OBJECTIVE: Final = Fraction(99, 100)
FEWEST: Final = 3
"""Failed requests below which nothing is said of a burn rate, as in the alerts."""
LOOKS: Final = 10
"""A step is looked at so many times: what does worse does not stand until the step's end."""
PATIENCE: Final = 6
"""Steps' lengths without a figure after which it goes back: a canary nobody can judge is not left standing."""


class Verdict(StrEnum):
    FORWARD = "forward"
    BACK = "back"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Served:
    """What users of the endpoint got within some time: answered, and failed."""

    good: int
    bad: int

    def burn(self, objective: Fraction = OBJECTIVE) -> Fraction | None:
        """How many times faster than the objective allows its error budget is used; None: nobody asked."""
        total = self.good + self.bad
        return Fraction(self.bad, total) / (1 - objective) if total else None


@dataclass(frozen=True)
class Look:
    """What one endpoint shows. `parity` from 0 to 1, None: nothing compared. `different` counts differences so far.
    `served` None: what users got is not known yet."""

    ready: bool
    parity: float | None
    different: int | None
    served: Served | None = None


def judge(before: Look, after: Look, floor: float = PARITY_FLOOR) -> tuple[Verdict, str]:
    """Whether a step is good: (verdict, why)."""
    worse = _worse(before, after, floor)
    if worse is not None:
        return Verdict.BACK, worse
    if after.parity is None or after.different is None or before.different is None:
        return Verdict.UNKNOWN, "no figures for parity"
    burn = after.served.burn() if after.served is not None else None
    if burn is None:
        return Verdict.UNKNOWN, "no figures for what users get"
    return Verdict.FORWARD, f"parity {after.parity:.2%}, burn rate {float(burn):.2g}"


def _worse(before: Look, after: Look, floor: float) -> str | None:
    if not after.ready:
        return "the standby is not ready"
    if after.parity is not None and after.parity < floor:
        return f"parity {after.parity:.2%} is below {floor:.2%}"
    fell = before.parity is not None and after.parity is not None and after.parity < before.parity
    if fell and after.different is not None and before.different is not None and after.different > before.different:
        return f"parity fell from {before.parity:.2%} to {after.parity:.2%}"
    if after.served is None or after.served.bad < FEWEST:
        return None
    burn, burnt = after.served.burn(), before.served.burn() if before.served is not None else None
    if burn is not None and burn > 1 and (burnt is None or burn > burnt):
        was = "unknown" if burnt is None else f"{float(burnt):.2g}"
        return f"the burn rate is {float(burn):.2g}, before it was {was}"
    return None


def look(control: Callable[[str], Any], endpoint: str, seconds: float) -> Look:
    """The endpoint now, and what its users got in the last so many seconds, from the control plane. `control` gets a
    path and returns JSON. Raises LookupError for an endpoint that is not in the contract."""
    row = next((row for row in control("/endpoints") if row["id"] == endpoint), None)
    if row is None:
        raise LookupError(endpoint)
    score = control("/parity")["endpoints"].get(endpoint, {})
    served = control(f"/endpoints/{endpoint}/served?since={seconds:g}s")
    known = None if served["good"] is None else Served(served["good"], served["bad"])
    return Look(bool(row["ready"]), score.get("ratio"), score.get("different"), known)


def walk(
    steps: Sequence[float],
    pause: float,
    see: Callable[[float], Look],
    route: Callable[[float, str], None],
    wait: Callable[[float], None],
    said: Callable[[str], None] = lambda _: None,
) -> bool:
    """Goes through `steps` (percent, rising), `pause` seconds each. True: the last was reached and held; False: back
    at 0. `see` is given for how many seconds back; `wait` how many to wait.

    Whatever breaks off a step (an error of the control plane, Ctrl-C) takes the canary back before it is raised.
    """
    try:
        for percent in steps:
            before = see(pause)
            route(percent, "canary")
            verdict, why = _held(before, pause, see, wait)
            said(f"{percent:g}%: {verdict}, {why}")
            if verdict is not Verdict.FORWARD:
                route(0, f"canary: {why}")
                return False
    except BaseException:
        route(0, "canary: broken off")
        raise
    return True


def _held(
    before: Look, pause: float, see: Callable[[float], Look], wait: Callable[[float], None]
) -> tuple[Verdict, str]:
    verdict, why = Verdict.UNKNOWN, ""
    for number in range(1, LOOKS * PATIENCE + 1):
        wait(pause / LOOKS)
        verdict, why = judge(before, see(number * pause / LOOKS))
        if verdict is Verdict.BACK or (verdict is Verdict.FORWARD and number >= LOOKS):
            break
    return verdict, why
