"""Channels: each tells one notice to one receiver, and says whether it was taken."""

from __future__ import annotations

from typing import Final, Protocol

import orjson
import urllib3

from alerts.message import webhook
from alerts.queue import Delivery, Told

NEVER_TAKEN: Final = frozenset({400, 410, 413, 415, 422})
"""Answers that say the message itself is wrong: sending it again changes nothing. All others may pass."""
TIMEOUT: Final = urllib3.Timeout(connect=3, read=10)


class Channel(Protocol):
    """A way to a receiver. `name` is stable: it is part of each delivery's key."""

    name: str

    def send(self, delivery: Delivery) -> tuple[Told, str]:
        """What became of it, and what the receiver said in a line. It does not raise."""


class Webhook:
    """Alertmanager's payload, posted; `Idempotency-Key` is the same for every attempt."""

    name = "webhook"

    def __init__(self, url: str, dashboard: str) -> None:
        self._url = url
        self._dashboard = dashboard
        self._pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT)

    def send(self, delivery: Delivery) -> tuple[Told, str]:
        body = orjson.dumps(webhook(delivery.content, delivery.key, self._dashboard))
        fields = {"Content-Type": "application/json", "Idempotency-Key": delivery.key}
        try:
            answer = self._pool.request("POST", self._url, body=body, headers=fields, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return Told.RETRY, type(error).__name__
        if 200 <= answer.status < 300:
            return Told.DONE, str(answer.status)
        return (Told.REFUSED if answer.status in NEVER_TAKEN else Told.RETRY), str(answer.status)
