"""Channels: each tells a message to one receiver, and says whether it was taken. `configured` lists those in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from alerts.channels.alertmanager import Alertmanager
from alerts.channels.email import Email
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.sentry import Sentry
from alerts.channels.slack import Slack
from alerts.channels.webhook import Webhook
from alerts.delivery.grouping import ALONE, Grouping, compose
from alerts.delivery.queue import Answer, Delivery, Route, Told
from alerts.lifecycle.lifecycle import Alert, Condition, Kind, State
from sidecar.settings import PREFIX, SettingError, Settings
from sidecar.timeunits import SECOND


class Channel(Protocol):
    """A way to a receiver. `name` is stable: it is part of each message's key."""

    name: str

    def send(self, delivery: Delivery) -> Answer:
        """What became of it. It does not raise."""


def configured(settings: Settings, dashboard: str, clock: Callable[[], int] = time.time_ns) -> list[Channel]:
    """The channels that settings name. Raises SettingError where one is named by half."""
    found: list[Channel] = []
    if settings.alert_webhook:
        found.append(Webhook(settings.alert_webhook, dashboard, settings.alert_webhook_authorization))
    if settings.alert_email_to:
        found.append(_email(settings, dashboard))
    if settings.alert_slack:
        found.append(Slack(settings.alert_slack, dashboard))
    if settings.alert_pagerduty_key:
        found.append(PagerDuty(settings.alert_pagerduty_key, settings.alert_pagerduty, dashboard, settings.node_name))
    if settings.alert_sentry_dsn:
        found.append(_sentry(settings.alert_sentry_dsn, dashboard))
    if settings.alert_alertmanager:
        found.append(
            Alertmanager(
                settings.alert_alertmanager, dashboard, settings.alert_repeat, clock,
                authorization=settings.alert_alertmanager_authorization,
            )
        )  # fmt: skip
    names = {channel.name for channel in found}
    if strangers := set(settings.alert_pages_only) - names:
        raise SettingError(
            f"{PREFIX}ALERT_PAGES_ONLY: expected channels in use ({', '.join(sorted(names)) or 'there is none'}); "
            f"found {', '.join(sorted(strangers))}"
        )
    return found


def routes(settings: Settings, channels: list[Channel]) -> dict[str, Route]:
    """How each is told. Alertmanager groups by itself."""
    pages = frozenset({"page"})
    return {
        channel.name: Route(
            ALONE if isinstance(channel, Alertmanager) else grouping(settings),
            pages if channel.name in settings.alert_pages_only else frozenset(),
        )
        for channel in channels
    }


def attempt(channel: Channel, now: int) -> Answer:
    """Tells it a message that tries it, and its end; what became of the first that was not taken. `now` in ns."""
    tried = Condition(name="TestMessage", severity="ticket", source="person", notes={"reason": "alerts arrive here"})
    alert = Alert(
        key=tried.key, name=tried.name, severity=tried.severity, source=tried.source, labels={}, notes=tried.notes,
        state=State.FIRING, since=now, fired_at=now, sent_at=now, told=True, episode=1,
    )  # fmt: skip
    answer = Answer(Told.DONE, "")
    for kind, ended in ((Kind.FIRING, 0), (Kind.RESOLVED, now + 1)):
        notice = {**asdict(alert), "resolved_at": ended, "kind": kind}
        content = compose({"alertname": tried.name, "severity": tried.severity}, [notice], ())
        key = f"{channel.name}:{tried.key}-{now}-{kind}"
        answer = channel.send(Delivery(key, channel.name, f"{channel.name}:{tried.key}-{now}", content, 0))
        if answer.told is not Told.DONE:
            break
    return answer


def grouping(settings: Settings) -> Grouping:
    wait, interval = settings.alert_group_wait, settings.alert_group_interval
    return Grouping(by=settings.alert_group_by, wait=int(wait * SECOND), interval=int(interval * SECOND))


def _sentry(dsn: str, dashboard: str) -> Sentry:
    try:
        return Sentry(dsn, dashboard)
    except ValueError:
        raise SettingError(f"{PREFIX}ALERT_SENTRY_DSN: expected https://KEY@HOST/PROJECT; found (hidden)") from None


def _email(settings: Settings, dashboard: str) -> Email:
    if settings.alert_smtp is None or not settings.alert_email_from:
        missing = "SMTP" if settings.alert_smtp is None else "EMAIL_FROM"
        raise SettingError(f"{PREFIX}ALERT_{missing}: required with {PREFIX}ALERT_EMAIL_TO; found nothing")
    if settings.alert_smtp_credentials and settings.alert_smtp_tls == "off":
        raise SettingError(f"{PREFIX}ALERT_SMTP_CREDENTIALS: a password needs TLS; found ALERT_SMTP_TLS=off")
    return Email(
        settings.alert_smtp, settings.alert_email_from, settings.alert_email_to, dashboard,
        credentials=settings.alert_smtp_credentials, tls=settings.alert_smtp_tls,
    )  # fmt: skip


__all__ = ["Alertmanager", "Channel", "Email", "PagerDuty", "Sentry", "Slack", "Webhook", "configured", "routes"]
