"""PagerDuty's Events API v2 (developer.pagerduty.com/docs/events-api-v2/trigger-events).

A group is one incident: its `dedup_key` stays the same, so that repeats join it and the end of all resolves it. What
was over before it could be told is an incident of severity info that is resolved at once: it wakes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from alerts.channels.http import post
from alerts.channels.standing import Standing
from alerts.delivery.queue import Answer, Delivery, Told
from alerts.lifecycle.lifecycle import State
from alerts.message import annotated, at, headline, labels, over, past, severity

SEVERITIES: Final = {"page": "critical", "ticket": "warning"}
KNOWN: Final = frozenset({State.ACKNOWLEDGED, State.SILENCED})
LONGEST: Final = 1024
"""Characters of a summary that PagerDuty takes."""
DETAILED: Final = 20
"""Alerts told in detail: PagerDuty takes 512 KB at the most."""


class PagerDuty:
    """`key` is the integration's routing key, a secret. `source`: where the trouble is seen."""

    name = "pagerduty"

    def __init__(self, key: str, url: str, dashboard: str, source: str) -> None:
        self._key = key
        self._url = url
        self._dashboard = dashboard
        self._source = source
        self._acknowledged: dict[str, frozenset[tuple[str, int]]] = {}

    def send(self, delivery: Delivery) -> Answer:
        answer = self._post(payload(delivery.content, delivery.line, self._key, self._dashboard, self._source))
        if past(delivery.content) and answer.told is Told.DONE:
            return self._post(self._of("resolve", delivery.line))
        return answer

    def _of(self, action: str, line: str) -> dict[str, Any]:
        return {"routing_key": self._key, "event_action": action, "dedup_key": line}

    def _post(self, event: Mapping[str, Any]) -> Answer:
        return post(self._url, orjson.dumps(event), {"Content-Type": "application/json"})

    def reflect(self, standing: Standing) -> str | None:
        """Acknowledges incidents of which people know everything: all that burns in them is acknowledged or silenced.
        Once for each of their alerts' episodes, since PagerDuty lets an acknowledgement end by itself."""
        known = {
            line: frozenset((alert.key, alert.episode) for alert in alerts)
            for line, alerts in standing.lines.items()
            if alerts and all(alert.state in KNOWN for alert in alerts)
        }
        self._acknowledged = {line: seen for line, seen in self._acknowledged.items() if known.get(line) == seen}
        for line, seen in known.items():
            if line not in self._acknowledged:
                answer = self._post(self._of("acknowledge", line))
                if answer.told is Told.RETRY:
                    return answer.said
                self._acknowledged[line] = seen
        return None


def payload(content: Mapping[str, Any], line: str, key: str, dashboard: str, source: str) -> dict[str, Any]:
    resolved = content["status"] == "resolved" and not past(content)
    event = {"routing_key": key, "event_action": "resolve" if resolved else "trigger", "dedup_key": line}
    if resolved:
        return event
    alerts = [alert for alert in content["alerts"] if past(content) or not over(alert)]
    grave = "info" if past(content) else SEVERITIES[severity(content)]
    details = [{"labels": labels(alert), "annotations": annotated(alert, dashboard)} for alert in alerts[:DETAILED]]
    return event | {
        "payload": {
            "summary": headline(content)[:LONGEST], "source": source, "severity": grave,
            "timestamp": at(min(alert["fired_at"] for alert in alerts)), "component": "api",
            "group": "understudy", "class": alerts[0]["name"],
            "custom_details": {"firing": len(alerts), "alerts": details},
        },
        "client": "Understudy", "client_url": dashboard, "links": [{"href": dashboard, "text": "Dashboard"}],
    }  # fmt: skip
