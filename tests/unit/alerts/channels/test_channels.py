"""Each channel against a real server that checks the published shape of what it gets, and misbehaves."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from alerts import message
from alerts.channels import (
    Alertmanager,
    Channel,
    Email,
    PagerDuty,
    Sentry,
    Slack,
    Webhook,
    configured,
    http,
    routes,
    slack,
)
from alerts.channels.deliverer import Deliverer
from alerts.delivery.grouping import ALONE, Grouping
from alerts.delivery.queue import Queue, Route, Told
from alerts.evaluator import stuck
from alerts.evaluator_cli import alerts
from alerts.lifecycle.lifecycle import Condition
from alerts.lifecycle.store import Alerts
from alerts.rules import conditions
from sidecar.settings import SettingError, Settings, load_settings
from sidecar.timeunits import SECOND
from tests.support.alerts.clock import Clock
from tests.support.alerts.mail import USER, Mailbox, mailbox
from tests.support.alerts.receivers import BROKEN, CLOSED, receiver
from tests.support.stack import free_port

DASHBOARD = "https://understudy.example/alerts"
SLACK_SECRET, KEY, SENTRY_KEY = "T000/B000/XXXXsecretXXXX", "0123456789abcdef0123456789abcdef", "sentrykeysecret"
LABELS = {"slo": "answered", "objective": "99%", "view": "users", "endpoint": "POST /patients/{id}/screen"}
NOTES = {
    "reason": "4 of 6 bad <b> & more", "budget_left": "0.25", "exhausted_at": "1764000000", "window": "3600s-300s",
    "failing": "POST /patients/{id}/screen: 4 (503 refused 4)", "changed": "2026-11-25T02:00:00Z mark by X: release 7",
    "covered": "the standby can answer 26 of 27 endpoints",
}  # fmt: skip
BURN = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes=NOTES)
SLOW = replace(BURN, labels={**LABELS, "slo": "in-time"})
MAKE: dict[str, Callable[[str], Channel]] = {
    "webhook": lambda url: Webhook(url, DASHBOARD),
    "slack": lambda url: Slack(f"{url}/services/{SLACK_SECRET}", DASHBOARD),
    "pagerduty": lambda url: PagerDuty(KEY, f"{url}/v2/enqueue", DASHBOARD, "ward-1"),
    "sentry": lambda url: Sentry(f"http://{SENTRY_KEY}@{url.removeprefix('http://')}/7", DASHBOARD),
    "alertmanager": lambda url: Alertmanager(url, DASHBOARD, 3600),
}


class Telling:
    """Alerts, their queue, and one channel that is told by hand."""

    def __init__(self, engine: Engine, channel: Channel, route: Route | None = None) -> None:
        self.clock = Clock(1_764_000_000 * SECOND)
        self.state = Alerts(engine, self.clock)
        self.route = route or Route()
        self.queue = Queue(engine, {channel.name: self.route}, self.clock)
        self.channel = channel

    def see(self, *holding: Condition) -> None:
        self.state.apply(
            list(holding), unknown=set(), repeat=3600 * SECOND, enqueue=self.queue.enqueue,
            group=self.route.grouping.key,
        )  # fmt: skip

    def tell(self, after: float = 600) -> list[tuple[Told, str]]:
        """What became of what is due `after` seconds."""
        self.clock.now += int(after * SECOND)
        became = []
        for delivery in self.queue.due():
            answer = self.channel.send(delivery)
            self.queue.mark(delivery, *answer)
            became.append((answer.told, answer.said))
        return became


@pytest.mark.parametrize("name", MAKE)
def test_it_is_told_in_the_published_shape_through_trouble(engine: Engine, name: str) -> None:
    with receiver(name) as mine:
        told = Telling(engine, MAKE[name](mine.url))
        told.see(BURN, SLOW)
        mine.answers = [500, CLOSED, BROKEN, 429]
        for _ in range(4):
            [(became, said)] = told.tell()
            assert became is Told.RETRY
            assert "secret" not in said
        assert [became for became, _ in told.tell()] == [Told.DONE]
        told.see(BURN)
        told.see()
        assert [became for became, _ in told.tell()] == [Told.DONE]
        assert told.tell() == []
    assert mine.misshapen == []
    assert (mine.tried, len(mine.got)) == (6, 2)
    CHECKS[name]([content for _, content in mine.got], [fields for fields, _ in mine.got])


def test_alertmanager_is_not_told_of_what_another_alert_tells_of(engine: Engine) -> None:
    """Nothing would end it there."""
    with receiver("alertmanager") as mine:
        told = Telling(engine, MAKE["alertmanager"](mine.url), Route(ALONE))
        for holding in ([BURN, replace(BURN, severity="ticket")], []):
            told.see(*holding)
            told.tell(0)
    assert [[alert["labels"]["severity"] for alert in alerts] for _, alerts in mine.got] == [["page"], ["page"]]


PAST: dict[str, Callable[[list[Any]], object]] = {
    "webhook": lambda got: [payload["status"] for payload in got] == ["resolved"],
    "slack": lambda got: [(each["attachments"][0]["color"], each["text"][:9]) for each in got]
    == [("good", "past page")],
    "pagerduty": lambda got: [(each["event_action"], each.get("payload", {}).get("severity")) for each in got]
    == [("trigger", "info"), ("resolve", None)],
    "sentry": lambda got: [(each["level"], each["logentry"]["formatted"][:9]) for each in got]
    == [("info", "past page")],
    "alertmanager": lambda got: [alert["endsAt"] > "2025" for alerts in got for alert in alerts] == [True],
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_what_was_over_before_it_could_be_told_wakes_nobody(engine: Engine, name: str) -> None:
    with receiver(name) as mine:
        told = Telling(engine, MAKE[name](mine.url))
        told.see(BURN)
        mine.answers = [503]
        told.tell()
        told.see()
        assert [became for became, _ in told.tell()] == [Told.DONE]
    assert mine.misshapen == []
    assert PAST[name]([content for _, content in mine.got])


def test_pagerduty_hears_of_an_acknowledgement_once_all_of_an_incident_is_known(engine: Engine) -> None:
    with receiver("pagerduty") as mine:
        told = Telling(engine, MAKE["pagerduty"](mine.url), Route(Grouping(wait=0, interval=0)))
        works = Deliverer(told.queue, told.state, [told.channel], lambda: True)
        told.see(BURN, SLOW)
        told.state.acknowledge(BURN.key, "Ms Pell", "on it")
        works.step(told.channel)
        told.clock.now += SECOND
        works.step(told.channel)
        assert [event["event_action"] for _, event in mine.got] == ["trigger"], "one of two is not known"
        told.state.silence(SLOW.key, "Ms Pell", "works", told.clock.now + 3600 * SECOND)
        mine.answers = [500]
        works.step(told.channel)
        assert len(mine.got) == 1
        works._patient.clear()
        for _ in range(3):
            works.step(told.channel)
        assert [event["event_action"] for _, event in mine.got] == ["trigger", "acknowledge"], "once"
        assert len({event["dedup_key"] for _, event in mine.got}) == 1
        told.see()
        told.clock.now += SECOND
        works.step(told.channel)
        assert mine.got[-1][1]["event_action"] == "resolve"
    assert mine.misshapen == []


def _webhook(got: list[Any], fields: list[Any]) -> None:
    assert [payload["status"] for payload in got] == ["firing", "resolved"]
    assert [len(payload["alerts"]) for payload in got] == [2, 2]
    assert got[0]["groupLabels"] == {"alertname": "ErrorBudgetBurn", "severity": "page"}
    assert got[0]["commonLabels"]["view"] == "users"
    assert "slo" not in got[0]["commonLabels"]
    assert got[0]["alerts"][0]["endsAt"] == message.NEVER
    assert got[1]["alerts"][0]["endsAt"] != message.NEVER
    said = got[0]["alerts"][0]["annotations"]
    assert "25.0% of the budget left, gone at 2025-11-24T16:00:00Z" in said["summary"]
    assert {"failing", "changed", "covered", "first_step", "runbook", "dashboard"} <= said.keys()
    assert len({each["Idempotency-Key"] for each in fields}) == 2


def _slack(got: list[Any], _fields: list[Any]) -> None:
    assert [each["attachments"][0]["color"] for each in got] == ["danger", "good"]
    told = got[0]["attachments"][0]["text"]
    for what in ("refused 4", "release 7", "26 of 27", "First step: ", f"{DASHBOARD}#ErrorBudgetBurn", DASHBOARD):
        assert what in told


def _pagerduty(got: list[Any], _fields: list[Any]) -> None:
    assert [event["event_action"] for event in got] == ["trigger", "resolve"]
    assert got[0]["dedup_key"] == got[1]["dedup_key"]
    assert got[0]["payload"]["severity"] == "critical"
    assert got[0]["payload"]["custom_details"]["firing"] == 2


def _sentry(got: list[Any], fields: list[Any]) -> None:
    assert [event["level"] for event in got] == ["fatal", "info"]
    assert got[0]["fingerprint"] == got[1]["fingerprint"]
    assert got[0]["event_id"] != got[1]["event_id"]
    assert f"sentry_key={SENTRY_KEY}" in fields[0]["X-Sentry-Auth"]


def _alertmanager(got: list[Any], _fields: list[Any]) -> None:
    assert {alert["labels"]["slo"] for alert in got[0]} == {"answered", "in-time"}
    assert got[0][0]["endsAt"] > got[0][0]["startsAt"]


CHECKS: dict[str, Callable[[list[Any], list[Any]], None]] = {
    "webhook": _webhook, "slack": _slack, "pagerduty": _pagerduty, "sentry": _sentry, "alertmanager": _alertmanager,
}  # fmt: skip


def test_every_attempt_says_the_same(engine: Engine) -> None:
    """Also when more has happened in between; that is said afterwards."""
    with receiver("sentry") as mine:
        told = Telling(engine, MAKE["sentry"](mine.url))
        told.see(BURN)
        mine.answers = [500]
        told.tell()
        told.see(BURN, SLOW)
        told.tell()
        told.tell()
    assert [len(event["contexts"]) for _, event in mine.got] == [1, 2]
    assert [event["tags"]["status"] for _, event in mine.got] == ["firing", "firing"]


def mail(mine: Mailbox, *, to: tuple[str, ...] = ("on-call@example.org", "b@example.org"), **given: Any) -> Email:
    given = {"credentials": USER, "context": mine.trusted, **given}
    return Email(("127.0.0.1", mine.port), "Understudy <understudy@example.org>", to, DASHBOARD, **given)


def test_mail_is_sent_encrypted_through_trouble(engine: Engine, tmp_path: Path) -> None:
    with mailbox(tmp_path / "tls") as mine:
        told = Telling(engine, mail(mine))
        told.see(BURN, SLOW)
        mine.answers = ["451 not now", "closed"]
        assert told.tell() == [(Told.RETRY, "DATA 451")]
        assert [became for became, _ in told.tell()] == [Told.RETRY]
        assert told.tell() == [(Told.DONE, "taken")]
        told.see()
        assert told.tell() == [(Told.DONE, "taken")]
    first, last = mine.got
    assert mine.encrypted == [True, True]
    assert first["Subject"].startswith("PAGE (2 alerts): ")
    assert first["To"] == "on-call@example.org, b@example.org"
    assert last["Subject"].startswith("resolved page (2 alerts): ")
    assert first["References"] == last["References"]
    assert first["Message-ID"] != last["Message-ID"]
    text = first.get_content()
    for what in ("25.0% of the budget left", "refused 4", "release 7", "First step: ", DASHBOARD):
        assert what in text


@pytest.mark.parametrize(
    ("said", "waits"), [("60", 60), ("86400", 300), ("0", 1), ("", 1), ("soon", 1), ("-5", 1), ("date", 57)]
)
def test_a_receiver_that_says_when_to_come_again_is_heeded(engine: Engine, said: str, waits: int) -> None:
    """But for no longer than five minutes, and never sooner than we would come by ourselves."""
    with receiver("slack") as mine:
        mine.answers = [429]
        mine.retry_after = format_datetime(datetime.now(UTC) + timedelta(seconds=60)) if said == "date" else said
        told = Telling(engine, Slack(mine.url, DASHBOARD))
        told.see(BURN)
        assert told.tell() == [(Told.RETRY, "429")]
        assert told.tell(waits - 0.01) == []
        assert told.tell(4 if said == "date" else 0.01) == [(Told.DONE, "200")]


def test_mail_has_three_outcomes(engine: Engine, tmp_path: Path) -> None:
    """Taken for some, never taken, not now: a wrong password or certificate may be mended, and no page is lost."""
    with mailbox(tmp_path / "tls") as mine:
        mine.refuses = frozenset({"b@example.org"})
        told = Telling(engine, mail(mine))
        told.see(BURN)
        [delivery] = _due(told)
        assert told.channel.send(delivery)[:2] == (Told.DONE, "taken, but for 1 of 2 recipients")
        assert mail(mine, to=("b@example.org",)).send(delivery)[:2] == (Told.RETRY, "SMTPRecipientsRefused")
        wrong = mail(mine, credentials=("understudy", "wrong")).send(delivery)
        assert wrong[:2] == (Told.RETRY, "SMTPAuthenticationError 535")
        assert mail(mine, context=None).send(delivery)[:2] == (Told.RETRY, "SSLCertVerificationError")
        mine.answers = ["554 that is spam"]
        assert told.channel.send(delivery)[:2] == (Told.REFUSED, "DATA 554")
    gone = Email(("127.0.0.1", free_port()), "a@example.org", ("b@example.org",), DASHBOARD)
    assert gone.send(delivery)[:2] == (Told.RETRY, "ConnectionRefusedError")
    assert len(mine.got) == 1


def test_nothing_goes_in_the_clear_where_starttls_is_not_offered(engine: Engine, tmp_path: Path) -> None:
    with mailbox(tmp_path / "tls", starttls=False) as mine:
        told = Telling(engine, mail(mine))
        told.see(BURN)
        assert told.tell() == [(Told.RETRY, "SMTPNotSupportedError")]
        assert mine.got == []


def test_a_mail_has_its_date_and_may_go_by_implicit_tls(engine: Engine, tmp_path: Path) -> None:
    with mailbox(tmp_path / "tls", implicit=True) as mine:
        there = ("127.0.0.1", mine.port)
        told = Telling(engine, Email(there, "a@example.org", ("b@example.org",), DASHBOARD, tls="implicit",
                                     context=mine.trusted))  # fmt: skip
        told.see(BURN)
        [delivery] = _due(told)
        assert told.channel.send(delivery)[:2] == (Told.DONE, "taken")
    [taken] = mine.got
    assert parsedate_to_datetime(taken["Date"]).timestamp() == delivery.content["alerts"][0]["sent_at"] // SECOND


def test_a_message_too_long_for_slack_keeps_first_step_runbook_and_links() -> None:
    notes = {"reason": "x" * 900, "title": "Front door unavailable", "runbook": "https://wiki.example.org/burn"}
    alert = {"key": "k", "name": "ErrorBudgetBurn", "severity": "page", "kind": "firing", "fired_at": SECOND,
             "resolved_at": 0, "labels": {"view": "users", "endpoint": "all", "slo": "front-door"},
             "notes": notes}  # fmt: skip
    content = {"group": {}, "status": "firing", "alerts": [{**alert, "key": f"k{n}"} for n in range(8)]}
    said = slack.payload(content, DASHBOARD)["attachments"][0]["text"]
    assert len(said) <= slack.LONGEST
    for what in ("First step: ", "Runbook: https://wiki.example.org/burn", f"Dashboard: {DASHBOARD}"):
        assert what in said
    assert message.headline(content).startswith("PAGE (8 alerts): Front door unavailable for users: ")


def test_a_proxy_of_the_environment_carries_it_and_what_is_excepted_goes_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver() as proxy, receiver() as mine:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert http.post(mine.url, b"{}", {})[:2] == (Told.DONE, "200")
        assert (proxy.tried, mine.tried) == (0, 1)
        assert http.post("http://alerts.example.org/", b"{}", {})[:2] == (Told.DONE, "200")
        assert proxy.tried == 1


def test_a_webhook_that_wants_an_authorization_gets_it(engine: Engine) -> None:
    with receiver() as mine:
        told = Telling(engine, Webhook(mine.url, DASHBOARD, "Bearer t0ken"))
        told.see(BURN)
        told.tell()
        assert mine.got[0][0]["Authorization"] == "Bearer t0ken"


def _due(told: Telling) -> list[Any]:
    told.clock.now += 600 * SECOND
    return told.queue.due()


def test_secrets_are_in_no_log_and_in_no_record(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "asyncio", "mail.log"):  # the server's own, and what setup_logging turns down
        logging.getLogger(name).setLevel(logging.WARNING)
    for name, make in MAKE.items():
        with receiver(name) as mine:
            told = Telling(engine, make(mine.url))
            told.see(BURN)
            mine.answers = [403]
            told.tell()
        told.tell()
    with mailbox(tmp_path / "tls") as box:
        told = Telling(engine, mail(box, credentials=("understudy", "wrong-s3cret")))
        told.see(BURN)
        told.tell()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir()).decode("latin-1")
    written = caplog.text + json.dumps(told.state.deliveries()) + kept
    for secret in (SLACK_SECRET, KEY, SENTRY_KEY, USER[1], "wrong-s3cret"):
        assert secret not in written


def test_settings_name_channels_and_errors_name_the_setting() -> None:
    given = load_settings(
        {
            "UNDERSTUDY_ALERT_WEBHOOK": "http://a/", "UNDERSTUDY_ALERT_EMAIL_TO": "a@b.c, d@e.f",
            "UNDERSTUDY_ALERT_EMAIL_FROM": "u@b.c", "UNDERSTUDY_ALERT_SMTP": "mail:587",
            "UNDERSTUDY_ALERT_SLACK": "https://slack.example/x", "UNDERSTUDY_ALERT_PAGERDUTY_KEY": KEY,
            "UNDERSTUDY_ALERT_SENTRY_DSN": "https://k@sentry.example/1", "UNDERSTUDY_ALERT_ALERTMANAGER": "http://am:9093",
            "UNDERSTUDY_ALERT_PAGES_ONLY": "pagerduty", "UNDERSTUDY_ALERT_GROUP_BY": "alertname,severity,view",
        }
    )  # fmt: skip
    channels = configured(given, DASHBOARD)
    assert [each.name for each in channels] == ["webhook", "email", "slack", "pagerduty", "sentry", "alertmanager"]
    told = routes(given, channels)
    assert (told["pagerduty"].severities, told["slack"].severities) == ({"page"}, set())
    assert told["slack"].grouping.by == ("alertname", "severity", "view")
    for wrong, culprit in (
        ({"ALERT_EMAIL_TO": "a@b.c"}, "ALERT_SMTP"),
        ({"ALERT_PAGES_ONLY": "pager"}, "ALERT_PAGES_ONLY"),
        ({"ALERT_SENTRY_DSN": "no-dsn-secret"}, "ALERT_SENTRY_DSN"),
        (
            {"ALERT_EMAIL_TO": "a@b.c", "ALERT_EMAIL_FROM": "a@b.c", "ALERT_SMTP": "m:25", "ALERT_SMTP_TLS": "off",
             "ALERT_SMTP_CREDENTIALS": "a:secret"}, "ALERT_SMTP_CREDENTIALS",
        ),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=f"UNDERSTUDY_{culprit}: ") as error:
            configured(load_settings({f"UNDERSTUDY_{name}": value for name, value in wrong.items()}), DASHBOARD)
        assert "secret" not in str(error.value)


def test_channels_can_be_tried(tmp_path: Path) -> None:
    with receiver("slack") as slack, receiver("pagerduty") as pager:
        given = Settings(
            data=tmp_path, alert_slack=f"{slack.url}/{SLACK_SECRET}", alert_pagerduty=pager.url, alert_pagerduty_key=KEY
        )
        tried = CliRunner().invoke(alerts, ["try"], obj=given)
        assert (tried.exit_code, tried.output.split()) == (0, ["slack", "taken:", "200", "pagerduty", "taken:", "200"])
        assert [event["event_action"] for _, event in pager.got] == ["trigger", "resolve"]
        slack.answers = [404]
        tried = CliRunner().invoke(alerts, ["try"], obj=given)
        assert tried.exit_code == 1
        assert "slack        not taken: 404" in tried.output
        assert "secret" not in tried.output
    assert slack.misshapen + pager.misshapen == []


def test_each_alert_has_a_runbook_that_begins_with_its_first_step() -> None:
    named = {rule.alert for rule in conditions.load()} | {stuck({"slack": 0}, {}, 10**12)[0].name}
    named |= {
        "ErrorBudgetBurn",
        "NoTraffic",
        "NoData",
        "Unmeasured",
        "TestMessage",
        "HeartbeatFailing",
        "EvaluationFailed",
    }
    assert {path.stem for path in message.RUNBOOKS.glob("*.md")} == named
    for name in named:
        assert (message.RUNBOOKS / f"{name}.md").read_text().startswith("First: ")
