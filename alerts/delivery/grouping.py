"""What is told in one message: alerts that share the labels of ALERT_GROUP_BY, after a wait in which others may join.

As Alertmanager does it (prometheus.io/docs/alerting/latest/configuration, `group_by`, `group_wait`, `group_interval`).
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from alerts.lifecycle.lifecycle import Alert, Kind, State
from sidecar.timeunits import SECOND

MUTED: Final = "muted"
"""The kind of an alert that is silenced and burns: a message that names it is not over."""
PART: Final = "part of it"
"""The kind of an alert that another of the message tells of."""
GOES_ON: Final = "firing already"
"""The kind of an alert that a message names because it still fires, though nothing new is to be said of it."""
RESOLVED: Final = "resolved"
FIRING: Final = "firing"


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """`by`: label names, `alertname` and `severity` among them. `wait`: ns before the first message of a group;
    `interval`: ns between two messages of a group that has not ended."""

    by: tuple[str, ...] = ("alertname", "severity")
    wait: int = 10 * SECOND
    interval: int = 300 * SECOND

    def labels(self, alert: Alert) -> dict[str, str]:
        """The labels of its group; an alert without such a label has it empty."""
        known = {"alertname": alert.name, "severity": alert.severity, **alert.labels}
        return {name: known.get(name, "") for name in self.by}

    def key(self, alert: Alert) -> str:
        return ",".join(f"{name}={json.dumps(value)}" for name, value in self.labels(alert).items())

    def due(self, first: int, last: int, urgent: bool) -> int:
        """When what began to wait at `first` is told. `last`: when the group was last told, 0 where that is over.

        What is urgent, a page that begins or the end of all, does not wait for the interval: that is more than
        Alertmanager does.
        """
        soon = first + self.wait
        later = max(first, last + self.interval) if last else soon
        return min(soon, later) if urgent else later


ALONE: Final = Grouping(wait=0, interval=0)
"""Each alert for itself and at once: for receivers that group by themselves."""


def _foremost(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    """Burning before resolved, what users get before what the upstream gives, the latest first."""
    ours = alert["labels"].get("view") == "hosp"
    return alert["kind"] == Kind.RESOLVED, alert["kind"] in (MUTED, PART), ours, -alert["fired_at"], alert["key"]


def compose(group: Mapping[str, str], notices: Sequence[Mapping[str, Any]], others: Iterable[Alert]) -> dict[str, Any]:
    """A message: `notices` are alerts with their `kind`, oldest first; `others` are alerts of the same group that burn.

    Of each alert only the latest is said. The message is resolved when all of the group is.
    """
    latest = {notice["key"]: dict(notice) for notice in notices}
    for alert in others:
        if alert.state is State.SILENCED:
            latest.setdefault(alert.key, {**asdict(alert), "kind": MUTED})
        else:
            latest.setdefault(alert.key, {**asdict(alert), "kind": GOES_ON if alert.told else PART})
    alerts = sorted(latest.values(), key=_foremost)
    over = all(each["kind"] == Kind.RESOLVED for each in alerts)
    return {"group": dict(group), "status": RESOLVED if over else FIRING, "alerts": alerts}
