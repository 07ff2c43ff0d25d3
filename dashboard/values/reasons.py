# pure
"""The sidecar's short words for why something is so, in plain English; what is not known here is shown as it is."""

from __future__ import annotations

import re
from typing import Final

_CIRCUIT: Final = {
    "refused": "HOSP refused connections",
    "probe_failed": "HOSP's last probe failed",
    "consecutive_failures": "HOSP failed several requests in a row",
    "failure_rate": "HOSP failed at least half of the requests",
    "not_sent": "HOSP unreachable",
    "pending": "queued",
}
_STATES: Final = {"closed": "healthy", "open": "open", "half_open": "trying HOSP again"}
_PROCESS: Final = re.compile(r"\S+/\S+/\d+")
"""How a process calls itself: host/role/pid. Nobody decided anything: it did so by itself."""


def circuit(state: str, reason: str) -> str:
    """`open`, `probe_failed` → `open: HOSP's last probe failed`."""
    words = _STATES.get(state, state.replace("_", " "))
    why = because(reason)
    return f"{words}: {why}" if why and state != "closed" else words


def because(reason: str) -> str:
    return _CIRCUIT.get(reason, reason.replace("_", " "))


def actor(by: str) -> str:
    """Who made a change, for people: `by operator (dashboard)`, or `automatically`."""
    if not by or _PROCESS.fullmatch(by):
        return "automatically"
    return f"by {by}"


def write(reason: str) -> str:
    """Why a write has not reached the upstream."""
    if "neither as it was nor as it should be" in reason:
        return "Someone changed this record at HOSP meanwhile"
    if reason.startswith("unclear: nobody can tell"):
        why = reason.partition("taken effect: ")[2]
        return "HOSP may or may not have made this change: check there before deciding" + (f" ({why})" if why else "")
    if reason == "the upstream could not be asked":
        return "HOSP could not be reached"
    return because(reason.removeprefix("unclear: "))
