"""What receivers were told, read from outside: from what each channel's own format says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alerts.message import RUNBOOKS
from tests.support.alerts.mail import Mailbox, mailbox
from tests.support.alerts.receivers import CLOSED, Receiver, receiver

BURN: Final = "ErrorBudgetBurn"
NAMES: Final = {path.stem for path in RUNBOOKS.glob("*.md")}
KEY: Final = "0123456789abcdef0123456789abcdef"
SERVICES: Final = {
    "webhook": lambda url: {"alert_webhook": url},
    "slack": lambda url: {"alert_slack": f"{url}/services/T/B/X"},
    "pagerduty": lambda url: {"alert_pagerduty": f"{url}/v2/enqueue", "alert_pagerduty_key": KEY},
    "sentry": lambda url: {"alert_sentry_dsn": f"http://key@{url.removeprefix('http://')}/7"},
    "alertmanager": lambda url: {"alert_alertmanager": url},
}  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """One message. `kind`: page, ticket, end (of what was told) or past (what was over before it could be told)."""

    at: int
    channel: str
    kind: str
    alert: str
    severity: str


@dataclass
class Listening:
    """One receiver. `now`: the time (ns) by which it hears, `day`: what its clock shows. `hangs`: it takes a message
    and says nothing, until its sender gives up."""

    channel: str
    receiver: Receiver | Mailbox
    now: int = 0
    day: str = ""
    hangs: bool = False
    said: list[Heard] = field(default_factory=list)
    _read: int = 0
    _firing: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By what the receiver knows an alert or a group by: which alert it is, and how grave."""

    @staticmethod
    @contextmanager
    def to(channel: str, folder: Path) -> Iterator[Listening]:
        with ExitStack() as stack:
            if channel == "email":
                yield Listening(channel, stack.enter_context(mailbox(folder / "mail", starttls=False)))
            else:
                yield Listening(channel, stack.enter_context(receiver(channel)))

    def settings(self) -> dict[str, Any]:
        """By which it is told."""
        if isinstance(self.receiver, Mailbox):
            return {
                "alert_smtp": ("127.0.0.1", self.receiver.port), "alert_smtp_tls": "off",
                "alert_email_to": ("on-call@example.org",), "alert_email_from": "understudy@example.org",
            }  # fmt: skip
        return SERVICES[self.channel](self.receiver.url)

    def answer(self, *answers: int | str, again: int = 1) -> None:
        """What is answered next; nothing: it is well again."""
        assert isinstance(self.receiver, Receiver)
        self.receiver.answers = [*answers] * again

    def hang(self, hangs: bool) -> None:
        assert isinstance(self.receiver, Receiver)
        self.hangs = hangs
        self.answer(*([CLOSED] if hangs else []), again=100)
        (self.receiver.hold.set if hangs else self.receiver.hold.clear)()

    def let_go(self) -> None:
        """The sender's patience is over: it was not told."""
        assert isinstance(self.receiver, Receiver)
        self.receiver.hold.clear()

    def listen(self) -> None:
        """Understands what has come since."""
        if self.hangs:
            self.hang(True)
        for got in self.receiver.got[self._read :]:
            self.said += [Heard(self.now, self.channel, *each) for each in getattr(self, f"_{self.channel}")(got)]
        self._read = len(self.receiver.got)

    def _webhook(self, got: Any) -> Iterator[tuple[str, str, str]]:
        """A group by its alerts' name and severity."""
        payload = got[1]
        name, severity = payload["groupLabels"]["alertname"], payload["groupLabels"]["severity"]
        yield self._told(payload["groupKey"], name, severity, payload["status"] == "resolved")

    def _pagerduty(self, got: Any) -> Iterator[tuple[str, str, str]]:
        event = got[1]
        if event["event_action"] == "trigger" and event["payload"]["severity"] == "info":
            yield "past", event["payload"]["class"], "page"
        elif event["event_action"] == "trigger":
            severity = {"critical": "page", "warning": "ticket"}[event["payload"]["severity"]]
            yield self._told(event["dedup_key"], event["payload"]["class"], severity, False)
        elif event["event_action"] == "resolve" and event["dedup_key"] in self._firing:
            yield self._told(event["dedup_key"], "", "", True)

    def _slack(self, got: Any) -> Iterator[tuple[str, str, str]]:
        yield from self._words(got[1]["text"])

    def _email(self, got: Any) -> Iterator[tuple[str, str, str]]:
        yield from self._words(str(got["Subject"]))

    def _sentry(self, got: Any) -> Iterator[tuple[str, str, str]]:
        yield from self._words(got[1]["logentry"]["formatted"])

    def _alertmanager(self, got: Any) -> Iterator[tuple[str, str, str]]:
        """Each alert for itself; told again and again, so that only what is new counts."""
        for alert in got[1]:
            labels = alert["labels"]
            key, over = str(sorted(labels.items())), alert["endsAt"] <= self.day
            if over == (key in self._firing):
                yield self._told(key, labels["alertname"], labels["severity"], over)

    def _words(self, headline: str) -> Iterator[tuple[str, str, str]]:
        """A headline: `PAGE (4 alerts): Requests fail for users: …`."""
        head, _, rest = headline.partition(": ")
        name = rest.partition(":")[0]
        name = name if name in NAMES else BURN
        words = head.partition(" (")[0].lower().split()
        if words[0] == "past":
            yield "past", name, words[1]
        else:
            yield self._told(f"{name} {words[-1]}", name, words[-1], words[0] == "resolved")

    def _told(self, key: str, name: str, severity: str, over: bool) -> tuple[str, str, str]:
        if not over:
            self._firing[key] = name, severity
            return severity, name, severity
        if key not in self._firing:
            return "past", name, severity
        return "end", *self._firing.pop(key)
