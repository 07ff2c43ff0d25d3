"""Every setting, declared once: name, type, default and help. README's table is checked against this file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.settings.errors import PREFIX, SettingError
from sidecar.settings.networks import Networks
from sidecar.settings.parsers import (
    Quiet,
    address,
    count,
    credentials,
    duration,
    header_pairs,
    host_field,
    index_prefix,
    names,
    networks,
    one_of,
    quiet,
    ratio,
    role_pairs,
    size,
    text,
    time_zone,
    url,
    urls,
)


def setting(default: str | None, parse: Callable[[str], Any], help: str, *, secret: bool = False) -> Any:
    """Declares one setting. `default` is written as a person would write it; None: the setting is unset."""
    value = None if default is None else parse(default)
    about = {"default": default, "parse": parse, "help": help, "secret": secret}
    return field(default=value, repr=not secret, metadata=about)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, parsed and validated."""

    upstream: str = setting(
        None, url, "The API we stand beside, http or https (`SSL_CERT_FILE`: whom to trust). Required by `sidecar`."
    )
    upstream_host: str = setting(
        "keep",
        host_field,
        "The Host that the upstream sees: `keep` (the client's; of our own calls UPSTREAM's), `upstream` (UPSTREAM's), "
        "or a name.",
    )
    listen: tuple[str, int] = setting("127.0.0.1:8080", address, "Where users' requests arrive.")
    control_listen: tuple[str, int] = setting("127.0.0.1:8081", address, "The control plane.")
    control_advertise: tuple[str, int] | None = setting(
        None,
        address,
        "Where alerts and dashboard, and other nodes' people, reach the control plane; unset: CONTROL_LISTEN.",
    )
    agent_listen: tuple[str, int] | None = setting(
        None, address, "Where HAProxy's agent-check is answered, line by line; unset: nowhere."
    )
    certificates: tuple[str, ...] = setting("", names, "Certificate files whose expiry is a metric; comma-separated.")
    control_token: str | None = setting(None, text, "Bearer token for actions; unset: all refused.", secret=True)
    allowed_hosts: tuple[str, ...] = setting(
        "",
        names,
        "Names by which the control plane and the dashboard may be asked, beside addresses, names without a dot and "
        "DASHBOARD_URL's.",
    )
    data: Path = setting("./data", Path, "Where everything is written.")
    contract: str = setting("hosp", text, "A shipped contract's name, or a path to an OpenAPI 3.1 file.")
    database: str | None = setting(None, text, "SQLAlchemy URL of the standby; unset: SQLite in DATA.", secret=True)
    database_lost: str = setting(
        "refuse",
        one_of("refuse", "pass"),
        "While a shared database is away: `refuse` (health checks fail, the balancer turns elsewhere), or, with one "
        "sidecar, `pass` (requests go on to the upstream where no write was waiting).",
    )
    elasticsearch: tuple[str, ...] | None = setting(
        None, urls, "The event store: a node's URL, or several, comma-separated; unset: the embedded one, in DATA."
    )
    elasticsearch_api_key: str | None = setting(None, text, "API key for Elasticsearch.", secret=True)
    elasticsearch_credentials: tuple[str, str] | None = setting(
        None, credentials, "user:password for Elasticsearch, instead of an API key.", secret=True
    )
    elasticsearch_prefix: str = setting(
        "understudy", index_prefix, "What names of indices begin with: another for each deployment in one cluster."
    )
    elasticsearch_data_streams: str = setting(
        "off",
        one_of("off", "on"),
        "`on`: events are in data streams (Elasticsearch 8.13 or later), not in daily indices. To be changed with "
        "ELASTICSEARCH_PREFIX alone.",
    )
    workers: int = setting("1", count, "gunicorn workers, each an event loop; one serves what one core can.")
    threads: int = setting("32", count, "Threads per worker for what may wait: the database, files, passwords.")
    node: str | None = setting(None, text, "This sidecar's name in journals and events; unset: the host's name.")
    deadline: float = setting("2.5s", duration, "When the standby is asked instead of waiting for the upstream.")
    upstream_timeout: float = setting("30s", duration, "The longest wait for the upstream when only it can answer.")
    late_effect: float = setting("30s", duration, "How long after we stopped waiting a write may yet take effect.")
    connect_timeout: float = setting("1s", duration, "The longest wait for a connection to the upstream.")
    upstream_concurrency: int = setting(
        "8", count, "Requests in flight at the upstream, over all workers, and all nodes that share DATABASE."
    )
    retry_budget: float = setting("0.2", ratio, "Retries and hedges, as a share of users' requests.")
    hedge_after: float = setting("1s", duration, "When a safe or pure call still unanswered is sent a second time.")
    max_body: int = setting("32MiB", size, "The largest request body taken; beyond it 413.")
    max_answer: int = setting(
        "64MiB", size, "The largest upstream answer held; a good one to a read beyond it is passed on as it comes."
    )
    body_timeout: float = setting("30s", duration, "How long a client may send next to nothing of its body.")
    write_timeout: float = setting(
        "30s", duration, "How long a client may take nothing of its answer before it is given up."
    )
    max_target: int = setting("12KiB", size, "The longest request target taken; beyond it 414.")
    max_head: int = setting("112KiB", size, "The largest request head taken (Puma's limit); beyond it 431.")
    max_fields: int = setting("5000", count, "The most header fields of a request; beyond them 431.")
    trusted_proxies: Networks = setting(
        "", networks, "Peers whose X-Forwarded-For, -Proto and -Host, or Forwarded, are believed."
    )
    record: str = setting("durable", one_of("durable", "async"), "Whether an answer waits for its record's fsync.")
    on_record_failure: str = setting("pass", one_of("pass", "refuse"), "What happens when recording fails.")
    body_cap: int = setting("64KiB", size, "How much of each body is recorded.")
    journal_segment: int = setting("64MiB", size, "The size at which a journal segment is closed.")
    journal_retention: float = setting("7d", duration, "How long shipped journal segments stay on disk.")
    retention: float = setting("365d", duration, "How long exchanges stay in the event store; whole days are dropped.")
    audit_retention: float = setting(
        "3650d",
        duration,
        "How long who, what and when stay in DATA/trail, without bodies, after the journal.",
    )
    body_retention: float = setting(
        "30d", duration, "How long recorded bodies stay in the event store: from these `understudy rebuild` learns."
    )
    drain: float = setting("2s", duration, "On SIGTERM, how long health checks fail before connections are refused.")
    grace: float = setting(
        "35s",
        duration,
        "On stop and reload, how long requests under way may take to end; then they are recorded as cut.",
    )
    bypass_after: float = setting("3s", duration, "After a longer absence, what the standby knows is unverified.")
    unverified: str = setting("refuse", one_of("refuse", "serve"), "Whether unverified knowledge is answered from.")
    credentials_for: float = setting(
        "30d", duration, "How long the standby knows a caller whom the upstream has not accepted again."
    )
    proof: int = setting("5", count, "Agreements on different questions after which a derivation may answer.")
    unproven: str = setting("refuse", one_of("refuse", "serve"), "Whether derivations answer before they are proven.")
    backfill_credentials: tuple[str, str] | None = setting(
        None, credentials, "user:password with which the upstream is asked for what is missing.", secret=True
    )
    backfill_rate: float = setting("2", float, "Backfill's and parity's requests a second, at the most.")
    replay_credentials: tuple[str, str] | None = setting(
        None,
        credentials,
        "user:password for parked writes of which a person says so (`outbox retry`).",
        secret=True,
    )
    seal_key: Path | None = setting(
        None,
        Path,
        "The key that seals pending writes, made on first use; unset: DATA's name with `.seal-key` behind it.",
    )
    sign_key: Path | None = setting(
        None,
        Path,
        "The key that signs the journal, made on first use; unset: DATA's name with `.sign-key` behind it.",
    )
    sign_head: Path | None = setting(
        None,
        Path,
        "Where the last signed head is kept, outside DATA; unset: SIGN_KEY's name with `.head` behind it.",
    )
    high_water_mark: Path | None = setting(
        None,
        Path,
        "Tells a restored database: how far the outbox had come; unset: DATA's name with `.mark` behind it.",
    )
    sign_every: float = setting("1m", duration, "How often the journal is signed.")
    verify_every: float = setting("1d", duration, "How often the journal is verified by itself (`audit verify`).")
    encryption_keys: Path | None = setting(
        None,
        Path,
        "Keys that encrypt bodies and the standby's copy, one a line, made on first use; unset: in the clear.",
    )
    encryption_key_command: str | None = setting(None, text, "A command that prints these keys instead.")
    promote_parity: float = setting("0.99", ratio, "The parity below which `promote` refuses without --force.")
    parity_sample: float = setting(
        "0.1", ratio, "The share of upstream answers that are compared with our own; below 1, at most 20 a second."
    )
    policy: str = setting(
        "enforce",
        one_of("report", "enforce"),
        "`report`: no access policy denies, whatever its own mode; revocations hold.",
    )
    store_results: str = setting(
        "off", one_of("off", "on"), "Whether results of calls are stored where the contract says so (screenings)."
    )
    test_headers: tuple[tuple[str, str], ...] = setting(
        "", header_pairs, "Fields that mark test traffic: `Name: value`."
    )
    test_users: tuple[str, ...] = setting("", names, "Users whose requests are test traffic.")
    test_networks: Networks = setting("", networks, "Networks whose requests are test traffic.")
    slos: str = setting("hosp", text, "A shipped SLO file's name, or a path to an OpenSLO file.")
    alert_webhook: str | None = setting(None, url, "Where alerts are posted (Alertmanager's v4 payload).")
    alert_webhook_authorization: str | None = setting(
        None, text, "The Authorization that ALERT_WEBHOOK wants, such as `Bearer …`.", secret=True
    )
    alert_email_to: tuple[str, ...] = setting("", names, "Who gets alerts by mail; comma-separated.")
    alert_email_from: str | None = setting(None, text, "The sender of that mail.")
    alert_smtp: tuple[str, int] | None = setting(None, address, "The server that takes it, such as mail:587.")
    alert_smtp_credentials: tuple[str, str] | None = setting(
        None, credentials, "user:password at that server; never sent in the clear.", secret=True
    )
    alert_smtp_tls: str = setting(
        "starttls",
        one_of("starttls", "implicit", "off"),
        "`starttls`, `implicit` (port 465): nothing is sent to that server in the clear.",
    )
    alert_slack: str | None = setting(None, url, "A Slack-compatible incoming webhook.", secret=True)
    alert_pagerduty_key: str | None = setting(None, text, "PagerDuty's routing key (Events API v2).", secret=True)
    alert_pagerduty: str = setting("https://events.pagerduty.com/v2/enqueue", url, "Where PagerDuty takes events.")
    alert_sentry_dsn: str | None = setting(None, text, "A Sentry project that gets alerts as issues.", secret=True)
    alert_alertmanager: str | None = setting(None, url, "An Alertmanager, which is told by its own API.")
    alert_alertmanager_authorization: str | None = setting(None, text, "The Authorization that it wants.", secret=True)
    alert_pages_only: tuple[str, ...] = setting("", names, "Channels told of pages only, such as `pagerduty,slack`.")
    alert_group_by: tuple[str, ...] = setting(
        "alertname,severity", names, "Labels that alerts must share to be told in one message."
    )
    alert_group_wait: float = setting("10s", duration, "How long a group's first message waits for more alerts.")
    alert_group_interval: float = setting(
        "5m", duration, "The least time between a group's messages; a page that begins does not wait for it."
    )
    alert_conditions: Path | None = setting(None, Path, "Alert rules beyond burn rates; unset: the shipped ones.")
    alert_no_traffic: Quiet | None = setting(
        "1h 07:00-19:00",
        quiet,
        "For how long nobody may ask anything, and at which hours (TIMEZONE) that counts; `1h`: at all; `off`.",
    )
    alert_keep: float = setting("5m", duration, "How long an alert goes on after it was last seen to hold.")
    alert_repeat: float = setting("4h", duration, "How often an alert that goes on firing is sent again.")
    alert_every: float = setting("15s", duration, "How often the objectives are evaluated.")
    alert_heartbeat: str | None = setting(
        None, url, "Asked after each evaluation that was whole, for a dead man's switch."
    )
    prometheus_job: str = setting("understudy", text, "The job under which Prometheus scrapes sidecars; `slo rules`.")
    alert_metrics_listen: tuple[str, int] | None = setting(
        None, address, "Where `understudy alerts` serves its own /metrics; unset: nowhere."
    )
    runbook_url: str | None = setting(
        None, url, "Where alerts' runbooks are: `<this>/<alert>.md`; unset: the dashboard's page of alerts."
    )
    dashboard_listen: tuple[str, int] = setting("127.0.0.1:8050", address, "Where the dashboard is served.")
    dashboard_url: str | None = setting(None, url, "The dashboard's public URL; https:// makes its cookies Secure.")
    dashboard_idle: float = setting("30m", duration, "When a dashboard session that is not used ends.")
    timezone: str = setting("UTC", time_zone, "The time zone of the dashboard's times, e.g. Europe/London.")
    oidc_issuer: str | None = setting(None, url, "OpenID Connect provider for the dashboard; unset: local users only.")
    oidc_client_id: str | None = setting(None, text, "The dashboard's client id at the provider.")
    oidc_client_secret: str | None = setting(None, text, "The dashboard's client secret at the provider.", secret=True)
    oidc_claim: str = setting("groups", text, "The ID token's claim that decides the role.")
    oidc_roles: tuple[tuple[str, str], ...] = setting("", role_pairs, "`value=role`, comma-separated: claim to role.")
    sentry_dsn: str | None = setting(None, text, "Sentry project; unset: errors are only logged.", secret=True)
    otlp: str | None = setting(
        None,
        url,
        "An OpenTelemetry collector that takes traces by OTLP over HTTP, such as http://otel:4318 (needs the extra "
        "`otel`); unset: there are none.",
    )
    otlp_authorization: str | None = setting(None, text, "The Authorization that it wants.", secret=True)
    traces_sample: float = setting("1", ratio, "The share of traces that are recorded, of those that begin here.")
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "The least severe line logged.")

    @property
    def node_name(self) -> str:
        return self.node or os.uname().nodename.split(".")[0]

    @property
    def upstream_host_field(self) -> str | None:
        """The Host of everything that the upstream is sent; None: each call's own."""
        if self.upstream_host == "keep":
            return None
        return urlsplit(self.require_upstream()).netloc if self.upstream_host == "upstream" else self.upstream_host

    @property
    def seal_key_file(self) -> Path:
        return self.seal_key or self._beside_data(".seal-key")

    @property
    def sign_key_file(self) -> Path:
        return self.sign_key or self._beside_data(".sign-key")

    @property
    def sign_head_file(self) -> Path:
        return self.sign_head or self.sign_key_file.with_name(f"{self.sign_key_file.name}.head")

    @property
    def high_water_mark_file(self) -> Path:
        return self.high_water_mark or self._beside_data(".mark")

    def _beside_data(self, suffix: str) -> Path:
        return self.data.resolve().with_name(self.data.resolve().name + suffix)

    def require_upstream(self) -> str:
        if not self.upstream:
            raise SettingError(f"{PREFIX}UPSTREAM: required, the URL of the API to stand beside; found nothing")
        return self.upstream


def table() -> str:
    """The settings as README shows them."""
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    for declared in fields(Settings):
        default = declared.metadata["default"]
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{declared.name.upper()}` | {shown} | {declared.metadata['help']} |")
    return "\n".join(rows)
