"""A backtest as a person reads it: incident by incident, what was told of it, how soon, and for how long."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from alerts.backtest.incidents import Fired, Incident
from sidecar.timeunits import spelled

_TITLES: Final = {"users": "Users", "hosp": "Upstream", "silence": "Silence"}


def lines(incidents: Sequence[Incident]) -> Iterator[str]:
    if not incidents:
        yield "no alert would have fired"
        return
    for incident in incidents:
        yield from _incident(incident)
        yield ""
    alerts = [alert for incident in incidents for alert in incident.alerts]
    pages = sum(alert.finding.severity == "page" for alert in alerts)
    yield f"{len(incidents)} incidents: {pages} pages and {len(alerts) - pages} tickets would have fired"


def as_json(incidents: Sequence[Incident]) -> str:
    """Times in Unix seconds, spans in seconds; `held` null: it held to the end."""
    found = [
        {
            "view": incident.view, "start": incident.start, "stop": incident.stop, "paged_after": incident.paged_after,
            "alerts": [
                {
                    "severity": alert.finding.severity, "slo": alert.finding.slo, "endpoint": alert.finding.endpoint,
                    "window": alert.finding.window, "after": alert.began - incident.start,
                    "held": None if alert.ended is None else alert.ended - alert.began, "reason": alert.finding.reason,
                }
                for alert in incident.alerts
            ],
        }
        for incident in incidents
    ]  # fmt: skip
    return json.dumps({"incidents": found}, indent=2)


def _incident(incident: Incident) -> Iterator[str]:
    soon = "no page" if incident.paged_after is None else f"paged after {spelled(incident.paged_after)}"
    lasted = spelled(incident.stop - incident.start)
    yield f"{_TITLES[incident.view]}: {_moment(incident.start)}, for {lasted}: {soon}"
    yield from (f"  {_alert(incident, alert)}" for alert in incident.alerts)


def _alert(incident: Incident, fired: Fired) -> str:
    of = fired.finding
    name = "no traffic" if incident.view == "silence" else f"{of.slo} ({of.endpoint or 'all'}) {of.window}"
    lasted = "still holds" if fired.ended is None else f"held {spelled(fired.ended - fired.began)}"
    return f"{of.severity:6} after {spelled(fired.began - incident.start)}, {lasted}: {name}: {of.reason}"


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
