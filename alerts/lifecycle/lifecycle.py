"""How an alert lives: pending, firing, acknowledged, silenced, resolved. Pure: no clock, no database.

What was not seen is not gone: while a source cannot be asked, its alerts neither start nor resolve.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from sidecar.timeunits import SECOND


class State(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    RESOLVED = "resolved"


UNTIL_RESOLVED: Final = 1 << 62
"""As the end (ns) of a silence: when the alert is resolved."""


class Kind(StrEnum):
    """Why something is sent."""

    FIRING = "firing"
    REPEAT = "repeat"
    RESOLVED = "resolved"


FLAPPING: Final = 3600 * SECOND
"""ns: what fires again sooner goes on for longer the next time, twice as long each time, up to eight times."""
MOST_FLAPS: Final = 3
BURNING: Final = frozenset({State.FIRING, State.ACKNOWLEDGED, State.SILENCED})
"""States in which the condition holds and held long enough."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What holds now and ought to alert. `labels` name it and never hold a value that changes; `notes` may."""

    name: str
    severity: str
    source: str
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    hold: int = 0
    """ns for which it must hold before it fires."""

    @property
    def key(self) -> str:
        """Stable over restarts: the same name, severity and labels have the same key."""
        said = json.dumps([self.name, self.severity, sorted(self.labels.items())])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert. Times in ns since the epoch; 0: never. `episode` counts how often it has fired.

    `since`: while pending when it was first seen, from then on when it was last seen.
    """

    key: str
    name: str
    severity: str
    source: str
    labels: Mapping[str, str]
    notes: Mapping[str, str]
    state: State
    since: int
    fired_at: int = 0
    resolved_at: int = 0
    sent_at: int = 0
    told: bool = False
    """Whether receivers were told that this episode fires."""
    episode: int = 0
    acknowledged_by: str = ""
    silenced_until: int = 0
    silenced_by: str = ""
    reason: str = ""
    flaps: int = 0
    """How often in a row it fired again within FLAPPING of its end."""
    part_of: str = ""
    """The key of the alert that tells of it while both burn; empty: it is told by itself."""


@dataclass(frozen=True)
class Notice:
    """What must be told: the alert as it is now, and why."""

    alert: Alert
    kind: Kind

    @property
    def key(self) -> str:
        """The same for every attempt to tell the same thing."""
        again = f"-{self.alert.sent_at}" if self.kind is Kind.REPEAT else ""
        return f"{self.alert.key}-{self.alert.episode}-{self.kind}{again}"


def step(
    known: Mapping[str, Alert],
    holding: Iterable[Condition],
    now: int,
    *,
    unknown: Set[str] = frozenset(),
    repeat: int,
    keep: Callable[[Alert], int] = lambda _: 0,
    group: Callable[[Alert], str] = lambda alert: alert.key,
    muted: Callable[[Alert], tuple[int, str, str] | None] = lambda _: None,
    parts: Callable[[Mapping[str, Alert]], Mapping[str, str]] = lambda _: {},
) -> tuple[dict[str, Alert], list[Notice]]:
    """What the alerts become at `now`, and what must be told.

    `unknown`: sources that could not be asked, and keys of alerts of which nothing is known. `repeat`: ns after which a
    firing alert is told again; an acknowledged or silenced one is not. `keep`: ns that an alert goes on firing after it
    was last seen, so that it does not flap (Prometheus' keep_firing_for). `group`: what is told in one message; telling
    one of a group tells of all that fire. `muted`: until when (ns), by whom and why an alert is silenced by its labels.
    `parts`: by key, which alert tells of it.

    Times to come, as a clock that was set back leaves them, are taken for now.
    """
    held = {condition.key: condition for condition in holding}
    after: dict[str, Alert] = {}
    notices: list[Notice] = []
    for key in dict.fromkeys((*known, *held)):
        before = known.get(key)
        if before is not None:
            before = replace(before, since=min(before.since, now), sent_at=min(before.sent_at, now))
        alert = _next(before, held.get(key), now, unknown, keep)
        if alert is not None:
            after[key] = _muted(alert, now, muted)
    over = parts(after)
    for key, alert in after.items():
        alert = replace(alert, part_of=over.get(key, "" if alert.severity == "page" else alert.part_of))
        kind = None if key in over and alert.state is State.FIRING else _due(alert, now, repeat)
        if kind is not None:
            alert = replace(alert, told=kind is not Kind.RESOLVED, sent_at=now)
            notices.append(Notice(alert, kind))
        after[key] = alert if alert.state in BURNING else replace(alert, part_of="")
    spoken = {group(notice.alert) for notice in notices}
    for key, alert in after.items():
        listed = alert.told or not alert.part_of  # a message names also who is silenced or somebody's from the first
        if listed and alert.state in BURNING and alert.sent_at != now and group(alert) in spoken:
            after[key] = replace(alert, sent_at=now, told=True)
    return after, notices


def _muted(alert: Alert, now: int, muted: Callable[[Alert], tuple[int, str, str] | None]) -> Alert:
    found = muted(alert)
    if found is None or found[0] <= max(now, alert.silenced_until):
        return alert
    state = State.SILENCED if alert.state in BURNING else alert.state
    return replace(alert, state=state, silenced_until=found[0], silenced_by=found[1], reason=found[2])


def _next(
    alert: Alert | None, seen: Condition | None, now: int, unknown: Set[str], keep: Callable[[Alert], int]
) -> Alert | None:
    if seen is None:
        if alert is None or alert.state is State.RESOLVED or not unknown.isdisjoint((alert.source, alert.key)):
            return _woken(alert, now)
        if alert.state in BURNING and now - alert.since < keep(alert) << min(alert.flaps, MOST_FLAPS):
            return _woken(alert, now)
        if alert.state is State.PENDING:
            return None if not alert.episode else replace(alert, state=State.RESOLVED)
        ended = replace(alert, state=State.RESOLVED, resolved_at=now, acknowledged_by="")
        return replace(ended, silenced_until=0) if alert.silenced_until == UNTIL_RESOLVED else ended
    if alert is None:
        alert = Alert(
            key=seen.key, name=seen.name, severity=seen.severity, source=seen.source, labels=seen.labels,
            notes=seen.notes, state=State.PENDING, since=now,
        )  # fmt: skip
    elif alert.state is State.RESOLVED:
        alert = replace(alert, state=State.PENDING, since=now)
    alert = replace(alert, notes=seen.notes)
    if alert.state is State.PENDING and now - alert.since >= seen.hold:
        silent = alert.silenced_until > now
        again = alert.episode and now - alert.resolved_at < FLAPPING
        alert = replace(
            alert, state=State.SILENCED if silent else State.FIRING, fired_at=now, resolved_at=0, told=False,
            episode=alert.episode + 1, flaps=alert.flaps + 1 if again else 0,
        )  # fmt: skip
    if alert.state in BURNING:
        alert = replace(alert, since=now)
    return _woken(alert, now)


def _woken(alert: Alert | None, now: int) -> Alert | None:
    """A silence that is over ends by itself."""
    if alert is not None and alert.state is State.SILENCED and alert.silenced_until <= now:
        return replace(alert, state=State.FIRING, silenced_until=0, sent_at=0)
    return alert


def _due(alert: Alert, now: int, repeat: int) -> Kind | None:
    if alert.state is State.FIRING:
        if alert.part_of and not alert.told and now - alert.fired_at < repeat:
            return None
        if not alert.told:
            return Kind.FIRING
        return Kind.REPEAT if now - alert.sent_at >= repeat else None
    return Kind.RESOLVED if alert.state is State.RESOLVED and alert.told else None


class NotPossible(ValueError):
    """What a person asked cannot be done to the alert as it is; the message says why, in one line."""


def acknowledge(alert: Alert, by: str, reason: str) -> Alert:
    """Somebody takes it: no repeats until it resolves. Raises NotPossible."""
    if alert.state is not State.FIRING:
        raise NotPossible(f"{alert.name} is {alert.state}: only what fires can be acknowledged")
    return replace(alert, state=State.ACKNOWLEDGED, acknowledged_by=by, reason=reason)


def silence(alert: Alert, by: str, reason: str, until: int, now: int) -> Alert:
    """Says nothing until `until`, also if it fires again. Raises NotPossible."""
    if until <= now:
        raise NotPossible("until: expected a time to come")
    if not reason.strip():
        raise NotPossible("reason: a silence needs one")
    state = State.SILENCED if alert.state in BURNING else alert.state
    return replace(alert, state=state, silenced_until=until, silenced_by=by, reason=reason)


def unsilence(alert: Alert) -> Alert:
    """Ends a silence. Raises NotPossible."""
    if not alert.silenced_until:
        raise NotPossible(f"{alert.name} is not silenced")
    state = State.FIRING if alert.state is State.SILENCED else alert.state
    return replace(alert, state=state, silenced_until=0, silenced_by="")
