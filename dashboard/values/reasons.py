# pure
"""The sidecar's short words for why something is so, in plain English; what is not known here is shown as it is."""

from __future__ import annotations

import re
from typing import Final

_CIRCUIT: Final = {
    "refused": "{api} refused connections",
    "probe_failed": "{api}'s last probe failed",
    "consecutive_failures": "{api} failed several requests in a row",
    "failure_rate": "{api} failed at least half of the requests",
    "not_sent": "{api} unreachable",
    "pending": "queued",
}
_FAILURES: Final = {
    "deadline": "{api} was too late",
    "timeout": "{api} was too late",
    "upstream_timeout": "{api} was too late",
    "upstream_connect_timeout": "{api} could not be reached in time",
    "upstream_refused": "{api} refused connections",
    "upstream_unresolved": "{api}'s name was not found",
    "upstream_certificate": "{api}'s certificate was not accepted",
    "upstream_tls": "no TLS could be agreed with {api}",
    "upstream_reset": "{api} cut the connection",
    "upstream_closed": "{api} closed the connection",
    "upstream_truncated": "{api} cut its answer short",
    "upstream_too_large": "{api}'s answer was too large",
    "upstream_broken": "the call to {api} broke",
    "unverified": "the copy is not verified",
    "queued": "waits behind an unsettled write",
    "cannot_verify": "the caller could not be verified",
    "database": "our database was away",
    "internal": "our own error",
    "cut": "the sidecar ended first",
}
_STATES: Final = {"closed": "healthy", "open": "open", "half_open": "trying {api} again"}
_PROCESS: Final = re.compile(r"\S+/\S+/\d+")
"""How a process calls itself: host/role/pid. Nobody decided anything: it did so by itself."""


def circuit(state: str, reason: str, api: str) -> str:
    """`open`, `probe_failed` → `open: HOSP's last probe failed`, where people call the API HOSP."""
    words = _STATES[state].format(api=api) if state in _STATES else state.replace("_", " ")
    why = because(reason, api)
    return f"{words}: {why}" if why and state != "closed" else words


def because(reason: str, api: str) -> str:
    return _CIRCUIT[reason].format(api=api) if reason in _CIRCUIT else reason.replace("_", " ")


def actor(by: str) -> str:
    """Who made a change, for people: `by operator (dashboard)`, or `automatically`."""
    if not by or _PROCESS.fullmatch(by):
        return "automatically"
    return f"by {by}"


def failure(reason: str, api: str) -> str:
    """Why a request was not answered by the upstream as ever: `deadline` → `HOSP was too late`."""
    if reason in _FAILURES:
        return _FAILURES[reason].format(api=api)
    return reason.replace("_", " ").replace("upstream", f"{api}:")


def verdict(said: str | None) -> str:
    """What the access policy said of a request."""
    return {"allow": "allowed", "deny": "denied", "report": "would be denied if it were enforced"}.get(said or "", "")


def unready(reason: str | None, api: str) -> str:
    """Why the standby could not answer: `only HOSP can answer this`; empty: it could."""
    return (reason or "").replace("the upstream", api)


def write(reason: str, api: str) -> str:
    """Why a write has not reached the upstream."""
    if reason.startswith("conflict: "):
        return f"Someone changed this record at {api} meanwhile"
    if reason.startswith("unclear: nobody can tell"):
        why = reason.partition("taken effect: ")[2]
        return f"{api} may or may not have made this change: check there before deciding" + (f" ({why})" if why else "")
    if reason == "the upstream could not be asked":
        return f"{api} could not be reached"
    return because(reason.removeprefix("unclear: "), api)
