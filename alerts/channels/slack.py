"""Slack's incoming webhooks, and what takes the same: Mattermost, Rocket.Chat, Discord's /slack.

Shape: api.slack.com/reference/messaging/attachments ("legacy fields": the ones that all of these understand).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from alerts.channels.http import post
from alerts.delivery.queue import Answer, Delivery
from alerts.message import closing, headline, paragraphs, severity

COLOURS: Final = {"page": "danger", "ticket": "warning", "resolved": "good"}
LONGEST: Final = 3000
CUT: Final = " …\n\n"


class Slack:
    """Posts to the webhook's URL, which is a secret: it is neither logged nor kept."""

    name = "slack"

    def __init__(self, url: str, dashboard: str) -> None:
        self._url = url
        self._dashboard = dashboard

    def send(self, delivery: Delivery) -> Answer:
        body = orjson.dumps(payload(delivery.content, self._dashboard))
        return post(self._url, body, {"Content-Type": "application/json"})


def payload(content: Mapping[str, Any], dashboard: str) -> dict[str, Any]:
    title, text = headline(content), _whole(content, dashboard)
    colour = COLOURS["resolved" if content["status"] == "resolved" else severity(content)]
    return {
        "text": _escaped(title)[:LONGEST],
        "attachments": [
            {"color": colour, "fallback": _escaped(title)[:LONGEST], "title": "Understudy: alerts",
             "title_link": dashboard, "text": text, "mrkdwn_in": []}
        ],
    }  # fmt: skip


def _whole(content: Mapping[str, Any], dashboard: str) -> str:
    """The message, cut in its middle where it is too long: first steps, runbooks and links stand."""
    text, end = (_escaped("\n\n".join(of(content, dashboard))) for of in (paragraphs, closing))
    if len(text) <= LONGEST:
        return text
    end = end[-LONGEST:]
    return f"{text[: max(0, LONGEST - len(end) - len(CUT))]}{CUT}{end}"[-LONGEST:]


def _escaped(text: str) -> str:
    """Slack's three control characters (api.slack.com/reference/surfaces/formatting#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
