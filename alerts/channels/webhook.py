"""Alertmanager's webhook payload, version 4 (prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from alerts.channels.http import post
from alerts.delivery.queue import Answer, Delivery
from alerts.message import annotated, at, labels, over


class Webhook:
    """Posts it; `Idempotency-Key` is the same for every attempt."""

    name = "webhook"

    def __init__(self, url: str, dashboard: str, authorization: str | None = None) -> None:
        self._url = url
        self._said = {"Authorization": authorization} if authorization else {}
        self._dashboard = dashboard

    def send(self, delivery: Delivery) -> Answer:
        body = orjson.dumps(payload(delivery.content, self._dashboard))
        return post(
            self._url, body, {"Content-Type": "application/json", "Idempotency-Key": delivery.key, **self._said}
        )


def payload(content: Mapping[str, Any], dashboard: str) -> dict[str, Any]:
    alerts = [one(alert, dashboard) for alert in content["alerts"]]
    group = ", ".join(f'{name}="{value}"' for name, value in content["group"].items())
    return {
        "version": "4", "groupKey": f"{{}}:{{{group}}}", "truncatedAlerts": 0, "status": content["status"],
        "receiver": Webhook.name, "groupLabels": content["group"],
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": dashboard, "alerts": alerts,
    }  # fmt: skip


def one(alert: Mapping[str, Any], dashboard: str) -> dict[str, Any]:
    """An alert of the payload."""
    return {
        "status": "resolved" if over(alert) else "firing", "labels": labels(alert),
        "annotations": annotated(alert, dashboard), "startsAt": at(alert["fired_at"]),
        "endsAt": at(alert["resolved_at"] if over(alert) else 0), "generatorURL": dashboard,
        "fingerprint": alert["key"],
    }  # fmt: skip


def _common(given: list[dict[str, str]]) -> dict[str, str]:
    return {name: value for name, value in given[0].items() if all(each.get(name) == value for each in given)}
