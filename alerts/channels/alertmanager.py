"""Alertmanager's own API v2 (github.com/prometheus/alertmanager, api/v2/openapi.yaml: POST /alerts).

Alertmanager groups, repeats and silences by itself, and forgets what it is not told again: see `refresh`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import orjson

from alerts.channels.http import post
from alerts.delivery.queue import Answer, Delivery
from alerts.lifecycle.lifecycle import BURNING, Alert, State
from alerts.message import annotated, at, labels, over
from sidecar.timeunits import SECOND

PATH: Final = "/api/v2/alerts"
AGAIN: Final = 60.0
"""Seconds after which all that fires is told again: Alertmanager may have been restarted."""


class Alertmanager:
    """`url`: where it is, without the API's path. `repeat` in seconds: an alert that nothing more is heard of for twice
    that long ends there; the evaluator's death does not end it before."""

    name = "alertmanager"

    def __init__(
        self, url: str, dashboard: str, repeat: float, clock: Callable[[], int] = time.time_ns,
        authorization: str | None = None,
    ) -> None:  # fmt: skip
        self._said = {"Authorization": authorization} if authorization else {}
        self._url = url + PATH
        self._dashboard = dashboard
        self._lasts = int(2 * repeat * SECOND)
        self._clock = clock
        self._refreshed = 0

    def send(self, delivery: Delivery) -> Answer:
        return self._post(delivery.content["alerts"])

    def refresh(self, alerts: Iterable[Alert]) -> Answer | None:
        """Tells again of what fires, once a minute; None: there was nothing to be told."""
        now = self._clock()
        if now - self._refreshed < AGAIN * SECOND:
            return None
        self._refreshed = now
        firing = [
            {**asdict(alert), "kind": "firing"}
            for alert in alerts
            if alert.told and alert.state in BURNING - {State.SILENCED}
        ]
        return self._post(firing) if firing else None

    def _post(self, alerts: Iterable[Mapping[str, Any]]) -> Answer:
        body = orjson.dumps([one(alert, self._dashboard, self._clock() + self._lasts) for alert in alerts])
        return post(self._url, body, {"Content-Type": "application/json", **self._said})


def one(alert: Mapping[str, Any], dashboard: str, ends: int) -> dict[str, Any]:
    return {
        "labels": labels(alert), "annotations": annotated(alert, dashboard), "startsAt": at(alert["fired_at"]),
        "endsAt": at(alert["resolved_at"] if over(alert) else ends), "generatorURL": dashboard,
    }  # fmt: skip
