"""Sentry's envelope endpoint (develop.sentry.dev/sdk/foundations/transport/envelopes): an event for each message.

Not through the SDK's transport, which drops what it cannot send: here the queue tries again. `event_id` comes of the
message's key, so that Sentry keeps one of it however often it is sent; a group is one issue by its fingerprint. Sentry
has no event that resolves an issue: the end is an event of level info in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from sentry_sdk.envelope import Envelope
from sentry_sdk.utils import Dsn

from alerts.channels.http import post
from alerts.delivery.queue import Answer, Delivery
from alerts.message import annotated, at, headline, labels, severity
from sidecar import __version__

LEVELS: Final = {"page": "fatal", "ticket": "warning", "resolved": "info"}
CLIENT: Final = f"understudy/{__version__}"
DETAILED: Final = 20


class Sentry:
    """`dsn`: the project's, which is a secret."""

    name = "sentry"

    def __init__(self, dsn: str, dashboard: str) -> None:
        auth = Dsn(dsn).to_auth(CLIENT)
        self._url = auth.get_api_url()
        self._auth = auth.to_header()
        self._dashboard = dashboard

    def send(self, delivery: Delivery) -> Answer:
        event = payload(delivery.content, delivery.key, delivery.line, self._dashboard)
        envelope = Envelope(headers={"event_id": event["event_id"]})
        envelope.add_event(event)  # type: ignore[arg-type]
        fields = {"Content-Type": "application/x-sentry-envelope", "X-Sentry-Auth": self._auth}
        return post(self._url, envelope.serialize(), fields)


def payload(content: Mapping[str, Any], key: str, line: str, dashboard: str) -> dict[str, Any]:
    """The event (develop.sentry.dev/sdk/foundations/transport/event-payloads)."""
    alerts = content["alerts"]
    moment = max(max(alert["sent_at"], alert["resolved_at"]) for alert in alerts)
    return {
        "event_id": uuid.uuid5(uuid.NAMESPACE_URL, f"understudy:{key}").hex,
        "timestamp": at(moment),
        "platform": "other",
        "level": LEVELS["resolved" if content["status"] == "resolved" else severity(content)],
        "logger": "understudy.alerts",
        "release": f"understudy@{__version__}",
        "logentry": {"formatted": headline(content)},
        "fingerprint": ["understudy", line],
        "tags": {**content["group"], "status": content["status"]},
        "contexts": {
            f"alert {number}": {**labels(alert), **annotated(alert, dashboard), "type": "alert"}
            for number, alert in enumerate(alerts[:DETAILED], 1)
        },
    }
