"""What happened meanwhile: takeovers with their ends, alerts with theirs, and marks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dashboard.values import reasons
from sidecar.timeunits import MINUTE

TOGETHER: Final = 2 * MINUTE
"""What begins in the same way within so long is told as one."""


@dataclass(frozen=True)
class Moment:
    """`kind`: takeover, alert or mark. `until`: its end in ns, or None: it goes on, or has no length (a mark).

    `what` is the endpoint or the alert, `said` what became of it, `grave` that somebody is woken for it.
    """

    at: int
    kind: str
    what: str
    said: str
    until: int | None = None
    grave: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.said}" if self.what else self.said


@dataclass(frozen=True)
class Group:
    """Moments that began together."""

    first: Moment
    others: Sequence[Moment]


def takeovers(transitions: Iterable[Mapping[str, Any]], api: str) -> list[Moment]:
    """Each time that the standby answered for an endpoint, from the control plane's transitions."""
    under: dict[str, Moment] = {}
    found = []
    for made in sorted(transitions, key=lambda each: int(each["at"])):
        name, before, after = str(made["endpoint"]), made["before"], made["after"]
        if (before, after) == ("closed", "open") or after == "standby":
            reason = f": {reasons.because(made['reason'], api)}" if made.get("reason") else ""
            said = f"the standby took over {reasons.actor(made.get('by') or '')}{reason}"
            began = Moment(int(made["at"]), "takeover", name, said)
            under.setdefault(name, began)
        elif name in under and (after in ("closed", "upstream") or (after == "auto" and before != "auto")):
            found.append(replace(under.pop(name), until=int(made["at"])))
    return found + list(under.values())


def alerts(history: Iterable[Mapping[str, Any]], title: Callable[[Mapping[str, Any]], str]) -> list[Moment]:
    """Each time that an alert fired, from the alerts' history."""
    under: dict[str, Moment] = {}
    found = []
    for line in sorted(history, key=lambda each: int(each["id"])):
        key, state = str(line["key"]), line["state"]
        if state in ("firing", "silenced") and key not in under:
            grave = line["severity"] == "page"
            said = "page" if grave else str(line["severity"])
            under[key] = Moment(int(line["at"]), "alert", title(line), said, grave=grave)
        elif state == "resolved" and key in under:
            found.append(replace(under.pop(key), until=int(line["at"])))
    return found + list(under.values())


def marks(made: Iterable[Mapping[str, Any]]) -> list[Moment]:
    return [Moment(int(mark["at"]), "mark", "", f"{mark['text']} ({mark['by']})", int(mark["at"])) for mark in made]


def grouped(moments: Iterable[Moment]) -> list[Group]:
    """The latest first; those that began in the same way at nearly the same time are one."""
    groups: list[list[Moment]] = []
    for moment in sorted(moments, key=lambda each: -each.at):
        near = [group for group in groups[-8:] if _same(group[0], moment)]
        if near:
            near[0].append(moment)
        else:
            groups.append([moment])
    return [Group(group[0], group[1:]) for group in groups]


def _same(one: Moment, other: Moment) -> bool:
    alike = (one.kind, one.said, one.until is None) == (other.kind, other.said, other.until is None)
    return alike and one.kind != "mark" and abs(one.at - other.at) <= TOGETHER
