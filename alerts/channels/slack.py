"""Slack's incoming webhooks, and what takes the same: Mattermost, Rocket.Chat, Discord's /slack.

Shape: api.slack.com/reference/messaging/attachments ("legacy fields": the ones that all of these understand).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from alerts.channels.http import post
from alerts.delivery.queue import Delivery, Told
from alerts.message import headline, paragraphs, severity

COLOURS: Final = {"page": "danger", "ticket": "warning", "resolved": "good"}
LONGEST: Final = 3000


class Slack:
    """Posts to the webhook's URL, which is a secret: it is neither logged nor kept."""

    name = "slack"

    def __init__(self, url: str, dashboard: str) -> None:
        self._url = url
        self._dashboard = dashboard

    def send(self, delivery: Delivery) -> tuple[Told, str]:
        body = orjson.dumps(payload(delivery.content, self._dashboard))
        return post(self._url, body, {"Content-Type": "application/json"})


def payload(content: Mapping[str, Any], dashboard: str) -> dict[str, Any]:
    title, text = headline(content), "\n\n".join(paragraphs(content, dashboard))
    colour = COLOURS["resolved" if content["status"] == "resolved" else severity(content)]
    return {
        "text": _escaped(title)[:LONGEST],
        "attachments": [
            {"color": colour, "fallback": _escaped(title)[:LONGEST], "title": "Understudy: alerts",
             "title_link": dashboard, "text": _escaped(text)[:LONGEST], "mrkdwn_in": []}
        ],
    }  # fmt: skip


def _escaped(text: str) -> str:
    """Slack's three control characters (api.slack.com/reference/surfaces/formatting#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
